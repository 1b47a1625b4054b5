"""How well would a few workers have foretold many? Our own finished studies, cut, predicted, and held against what came.

From the runs on few workers: epochs to the target, by the law of batch size where a minibatch grows at a rate that stays, and
those of one worker where the path is the same. Seconds an epoch aren't predicted, for one device and the clock tell them. Nor is
whether a run arrives at all: what doesn't is told beside what was foretold. Of each study its own target, and two easier ones.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.advice.answer import Answer
from strongscale.advice.law import FEWEST_BATCHES, Interval
from strongscale.advice.study_runs import batch_of, epochs_of, law_of, steps_an_epoch
from strongscale.analysis.load import load
from strongscale.analysis.runs import DIVERGED, EXHAUSTED, Run, StudyRuns
from strongscale.analysis.targets import at_target, in_epochs, targets_of
from strongscale.common.errors import UserError
from strongscale.common.output import number, percent, write_csv, write_readable
from strongscale.settings.cells import brings_nothing, is_sequential_path
from strongscale.settings.plans import first_plan

SAME_PATH, LAW = "the path of one worker", "the law of batch size"


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """An entry of the matrix beyond the cut: what was foretold, and what came. Epochs, and the seconds of so many."""

    study: str
    target: float
    line: str
    workers: int
    by: str
    predicted: Interval | None
    why_not: str
    """Why there is no number; empty where there is."""
    epochs: tuple[float, ...]
    """Of the runs that arrived."""
    stopped: tuple[int, ...]
    """Epochs of those that were stopped before."""
    num_diverged: int
    epoch_s: float

    @property
    def num_runs(self) -> int:
        """Of the entry."""
        return len(self.epochs) + len(self.stopped) + self.num_diverged

    @property
    def measured(self) -> float:
        """The geometric mean of the epochs of runs that arrived; NaN where not all did."""
        return statistics.geometric_mean(self.epochs) if len(self.epochs) == self.num_runs else math.nan

    @property
    def error(self) -> float:
        """Of the epochs, so of the seconds; NaN where one of the two isn't known."""
        return self.predicted.value / self.measured - 1 if self.predicted else math.nan

    @property
    def num_inside(self) -> int:
        """Runs that arrived inside the band, or were stopped before its end."""
        if self.predicted is None:
            return 0
        low, high = self.predicted.low, self.predicted.high
        return sum(low <= epochs <= high for epochs in self.epochs) + sum(epochs < high for epochs in self.stopped)


def foretell(runs: StudyRuns, target: float, cut: int) -> Iterator[Foretold]:
    """All lines beyond so many workers whose rate stays as it is, on the way to a target."""
    counted = at_target(in_epochs(runs), target)
    for line in runs.study.strategies:
        beyond = [workers for workers in runs.workers(line) if workers > cut]
        if not beyond or not brings_nothing(runs.study, line) or not _keeps_rate(runs, line):
            continue
        is_same = is_sequential_path(runs.study, line)
        known = None if is_same else law_of(counted, line, [count for count in runs.workers(line) if count <= cut])
        for workers in beyond:
            own = counted.of(line, workers)
            predicted, why_not = _of_one(counted) if is_same else _by_law(known, runs, line, workers)
            yield Foretold(
                study=runs.name,
                target=target,
                line=line,
                workers=workers,
                by=SAME_PATH if is_same else LAW,
                predicted=predicted,
                why_not=why_not,
                epochs=tuple(epochs_of(run) for run in own if run.result.converged),
                stopped=tuple(run.result.epochs for run in own if run.result.status == EXHAUSTED),
                num_diverged=sum(run.result.status == DIVERGED for run in own),
                epoch_s=_epoch_s(runs.of(line, workers)),
            )


def _keeps_rate(runs: StudyRuns, line: str) -> bool:
    strategy, training = runs.study.strategy(line), runs.study.training
    ends = [
        first_plan(strategy, training, workers, epoch).rate
        for workers in runs.workers(line)
        for epoch in (0, training.max_epochs - 1)
    ]
    return len(set(ends)) == 1


def _epoch_s(own: Sequence[Run]) -> float:
    return statistics.fmean(run.result.time_s / run.result.epochs for run in own)


def _of_one(counted: StudyRuns) -> tuple[Interval | None, str]:
    """Where one worker's runs lie: all of them, so nothing else is claimed."""
    epochs = [epochs_of(run) for run in counted.sequential if run.result.converged]
    if len(epochs) < len(counted.sequential):
        return None, "not all runs of one worker reach the target"
    return Interval(value=statistics.geometric_mean(epochs), low=min(epochs), high=max(epochs)), ""


def _by_law(known: Answer | None, runs: StudyRuns, line: str, workers: int) -> tuple[Interval | None, str]:
    if known is None:
        return None, f"fewer than {FEWEST_BATCHES} batch sizes up to the cut"
    batch = batch_of(runs, line, workers)
    if why_not := known.why_not(batch):
        return None, why_not
    assert known.tested is not None
    return known.tested.band.steps(batch).times(1 / steps_an_epoch(runs, batch)), ""


def rows_of(found: Sequence[Foretold]) -> list[dict[str, Any]]:
    """For people and programs."""
    return [
        {
            "study": one.study,
            "target": number(one.target),
            "strategy": one.line,
            "workers": one.workers,
            "foretold by": one.by,
            "epochs foretold": _band(one.predicted) if one.predicted else f"none: {one.why_not}",
            "epochs measured": number(one.measured) or f"{len(one.epochs)} of {one.num_runs} arrive",
            "seconds foretold": number(one.predicted.value * one.epoch_s) if one.predicted else "",
            "seconds measured": number(one.measured * one.epoch_s),
            "error": percent(one.error),
            "runs that fit the band": f"{one.num_inside} of {one.num_runs}" if one.predicted else "",
        }
        for one in found
    ]


def _band(predicted: Interval) -> str:
    return f"{number(predicted.value)} [{number(predicted.low)}, {number(predicted.high)}]"


def in_words(found: Sequence[Foretold], cut: int) -> str:
    """What it comes to, by what foretold it; failures included."""
    parts = []
    for by in (SAME_PATH, LAW):
        own = [one for one in found if one.by == by]
        if not own:
            continue
        told = [one for one in own if one.predicted]
        judged = [one for one in told if math.isfinite(one.error)]
        text = f"By {by}: {len(told)} of {len(own)} entries beyond {cut} workers have a number"
        if judged:
            error = statistics.median(abs(one.error) for one in judged)
            inside, all_runs = sum(one.num_inside for one in judged), sum(one.num_runs for one in judged)
            text += f"; where all runs arrive ({len(judged)}), the median error is {percent(error)}, and {inside} of {all_runs} runs lie inside"
        if missed := [one for one in told if one not in judged]:
            inside, all_runs = sum(one.num_inside for one in missed), sum(one.num_runs for one in missed)
            text += f"; in {len(missed)} not all runs arrive, and {inside} of {all_runs} runs lie inside or were stopped before its end"
        parts.append(f"{text}.")
    return " ".join(parts) or f"No line beyond {cut} workers keeps its rate."


def main(arguments: list[str]) -> None:
    """Foretell finished studies' many workers from their few, and hold it against what came."""
    parser = argparse.ArgumentParser(prog="strongscale.advice leave-out", description=main.__doc__)
    parser.add_argument(
        "--study", type=Path, nargs="+", required=True, help="folders of finished studies, results/<name>"
    )
    parser.add_argument("--cut", type=int, default=4, help="the most workers that are known")
    parser.add_argument("--output", type=Path, help="a folder for leave_out.csv and leave_out.md")
    options = parser.parse_args(arguments)
    if options.cut < 1:
        raise UserError(f"--cut: {options.cut} is not allowed; allowed: at least 1")
    studies = [load(folder) for folder in options.study]
    found = [one for runs in studies for target in targets_of(runs) for one in foretell(runs, target, options.cut)]
    words, rows = in_words(found, options.cut), rows_of(found)
    if options.output:
        write_csv(options.output / "leave_out.csv", rows, columns=["study"])
        write_readable(options.output / "leave_out", pd.DataFrame(rows), words)
    sys.stdout.write(f"{words}\n\n{pd.DataFrame(rows).to_markdown(index=False)}\n")
