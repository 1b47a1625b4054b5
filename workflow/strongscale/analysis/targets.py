"""When a run reached a loss, read from its epochs: at the end of one, which is what a user waits for, and between two.

A study has one target. Two easier ones stand beside it, at a third and two thirds of the way down to it on the logarithm,
so that no verdict hangs on one: runs may stop at their target, but every easier one lies behind them.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from strongscale.analysis.runs import CONVERGED, EXHAUSTED, Result, Run, StudyRuns
from strongscale.settings.config import CONSTANT_SHARE

STEPS = 3


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """When a run's validation loss was at a target or below it for the first time."""

    epoch: int
    samples: int
    time_s: float
    between_s: float
    """Between the ends of two epochs, on a straight line of the least loss's logarithm: for ratios."""


def arrival(epochs: pd.DataFrame, target: float) -> Arrival | None:
    """When a run reached a target. Its loss before the first step isn't known, so the first epoch counts whole."""
    losses = epochs["validation_loss"].to_numpy(dtype=float)
    below = np.flatnonzero(losses <= target)
    if not len(below):
        return None
    place = int(below[0])
    times = epochs["time_s"].to_numpy(dtype=float) if "time_s" in epochs else np.full(len(losses), math.nan)
    before = np.concatenate([[math.nan], losses[:place]])
    least = float(np.fmin.reduce(before))
    begun = float(times[place - 1]) if place else 0.0
    share = 1.0
    if least > target > losses[place] > 0:
        share = math.log(least / target) / math.log(least / losses[place])
    row = epochs.iloc[place]
    return Arrival(
        epoch=int(row["epoch"]),
        samples=int(row["samples"]),
        time_s=float(times[place]),
        between_s=begun + share * (float(times[place]) - begun),
    )


def targets_of(runs: StudyRuns) -> list[float]:
    """The targets of a study, its own last; that one alone where a constant output comes near it, none without one."""
    own = next((run.result.target_loss for run in runs.matrix if run.result.target_loss is not None), None)
    if own is None:
        return []
    limit = CONSTANT_SHARE * (runs.constant_loss or 0.0)
    if limit <= own:
        return [own]
    return [*(limit * (own / limit) ** (step / STEPS) for step in range(1, STEPS)), own]


def at_target(runs: StudyRuns, target: float | None = None) -> StudyRuns:
    """The same runs, judged by another target; without one by their own, with the time between epochs put to each."""
    return replace(runs, runs=tuple(_judged(runs, run, target) for run in runs.runs))


def in_epochs(runs: StudyRuns) -> StudyRuns:
    """The same runs with epochs for seconds, so that all that is asked of seconds can be asked of epochs."""
    counted = (replace(run, result=replace(run.result, time_s=float(run.result.epochs))) for run in runs.runs)
    epochs = runs.epochs.assign(time_s=runs.epochs["epoch"].astype(float))
    return at_target(replace(runs, runs=tuple(counted), epochs=epochs))


def _judged(runs: StudyRuns, run: Run, target: float | None) -> Run:
    result = run.result
    if target is None and not result.converged:
        return run
    wanted = target if target is not None else result.target_loss
    if wanted is None or run.line != "matrix":
        return run
    found = arrival(runs.epochs_of(run), wanted)
    if found is None:
        return replace(run, result=_without_arrival(result, wanted))
    return replace(run, result=_with_arrival(result, wanted, found))


def _without_arrival(result: Result, target: float) -> Result:
    return replace(
        result,
        status=EXHAUSTED if result.converged else result.status,
        target_loss=target,
        epochs_to_target=None,
        samples_to_target=None,
        time_to_target_s=None,
        between_s=None,
    )


def _with_arrival(result: Result, target: float, found: Arrival) -> Result:
    is_timed = math.isfinite(found.time_s)
    return replace(
        result,
        status=CONVERGED,
        diverged_because=None,
        target_loss=target,
        epochs_to_target=found.epoch,
        samples_to_target=found.samples,
        time_to_target_s=found.time_s if is_timed else result.time_to_target_s,
        between_s=found.between_s if is_timed else None,
    )
