"""The law on batches that it hasn't seen, and the band that follows.

Cut by cut: fitted to the batches up to one, it predicts the larger ones. A batch's score is how many times its own half-width
(95 %, of parameters and of a new run) a band needed to hold all of the batch's runs. The band that is given is the law's own,
stretched by the largest score of the batches that came next after a cut, and never shrunk. Were the scores of k such batches and of the
next one exchangeable, it would hold the next one's runs in at least k / (k + 1) of cases: a coarse level, and an assumption.

Shape: K batch sizes.
"""

import itertools
from dataclasses import dataclass

import numpy as np

from strongscale.advice.law import FEWEST_BATCHES, RESAMPLES, Fitted, Interval, fit
from strongscale.advice.runs import Runs

SAME = 1e-6
"""Log steps that differ by no more are the same."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """Where a run's steps lie, by the law's own band and by how often it was tested."""

    fitted: Fitted
    stretch: float = 1.0
    """By which the law's own half-width is multiplied."""
    tested: int = 0
    """Batches that were predicted from the smaller ones."""

    @property
    def level(self) -> float:
        """At least so often a run lies inside, were batches alike; 0 where none was tested."""
        return self.tested / (self.tested + 1)

    def steps(self, batch: float) -> Interval:
        """Of one more run."""
        batches_K = np.array([batch])
        log_steps = float(self.fitted.log_steps(batches_K)[0])
        below, above = self.stretch * np.maximum(self.fitted.log_reach(batches_K)[:, 0], SAME)
        low, value, high = np.exp([log_steps - below, log_steps, log_steps + above])
        return Interval(value=float(value), low=float(low), high=float(high))

    def score(self, runs: Runs) -> float:
        """How many times the law's own half-width holds all runs of one batch; those that stopped early may be nearer."""
        batches_K = runs.sizes
        off_N = np.log(runs.steps_N) - self.fitted.log_steps(batches_K)[0]
        below, above = np.maximum(self.fitted.log_reach(batches_K)[:, 0], SAME)
        known_N = np.where(runs.reached_N, off_N, off_N.clip(0))
        return float(np.maximum(known_N / above, -known_N / below).max())


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """One batch, predicted by the law of smaller ones, with the band that could be given then."""

    cut: float
    """The largest batch of the fit."""
    batch: float
    predicted: Interval
    measured: float
    """The geometric mean of the steps of its runs; more, where runs stopped early."""
    runs: int
    inside: int

    @property
    def relative_error(self) -> float:
        """Of the prediction."""
        return self.predicted.value / self.measured - 1


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The band of all runs, and how the law fared on the way."""

    band: Band
    held_out: tuple[HeldOut, ...]


def hold_out(runs: Runs, resamples: int = RESAMPLES) -> Tested:
    """Cut the runs after each batch from the third on, and predict what is beyond."""
    stretch, rows = 1.0, []
    cuts = runs.sizes[FEWEST_BATCHES - 1 :]
    for count, (cut, following) in enumerate(itertools.pairwise(cuts)):
        band = Band(fitted=fit(runs.where(runs.batches_N <= cut), resamples), stretch=stretch, tested=count)
        rows += [
            _held_out(band, float(cut), runs.where(runs.batches_N == batch)) for batch in runs.sizes if batch > cut
        ]
        stretch = max(stretch, band.score(runs.where(runs.batches_N == following)))
    band = Band(fitted=fit(runs, resamples), stretch=stretch, tested=len(cuts) - 1)
    return Tested(band=band, held_out=tuple(rows))


def _held_out(band: Band, cut: float, runs: Runs) -> HeldOut:
    batch = float(runs.batches_N[0])
    predicted = band.steps(batch)
    above_low_N = (runs.steps_N >= predicted.low) | ~runs.reached_N
    return HeldOut(
        cut=cut,
        batch=batch,
        predicted=predicted,
        measured=float(np.exp(np.log(runs.steps_N).mean())),
        runs=len(runs.steps_N),
        inside=int((above_low_N & (runs.steps_N <= predicted.high)).sum()),
    )
