"""Fits of S(B) = S_min (1 + B_c / B) to log steps, many at once.

The best S_min follows from B_c, so only B_c is searched: on a grid, and between its points by a parabola. On its way to an end
of the grid the law comes within 0.1 % of a limit (no gain at all, or steps that fall as fast as the batch rises).

Shapes: K batch sizes, R fits, G grid.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strongscale.advice.runs import Numbers

REACH = 1000.0
"""So many times beyond the batches on both sides goes the grid."""
GRID = 400
NOTHING = 1e-300

Whole = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, kw_only=True)
class Laws:
    """R fits: their parameters' logarithms."""

    least_steps_R: Numbers
    critical_batch_R: Numbers
    side_R: Whole
    """-1 and 1 where the best B_c is the lower or upper end of the grid, so that data bound it on one side only; else 0."""

    power: float = 1.0
    """Of B_c / B; other than 1 only where the law is put to the test."""

    def log_steps(self, batches_K: Numbers) -> Numbers:
        """The logarithm of the steps at some batches."""
        return self.least_steps_R[:, None] + _curves(self.critical_batch_R, batches_K, self.power)


def fits(batches_K: Numbers, runs_K: Whole, logs_RxK: Numbers, power: float = 1.0) -> Laws:
    """The law nearest to each row of log steps, by squares that weigh as many as its batch has runs."""
    grid_G = np.linspace(np.log(batches_K.min()) - np.log(REACH), np.log(batches_K.max()) + np.log(REACH), GRID)
    shares_K = runs_K / runs_K.sum()
    curves_GxK = _curves(grid_G, batches_K, power)
    curves_GxK = curves_GxK - (curves_GxK @ shares_K)[:, None]
    errors_RxG = (curves_GxK**2) @ shares_K - 2 * logs_RxK @ (shares_K * curves_GxK).T
    best_R = errors_RxG.argmin(axis=1)
    side_R = np.where(best_R == 0, -1, np.where(best_R == GRID - 1, 1, 0))
    critical_R = grid_G[best_R] + (grid_G[1] - grid_G[0]) * _offset(errors_RxG, best_R, side_R)
    least_R = (logs_RxK - _curves(critical_R, batches_K, power)) @ shares_K
    return Laws(least_steps_R=least_R, critical_batch_R=critical_R, side_R=side_R, power=power)


def _curves(log_critical: Numbers, batches_K: Numbers, power: float) -> Numbers:
    curves: Numbers = np.logaddexp(0.0, power * (log_critical[:, None] - np.log(batches_K)))
    return curves


def _offset(errors_RxG: Numbers, best_R: Whole, side_R: Whole) -> Numbers:
    """Where the parabola through the least error and its neighbours has its least, in steps of the grid."""
    rows_R, middle_R = np.arange(len(best_R)), np.clip(best_R, 1, GRID - 2)
    before_R, at_R, after_R = (errors_RxG[rows_R, middle_R + shift] for shift in (-1, 0, 1))
    bend_R = np.maximum(before_R - 2 * at_R + after_R, NOTHING)
    return np.where(side_R == 0, np.clip(0.5 * (before_R - after_R) / bend_R, -0.5, 0.5), 0.0)
