"""Do the runs bend as the law does? S_min and B_c hang on it, and come out wrong where they do not.

Beside the law is put S_min (1 + (B_c / B)^a), of which it is the case a = 1, by the F test for one more parameter.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from strongscale.advice.errors import PARAMETERS
from strongscale.advice.law import Fitted
from strongscale.advice.least_squares import fits

POWERS = tuple(round(0.05 * place, 2) for place in range(4, 41))
LEVEL = 0.05
NOTHING = 1e-8


@dataclass(frozen=True, kw_only=True)
class Bend:
    """The power that fits the runs best."""

    power: float
    p: float
    """How surprising it is that it fits so much better, were the law true."""

    @property
    def is_beyond_noise(self) -> bool:
        """Whether the runs say that the law isn't true."""
        return self.p < LEVEL


def bend_of(fitted: Fitted) -> Bend | None:
    """Put the law beside powers from 0.2 to 2; None where no degree of freedom is left to judge by."""
    batches_K, counts_K = np.unique(fitted.runs.batches_N, return_counts=True)
    squares = {}
    for power in POWERS:
        law = fits(batches_K, counts_K, fitted.logs_K[None], power)
        squares[power] = float(counts_K @ (fitted.logs_K - law.log_steps(batches_K)[0]) ** 2)
    best = min(squares, key=squares.__getitem__)
    within, freedom = 0.0, len(batches_K) - PARAMETERS - 1
    if fitted.has_replicates and not fitted.errors.are_of_batches:
        freedom_within = int(fitted.runs.reached_N.sum()) - len(batches_K)
        within, freedom = freedom_within * fitted.spread**2, freedom + freedom_within
    if freedom < 1:
        return None
    better = squares[1.0] - squares[best]
    if better <= NOTHING:
        return Bend(power=best, p=1.0)
    ratio = better / max(NOTHING, squares[best] + within) * freedom
    return Bend(power=best, p=float(stats.f.sf(ratio, 1, freedom)))
