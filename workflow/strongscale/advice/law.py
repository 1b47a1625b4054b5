"""The law of batch size (McCandlish et al., 2018; Shallue et al., 2019), fitted to measured runs; and what they leave open.

    S(B) = S_min (1 + B_c / B)        S: steps to the target, B: samples a step
    E(B) = B S(B) = S_min (B + B_c)   E: samples to the target, never fewer than E_min = S_min B_c

Least squares of log S, runs as replicates; 95 % by resampled errors.

Shapes: N runs, K batch sizes, R resamples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from strongscale.advice.censored import completed
from strongscale.advice.errors import PARAMETERS, Errors, errors_of
from strongscale.advice.least_squares import Laws, Whole, fits
from strongscale.advice.runs import Numbers, Runs

RESAMPLES = 1000
SEED = 1
TAILS = (0.025, 0.975)
FEWEST_BATCHES = 3


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 %. 0 and infinity are what the data leave open: an end, or the estimate itself."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """Of a multiple."""
        return Interval(value=factor * self.value, low=factor * self.low, high=factor * self.high)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The law of some runs, with its fits to resamples."""

    runs: Runs
    law: Laws
    resampled: Laws
    errors: Errors
    new_run_R: Numbers
    """By what a new run's log steps may differ from the law's."""
    logs_K: Numbers
    """The batches' mean log steps."""
    spread: float
    """The standard deviation of log steps between runs of a batch; NaN with one run a batch."""

    @property
    def has_replicates(self) -> bool:
        """Whether some batch has two runs that reached the target."""
        return not math.isnan(self.spread)

    @property
    def critical_batch(self) -> Interval:
        """B_c."""
        return self._interval(lambda laws: _open_at(laws.critical_batch_R, laws.side_R, (-math.inf, math.inf)))

    @property
    def least_steps(self) -> Interval:
        """S_min, which B_c without an upper bound leaves without a lower one."""
        return self._interval(lambda laws: _open_at(laws.least_steps_R, laws.side_R, (None, -math.inf)))

    @property
    def least_samples(self) -> Interval:
        """E_min, which B_c without a lower bound leaves without one."""
        return self._interval(
            lambda laws: _open_at(laws.least_steps_R + laws.critical_batch_R, laws.side_R, (-math.inf, None))
        )

    def log_steps(self, batches_K: Numbers) -> Numbers:
        """The fit itself."""
        fit_K: Numbers = self.law.log_steps(batches_K)[0]
        return fit_K

    def log_reach(self, batches_K: Numbers) -> Numbers:
        """How far below and above the fit a new run's log steps lie, at 95 %."""
        drawn_RxK = self.resampled.log_steps(batches_K) + self.new_run_R[:, None]
        low_K, high_K = np.quantile(drawn_RxK, TAILS, axis=0)
        fit_K = self.log_steps(batches_K)
        reach_2xK: Numbers = np.maximum(np.stack([fit_K - low_K, high_K - fit_K]), 0.0)
        return reach_2xK

    def _interval(self, logarithm: Callable[[Laws], Numbers]) -> Interval:
        low, high = np.exp(np.quantile(logarithm(self.resampled), TAILS, method="inverted_cdf"))
        return Interval(value=float(np.exp(logarithm(self.law)[0])), low=float(low), high=float(high))


def fit(runs: Runs, resamples: int = RESAMPLES) -> Fitted:
    """Fit the law to runs of at least three batch sizes, each with a run that reached the target."""
    random = np.random.default_rng(SEED)
    batches_K, places_N, counts_K = np.unique(runs.batches_N, return_inverse=True, return_counts=True)
    averaging_NxK = (places_N[:, None] == np.arange(len(batches_K))) / counts_K

    def nearest(logs_N: Numbers) -> Laws:
        return fits(batches_K, counts_K, (logs_N @ averaging_NxK)[None])

    logs_N = completed(runs, lambda logs_N: nearest(logs_N).log_steps(batches_K)[0, places_N], PARAMETERS)
    law, means_K = nearest(logs_N), logs_N @ averaging_NxK
    expected_K = law.log_steps(batches_K)[0]
    within_N, reached = logs_N - means_K[places_N], int(runs.reached_N.sum())
    errors = errors_of(within_N, means_K - expected_K, averaging_NxK, reached)
    drawn_RxK = errors.of_means(random, resamples, averaging_NxK)
    freedom = reached - len(batches_K)
    return Fitted(
        runs=runs,
        law=law,
        resampled=fits(batches_K, counts_K, expected_K + drawn_RxK),
        errors=errors,
        new_run_R=errors.of_means(random, resamples, np.ones((1, 1)))[:, 0],
        logs_K=means_K,
        spread=math.sqrt(float(within_N @ within_N) / freedom) if freedom else math.nan,
    )


def _open_at(logs_R: Numbers, side_R: Whole, ends: tuple[float | None, float | None]) -> Numbers:
    """The logarithms, but for those whose B_c lies at an end of the grid: there what that end means, where it means something."""
    for side, end in zip((-1, 1), ends, strict=True):
        if end is not None:
            logs_R = np.where(side_R == side, end, logs_R)
    return logs_R


def batch_of_gain(critical_batch: Interval, least_gain: float) -> Interval:
    """The batch from which a doubling saves less than a share of the steps.

    1 - S(2B) / S(B) = B_c / (2 (B + B_c)), which is at most a half.
    """
    return critical_batch.times((1 - 2 * least_gain) / (2 * least_gain))
