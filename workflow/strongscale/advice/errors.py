"""By how much runs, and batches, lie off a fitted law: what its resamples and new runs are drawn from.

Errors of all batches are drawn as one: those of a batch's own three runs hardly tell a spread, and intervals from them hold the truth
too seldom (law-check says how often ours do). They are made larger, by what a fit takes from them and by Student's t, so that
few runs leave as much open as they do.

Shapes: N runs, K batch sizes, R draws, U errors.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from strongscale.advice.runs import Numbers

PARAMETERS = 2
POOLED_FROM = 0.25
"""At a misfit less surprising than that runs alone are taken for chance: at 0.05 few batches would hide most misfits."""
NOTHING = 1e-8  # of squared log steps: the search of B_c is no finer


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of log steps."""

    runs_U: Numbers
    """Of single runs."""
    batches_U: Numbers
    """Of batches, which all of a batch's runs share; zero where runs alone explain how far the batches lie off."""
    misfit_p: float
    """How surprising the batches' distances from the law are, were they the runs' own noise; NaN with one run a batch."""

    def of_means(self, random: np.random.Generator, draws: int, averaging_NxK: Numbers) -> Numbers:
        """Of batch means of runs drawn with replacement."""
        num_runs, num_batches = averaging_NxK.shape
        runs_RxN = random.choice(self.runs_U, (draws, num_runs))
        means_RxK: Numbers = runs_RxN @ averaging_NxK + random.choice(self.batches_U, (draws, num_batches))
        return means_RxK

    @property
    def are_of_batches(self) -> bool:
        """Whether the batches may lie off the law by more than their runs differ, so that whole batches are taken for chance."""
        return self.misfit_p < POOLED_FROM


def errors_of(within_N: Numbers, between_K: Numbers, averaging_NxK: Numbers, reached: int) -> Errors:
    """From each run's distance from its batch's mean, and each mean's from the law.

    Runs that didn't reach the target tell no spread: their steps were completed by the law.
    """
    num_batches = len(between_K)
    off_N = (averaging_NxK > 0) @ between_K
    within, between = float(within_N @ within_N), float(off_N @ off_N)
    misfit_p = _misfit_p(within, between, reached - num_batches, num_batches - PARAMETERS)
    if misfit_p < POOLED_FROM:
        return Errors(
            runs_U=_scaled(within_N, reached - num_batches, few=False),
            batches_U=_scaled(between_K, num_batches - PARAMETERS, few=True),
            misfit_p=misfit_p,
        )
    runs_U = _scaled(within_N + off_N, reached - PARAMETERS, few=True)
    return Errors(runs_U=runs_U, batches_U=np.zeros(1), misfit_p=misfit_p)


def _misfit_p(within: float, between: float, freedom_within: int, freedom_between: int) -> float:
    """The F test of lack of fit."""
    if freedom_within < 1 or freedom_between < 1:
        return math.nan
    if within <= NOTHING:
        return 0.0 if between > NOTHING else 1.0
    ratio = (between / freedom_between) / (within / freedom_within)
    return float(stats.f.sf(ratio, freedom_between, freedom_within))


def _scaled(errors_U: Numbers, freedom: int, *, few: bool) -> Numbers:
    """With the mean square that so many degrees of freedom tell; and, where few, widened from the normal to Student's."""
    factor = math.sqrt(len(errors_U) / freedom)
    return errors_U * factor * (float(stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)) if few else 1.0)
