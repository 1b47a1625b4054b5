"""Medians over seeds that respect runs which never reached the target, and the paper's efficiency."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from strongscale.analysis.runs import Result, Run, StudyRuns

NOT_REACHED = "not reached"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One number over the seeds of a cell.

    `median` is NaN where the middle run didn't reach the target: there is no number then, only `status`.
    `low` and `high` are the smallest and the largest value; an end is NaN where it lies at a run without a value,
    and both are NaN with a single seed.
    """

    median: float
    low: float
    high: float
    num_runs: int
    num_converged: int
    status: str

    @property
    def reached(self) -> bool:
        """Whether the median is a number."""
        return math.isfinite(self.median)

    @property
    def coverage(self) -> float:
        """The probability that the smallest and the largest of so many values enclose the true median."""
        return coverage(self.num_runs)


def coverage(num_runs: int) -> float:
    """Exact for any continuous distribution: all values on one side of the median has probability 2·2^-k."""
    return 1 - 2.0 ** (1 - num_runs) if num_runs > 1 else math.nan


def summarise(values: Sequence[float | None], status: str, *, missing: float = math.inf) -> Summary:
    """Median and range; `missing` is where a run without a value stands in rank order (+infinity or -infinity).

    A value may itself be infinite: it is known only to be beyond all others.
    """
    ranked = sorted(missing if value is None else value for value in values)
    several = len(ranked) > 1
    return Summary(
        median=_number(statistics.median(ranked)) if ranked else math.nan,
        low=_number(ranked[0]) if several else math.nan,
        high=_number(ranked[-1]) if several else math.nan,
        num_runs=len(ranked),
        num_converged=sum(value is not None and math.isfinite(value) for value in values),
        status=status,
    )


def of_results(runs: Sequence[Run], value: Callable[[Result], float | None]) -> Summary:
    """Summary of what each run took to reach the target; a run that didn't reach it is longer than any other."""
    values = [value(run.result) if run.result.converged else None for run in runs]
    return summarise(values, status_of(runs))


def time_to_target(runs: Sequence[Run]) -> Summary:
    """Seconds to the target."""
    return of_results(runs, lambda result: result.time_to_target_s)


def efficiency(study_runs: StudyRuns, strategy: str, workers: int) -> Summary:
    """T(1) / (n·T(n)) in per cent, each seed against its own sequential run."""
    sequential = {run.seed: run.result.time_to_target_s for run in study_runs.sequential}
    runs = study_runs.of(strategy, workers)
    pairs = [(sequential[run.seed], run.result.time_to_target_s) for run in runs]
    status = _status_of_pairs(runs, sequential)
    lower, upper = (
        summarise([paired_efficiency(*pair, workers, unknown=unknown) for pair in pairs], status)
        for unknown in (-math.inf, math.inf)
    )
    return replace(lower, median=lower.median if lower.median == upper.median else math.nan, high=upper.high)


def paired_efficiency(sequential_s: float | None, time_s: float | None, workers: int, *, unknown: float) -> float:
    """T(1) / (n·T(n)) in per cent, as far as it is known.

    Below any number where only the run with n workers missed the target, above any where only the sequential run did;
    where both did it may be anything, and is `unknown`.
    """
    if sequential_s is not None and time_s is not None:
        return 100 * sequential_s / (workers * time_s)
    if sequential_s is not None:
        return -math.inf
    return math.inf if time_s is not None else unknown


def _status_of_pairs(runs: Sequence[Run], sequential: Mapping[int, float | None]) -> str:
    """How the runs ended, and before that in how many of their seeds the sequential run has no time to compare with."""
    num_reached = sum(sequential[run.seed] is not None for run in runs)
    if num_reached == len(runs):
        return status_of(runs)
    if num_reached == 0:
        return "the sequential run did not reach the target"
    own = "" if all(run.result.converged for run in runs) else f"; {status_of(runs)}"
    return f"the sequential run reached the target in {num_reached} of {len(runs)} seeds{own}"


def status_of(runs: Sequence[Run]) -> str:
    """How the runs of a cell ended, in words: one status if they agree, else how many of each."""
    counts = Counter(run.result.outcome for run in runs)
    if len(counts) == 1:
        return next(iter(counts))
    num_converged = sum(run.result.converged for run in runs)
    if num_converged:
        return f"{num_converged} of {len(runs)} converged"
    return ", ".join(f"{count} of {len(runs)} {outcome}" for outcome, count in sorted(counts.items()))


def _number(value: float) -> float:
    return value if math.isfinite(value) else math.nan
