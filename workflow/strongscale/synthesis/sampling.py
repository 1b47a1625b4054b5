"""New nodules in the space of the model's heads, before anything bounds their numbers: whatever a sum of such numbers
is, it describes a mixture. Component k of one nodule meets component k of the other.

Shapes: N training nodules, M new ones, H numbers each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strongscale.synthesis import distances

NEIGHBOURS = 10
LEAST_WEIGHT = 0.25  # of either parent: with less, the new nodule is nearly the other one


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """New nodules: their numbers (M, H), and the training nodules they come from, by position."""

    numbers_MxH: NDArray[np.float32]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float64]
    """Of the first parent, the rest being the second's."""

    def first_ones(self, count: int) -> "Drawn":
        """The first so many of them."""
        return Drawn(**{name: array[:count] for name, array in vars(self).items()})


def draw(
    training_NxH: NDArray[np.float32],
    count: int,
    perturbation: float,
    seed: int,
    *,
    num_neighbours: int = NEIGHBOURS,
) -> Drawn:
    """New nodules, each between a random training nodule and one of its near neighbours, and then perturbed.

    The perturbation is normal, in standard deviations of each number over the training nodules; these deviations are
    the unit of nearness, too. Without neighbours each nodule is its own. The first nodules are the same, however many
    are drawn.
    """
    choices, noises = np.random.default_rng(seed).spawn(2)
    deviations_H = training_NxH.std(axis=0, dtype=np.float64)
    near = distances.neighbours(training_NxH / np.where(deviations_H > 0, deviations_H, 1), num_neighbours)
    by_first, by_second, by_weight = choices.random((count, 3)).T
    first = (by_first * len(training_NxH)).astype(np.int64)
    second = near[first, (by_second * near.shape[1]).astype(np.int64)] if near.shape[1] else first
    weight = LEAST_WEIGHT + (1 - 2 * LEAST_WEIGHT) * by_weight
    between = weight[:, None] * training_NxH[first] + (1 - weight[:, None]) * training_NxH[second]
    noise = noises.standard_normal(between.shape) * deviations_H
    numbers_MxH = (between + perturbation * noise).astype(np.float32)
    return Drawn(numbers_MxH=numbers_MxH, first=first, second=second, weight=weight)
