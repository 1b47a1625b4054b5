"""How many times as fast one entry of the matrix is as another, seed by seed, with what all entries say of the spread."""

import math
from collections.abc import Sequence

from strongscale.analysis.runs import DIVERGED, Run, StudyRuns
from strongscale.common.output import number
from strongscale.inference.contrast import NOTHING, Contrast, Known, exactly
from strongscale.inference.spread import Spread, pooled


def contrast(own: Sequence[Run], rival: Sequence[Run], spread: Spread) -> Contrast:
    """The logarithm of the rival's time over one's own, for each seed that both have."""
    rivals = {run.seed: run for run in rival}
    return Contrast(tuple(log_ratio(run, rivals[run.seed]) for run in own if run.seed in rivals), spread)


def log_ratio(own: Run, rival: Run) -> Known:
    """How many times as long the rival takes to the target, on the logarithm, or what is known of that.

    A run that diverged never arrives; one that was stopped first takes longer than it was given.
    """
    own_s, rival_s = _time(own), _time(rival)
    if own_s and rival_s:
        return exactly(math.log(rival_s / own_s))
    if own_s:
        return Known(math.log(_at_least(rival)) - math.log(own_s), math.inf)
    if rival_s:
        return Known(-math.inf, math.log(rival_s) - math.log(_at_least(own)))
    return NOTHING


def _time(run: Run) -> float | None:
    return (run.result.between_s or run.result.time_to_target_s) if run.result.converged else None


def _at_least(run: Run) -> float:
    return math.inf if run.result.status == DIVERGED else run.result.time_s


def spread_of(runs: StudyRuns) -> Spread:
    """The spread of the log-ratios to the sequential run, of all entries of the matrix together."""
    entries = [(line, workers) for line in runs.study.strategies for workers in runs.workers(line) if workers > 1]
    found = (contrast(runs.of(*entry), runs.sequential, Spread()) for entry in entries)
    return pooled(one.values for one in found)


def in_words(found: Contrast, rival: str, own: str, confidence: float) -> str:
    """How many times as long one takes as the other, with the interval, or why there is none."""
    if not found.pairs:
        return f"{rival} against {own}: no seed has both"
    if not found.values:
        longer = sum(pair.low > 0 for pair in found.pairs)
        less = sum(pair.high < 0 for pair in found.pairs)
        return f"{rival} takes longer than {own} in {longer}, less in {less} of {len(found.pairs)} seeds; not all have a ratio"
    return f"{rival} takes {ratio_of(found, confidence)} times as long as {own}"


def ratio_of(found: Contrast, confidence: float) -> str:
    """The mean ratio of pairs that all have one, with its interval."""
    ratio = number(math.exp(found.mean))
    if found.is_computed:
        return f"{ratio} (in every seed)"
    if len(found.pairs) == 1:
        return f"{ratio} (one seed, no interval)"
    low, high = found.interval(confidence)
    return f"{ratio} [{number(math.exp(low))}, {number(math.exp(high))}]"


def expected_s(runs: Sequence[Run]) -> float:
    """What a user waits on average who starts again after each failure: all seconds that were spent, by those that arrived."""
    arrived = [run.result.time_to_target_s for run in runs if run.result.time_to_target_s is not None]
    if not arrived:
        return math.inf
    spent = sum(arrived) + sum(run.result.time_s for run in runs if not run.result.converged)
    return spent / len(arrived)
