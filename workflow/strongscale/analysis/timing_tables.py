"""Tables of the emulated clock itself: the timings that it is made of, and what stragglers would change."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from strongscale.analysis.clocked import Machine, clocked, machine_of
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.statistics import time_to_target
from strongscale.common.output import number, percent, write_csv, write_readable
from strongscale.timing.timings import Duration, Timings

REAL = "This study has real seconds, measured while it trained: there are no timings of single steps."
SPREAD = 0.05


def write_timing_tables(runs: StudyRuns, folder: Path) -> None:
    """Write timings.* and stragglers.* into `folder`."""
    _write_timings(runs, folder / "timings")
    _write_stragglers(runs, folder / "stragglers")


def _write_timings(runs: StudyRuns, path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"device": timings.label, "origin": timings.origin, "work": work, **_numbers(duration)}
        for timings in runs.timings
        for work, duration in durations_of(timings)
    ]
    write_csv(path.with_suffix(".csv"), rows, runs.clock, ["device", "work", "samples", "seconds"])
    readable = [
        {
            "work": row["work"],
            "samples": row["samples"] or "",
            "ms": number(1000 * row["seconds"]),
            "spread of the laps": percent(row["spread"]),
            "known to": percent(row["uncertainty"]),
            "laps": row["laps"],
        }
        for row in rows
    ]
    write_readable(path, pd.DataFrame(readable), _caption(runs))


def durations_of(timings: Timings) -> Sequence[tuple[str, Duration]]:
    """All that a file of timings tells, each by what it is of."""
    steps = [("a step", duration) for duration in timings.steps]
    several = [(f"a step of {one.learners} learner{'s' * (one.learners > 1)}", one) for one in timings.learners]
    evaluation = [("an evaluation chunk", duration) for duration in timings.evaluation]
    return [
        *steps,
        *several,
        ("the update in it", timings.update),
        *evaluation,
        ("an epoch's bookkeeping", timings.epoch),
    ]


def _numbers(duration: Duration) -> dict[str, float]:
    return {name: getattr(duration, name) for name in ("samples", "seconds", "spread", "uncertainty", "laps")}


def _caption(runs: StudyRuns) -> str:
    if not runs.timings:
        return REAL
    told = []
    for timings in runs.timings:
        load = "what else the machine did isn't known"
        if timings.load:
            load = (
                f"meanwhile other processes kept {timings.load.others:.2f} of {timings.load.cores} cores busy, and this one "
                f"waited {percent(timings.load.waited)} of the time for a core"
            )
        if timings.origin != "measured":
            load = f"{timings.origin}, not measured"
        doubts = "".join(f" {doubt[0].upper()}{doubt[1:]}." for doubt in timings.doubts) or " No doubts."
        told.append(f"{timings.label}: {load}.{doubts}")
    return f"One worker's seconds, as the emulated clock of study {runs.name} takes them. " + " ".join(told)


def _write_stragglers(runs: StudyRuns, path: Path) -> None:
    """Seconds to the target were workers not equally fast: each step as long as the slowest one's."""
    if not runs.timings:
        write_csv(path.with_suffix(".csv"), [], runs.clock, ["strategy", "workers"])
        write_readable(path, pd.DataFrame(), REAL)
        return
    lines = list(dict.fromkeys(run.strategy for run in runs.runs))
    own = machine_of(runs.folder, runs.study, lines)
    kinds: dict[str, float | Literal["measured"] | None] = {"equally fast": None, f"{SPREAD:.0%} spread": SPREAD}
    if all(timings.draws for timings in runs.timings):
        kinds["spread as measured"] = "measured"
    there = {
        name: clocked(
            runs,
            Machine({line: replace(one, stragglers=kind) for line, one in own.emulations.items()}),
            with_epochs=False,
        )
        for name, kind in kinds.items()
    }
    rows: list[dict[str, Any]] = []
    for line in runs.study.strategies:
        for workers in runs.workers(line):
            times = {name: time_to_target(study.of(line, workers)).median for name, study in there.items()}
            rows.append({"strategy": line, "workers": workers, **times})
    write_csv(path.with_suffix(".csv"), rows, runs.clock)
    readable = [{**row, **{name: number(row[name]) for name in kinds}} for row in rows]
    write_readable(
        path,
        pd.DataFrame(readable),
        f"Seconds to the target (median of the seeds) when each step lasts as long as the slowest worker's. Study {runs.name}. "
        f"Clock, device and data: {runs.label}.",
    )
