"""Put the emulated clock's seconds to what was trained: the same trajectories, timings and network give the same seconds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from strongscale.analysis.runs import Run, StudyRuns
from strongscale.common.errors import UserError
from strongscale.settings import timed
from strongscale.settings.config import Study
from strongscale.timing.emulation import Emulation
from strongscale.timing.network import network_of
from strongscale.timing.seconds import Seconds
from strongscale.timing.timings import Timings, check_work, read_timings


@dataclass(frozen=True)
class Machine:
    """What a study's seconds are made of: for each line of the matrix a device's timings and a network."""

    emulations: dict[str, Emulation]

    @property
    def timings(self) -> tuple[Timings, ...]:
        """All that are used."""
        found: dict[int, Timings] = {id(one.timings): one.timings for one in self.emulations.values()}
        return tuple(found.values())

    def clock(self, run: Run) -> list[Seconds]:
        """The seconds at the end of each epoch of a run, on its own number of workers."""
        assert run.steps is not None, "only what was trained with a record of its steps can be clocked"
        return list(self.emulations[run.strategy].clock(run.steps.on(run.workers, run.settings.update_rule)))

    def check(self, runs: StudyRuns) -> None:
        """Seconds of other cubes are no seconds of these: another gradient tells them apart."""
        for run in runs.runs:
            timings = self.emulations[run.strategy].timings
            if run.steps and timings.gradient_bytes not in (None, run.steps.gradient_bytes):
                raise UserError(
                    f"timings of {timings.label}: of a gradient of {timings.gradient_bytes} bytes, that of {run.cell} has "
                    f"{run.steps.gradient_bytes}; allowed: timings of cubes of the same size"
                )


def clocked(runs: StudyRuns, machine: Machine, *, with_epochs: bool = True) -> StudyRuns:
    """The same runs with the seconds that they take on a machine; without epochs, where results are all that is asked for."""
    found, tables = [], []
    for run in runs.runs:
        each = machine.clock(run)
        last, reached = each[-1], run.result.epochs_to_target
        result = replace(
            run.result,
            time_s=last.total,
            time_to_target_s=each[reached - 1].total if reached else None,
            parts={f"{part}_s": getattr(last, part) for part in ("compute", "communication", "evaluation")},
        )
        found.append(replace(run, result=result))
        if with_epochs:
            tables.append(runs.epochs_of(run).assign(**columns_of(each)))
    epochs = pd.concat(tables, ignore_index=True) if tables else runs.epochs
    return replace(runs, runs=tuple(found), epochs=epochs, timings=machine.timings)


def columns_of(each: Sequence[Seconds]) -> dict[str, list[float]]:
    """The columns of epochs.csv on the wall clock."""
    parts = {
        "time_s": "total",
        "compute_s": "compute",
        "communication_s": "communication",
        "evaluation_s": "evaluation",
    }
    return {column: [getattr(seconds, part) for seconds in each] for column, part in parts.items()}


def machine_of(study_folder: Path, study: Study, lines: list[str]) -> Machine:
    """The machine that a study's settings ask for."""
    measured = study_folder / "network.json"
    if study.network == "measured":
        _check_made(measured, study_folder / "receipts" / measured.name)
    network = network_of(study, measured)
    read: dict[Path, Timings] = {}
    emulations = {}
    for line in lines:
        path = timed.path_in(study_folder.parent, study, line)
        if path not in read:
            if study.timings is None:
                _check_made(path, path.parents[1] / "receipts" / f"{path.parent.name}.json")
            read[path] = read_timings(path)
            check_work(path, read[path], timed.work_of(study, line))
        emulations[line] = Emulation(
            timings=read[path], network=network, evaluation=study.evaluation, stragglers=study.stragglers
        )
    return Machine(emulations)


def _check_made(path: Path, receipt: Path) -> None:
    """What is measured on this machine is there."""
    if not path.exists():
        raise UserError(f"{path}: no such file; make it with `snakemake {receipt}`")
