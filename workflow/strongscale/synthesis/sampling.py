"""New nodules in the space of the model's heads, before anything bounds their numbers: whatever a sum of such numbers
is, it describes a mixture. Component k of one nodule meets component k of the other.

Shapes: N real nodules, M new ones, H numbers each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strongscale.synthesis import distances

NEIGHBOURS = 10
LEAST_WEIGHT = 0.25  # of either parent: with less, the new nodule is nearly the other one


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """New nodules: their numbers (M, H), and the real ones they come from, by position."""

    numbers_MxH: NDArray[np.float32]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float64]
    """Of the first parent, the rest being the second's."""


def draw(
    real_NxH: NDArray[np.float32], count: int, perturbation: float, seed: int, *, num_neighbours: int = NEIGHBOURS
) -> Drawn:
    """New nodules, each between a random real one and one of its near neighbours, and then perturbed.

    The perturbation is normal, in standard deviations of each number over the real nodules; these deviations are the
    unit of nearness, too. Without neighbours each nodule is its own.
    """
    random = np.random.default_rng(seed)
    deviations_H = real_NxH.std(axis=0, dtype=np.float64)
    near = distances.neighbours(real_NxH / np.where(deviations_H > 0, deviations_H, 1), num_neighbours)
    first = random.integers(len(real_NxH), size=count)
    second = near[first, random.integers(near.shape[1], size=count)] if near.shape[1] else first
    weight = random.uniform(LEAST_WEIGHT, 1 - LEAST_WEIGHT, size=count)
    between = weight[:, None] * real_NxH[first] + (1 - weight[:, None]) * real_NxH[second]
    noise = random.standard_normal(between.shape) * deviations_H
    numbers_MxH = (between + perturbation * noise).astype(np.float32)
    return Drawn(numbers_MxH=numbers_MxH, first=first, second=second, weight=weight)
