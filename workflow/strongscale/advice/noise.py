"""The gradient noise scale (McCandlish et al., 2018, appendix A): a batch size from gradients alone, without a run to a target.

    B_noise = tr(Sigma) / |G|^2        Sigma: covariance of single samples' gradients, G: the true gradient

Both are estimated without bias from each step's parts and whole (their batches of two sizes), and averaged apart over steps: the mean
of ratios would be ruled by the steps whose |G|^2 comes out near zero. Estimates below zero are kept, for dropping them would bias.
The interval resamples blocks of steps, which holds what neighbouring steps have in common; over many steps both move, so the
scale is that of a stretch of training, not of a run.

Shapes: T steps, R resamples, L steps of a block.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from strongscale.advice.law import RESAMPLES, SEED, TAILS, Interval
from strongscale.advice.runs import Numbers
from strongscale.strategies.base import Statistics

FEWEST_BLOCKS = 4


@dataclass(frozen=True, kw_only=True)
class NoiseScale:
    """Of a stretch of steps."""

    batch: Interval
    """B_noise in samples; infinite where |G|^2 isn't told from zero."""
    variance: float
    """tr(Sigma), the mean over steps."""
    square: float
    """|G|^2, the mean over steps."""
    steps: int
    block: int
    """Steps that are resampled together."""
    negative_variances: int
    """Steps whose own estimate lies below zero."""
    negative_squares: int
    """The same of |G|^2."""


def noise_scale(told: Sequence[Statistics], block: int | None = None, resamples: int = RESAMPLES) -> NoiseScale | None:
    """From steps in order; None where fewer than four blocks of them have gradients of two parts.

    A block is by default as long as the root of the number of steps.
    """
    steps = [one for one in told if len(one.part_sizes) > 1]
    block = block or max(1, math.isqrt(len(steps)))
    if len(steps) < FEWEST_BLOCKS * block:
        return None
    variances_T = np.array([one.sample_variance for one in steps])
    squares_T = np.array([one.true_square for one in steps])
    places_RxT = _blocks(np.random.default_rng(SEED), len(steps), block, resamples)
    scales_R = _ratios(variances_T[places_RxT].mean(axis=1), squares_T[places_RxT].mean(axis=1))
    low, high = np.quantile(scales_R, TAILS, method="inverted_cdf")
    value = _ratios(variances_T.mean(keepdims=True), squares_T.mean(keepdims=True))[0]
    return NoiseScale(
        batch=Interval(value=float(value), low=float(low), high=float(high)),
        variance=float(variances_T.mean()),
        square=float(squares_T.mean()),
        steps=len(steps),
        block=block,
        negative_variances=int((variances_T < 0).sum()),
        negative_squares=int((squares_T < 0).sum()),
    )


def _blocks(random: np.random.Generator, steps: int, block: int, resamples: int) -> NDArray[np.int_]:
    """Places of steps in blocks that begin anywhere; after the last step comes the first."""
    starts = random.integers(steps, size=(resamples, math.ceil(steps / block), 1))
    places_RxT = (starts + np.arange(block)).reshape(resamples, -1)[:, :steps]
    return places_RxT % steps


def _ratios(variances_R: Numbers, squares_R: Numbers) -> Numbers:
    """0 where there is no noise, infinite where there is no gradient beside it."""
    positive_R = np.maximum(variances_R, 0.0)
    return np.divide(positive_R, squares_R, out=np.full_like(positive_R, math.inf), where=squares_R > 0)
