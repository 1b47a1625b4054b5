"""A study at one moment: the state of each cell, what the waiting ones wait for, the hours spent and to come."""

import math
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strongscale.common.errors import UserError
from strongscale.common.schema import build
from strongscale.jobs.scheduler.states import read as read_states
from strongscale.settings import timed, tuned
from strongscale.settings.cells import (
    EDGE_TRIALS,
    PILOT,
    Cell,
    all_cells,
    is_rate_name,
    pilot_cells,
    samples_folder,
    seeks_edge,
)
from strongscale.settings.config import Study
from strongscale.settings.looks import with_looks
from strongscale.status import planned
from strongscale.status.planned import Step
from strongscale.status.reading import number, read
from strongscale.status.state import FINISHED, STATES, CellStatus, state_of


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Ranks x hours."""

    unit: str
    spent: float
    num_unknown: int
    """Finished cells of which nothing tells how long they ran."""
    to_come: float | None
    """Of the cells that haven't finished, by those that have; None where none has."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A study now."""

    name: str
    data: str
    study: Study
    at: float
    cells: tuple[CellStatus, ...]
    steps: tuple[Step, ...] = ()
    """Towards its data set, where the study waits for that."""
    data_log: str | None = None
    num_tried: int | None = None
    """Short runs that the search for the edge has made, where it goes on."""

    def known(self, name: str) -> tuple[float, ...]:
        """The values of a cell's attribute that are known, each once, in order: its targets, say."""
        return tuple(sorted({value for one in self.cells if (value := getattr(one, name)) is not None}))

    @property
    def learnt_nothing(self) -> tuple[CellStatus, ...]:
        """The cells of which no epoch was better than the best constant output."""
        return tuple(one for one in self.cells if one.beats_constant is False)

    @property
    def counts(self) -> dict[str, int]:
        """Cells by state."""
        found = Counter(one.state for one in self.cells)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def hours(self) -> Hours:
        """Ranks x hours, spent and to come."""
        spent = {one.cell: one.ranks * (one.lived_s or 0.0) / 3600 for one in self.cells}
        finished = [one for one in self.cells if one.state in FINISHED]
        return Hours(
            unit=_unit(self.study, {one.device.partition(":")[0] for one in self.cells if one.device}),
            spent=sum(spent.values()),
            num_unknown=sum(one.lived_s is None for one in finished),
            to_come=_to_come(self.cells, spent),
        )


def take(folder: Path, now: float) -> Snapshot:
    """Look at a study's folder; one without a study in it is a `UserError`, if config.yaml knows none of that name."""
    if not (folder / "study.json").exists():
        return _not_begun(folder, now)
    name, data, study = _read_study(folder)
    study = with_looks(study, _owner(folder, study))
    states = read_states(folder.parent.parent)
    found = {}
    for cell in all_cells(name, study):
        # the folder may have been renamed since
        place = _place(folder, name, study, cell)
        found[cell] = state_of(study, cell, place, now, states)
    cells = (
        replace(one, words=_waits_for(study, one.cell, _owner(folder, study), found))
        if one.state == "waiting" and not (one.folder / "cell.json").exists()
        else one
        for one in found.values()
    )
    losses = _losses_without_input(folder.parent / samples_folder(folder.name, study), study)
    owner = _owner(folder, study)
    searches = seeks_edge(study) and not (owner / "learning_rate.json").exists()
    return Snapshot(
        name=name,
        data=data,
        study=study,
        at=now,
        cells=tuple(_with_losses(one, losses) for one in cells),
        num_tried=_num_tried(owner) if searches else None,
    )


def _owner(folder: Path, study: Study) -> Path:
    """Where the study lies whose runs these are."""
    return folder.parent / study.trajectories if study.trajectories else folder


def _place(folder: Path, name: str, study: Study, cell: Cell) -> Path:
    """Where a cell lies; a study's own folder may have been renamed since."""
    return _owner(folder, study) / Path(cell.folder).relative_to(study.trajectories or name)


def _losses_without_input(dataset: Path, study: Study) -> dict[str, float | None]:
    """What ignoring the input costs in the dimensions of the study's model, as dataset.json tells."""
    summary = read(dataset / "dataset.json") or {}
    return {name: _validation(summary.get(name), study.model.dimensions) for name in ("null_loss", "constant_loss")}


def _validation(losses: Any, dimensions: int) -> float | None:
    if isinstance(losses, float):  # of a task's own samples
        return number(losses)
    own = losses.get(str(dimensions)) if isinstance(losses, dict) else None
    return number(own.get("validation")) if isinstance(own, dict) else None


def _with_losses(one: CellStatus, losses: dict[str, float | None]) -> CellStatus:
    """A cell with the losses that its own result doesn't tell."""
    null_loss, constant_loss = one.null_loss, one.constant_loss
    return replace(
        one,
        null_loss=losses["null_loss"] if null_loss is None else null_loss,
        constant_loss=losses["constant_loss"] if constant_loss is None else constant_loss,
    )


def _not_begun(folder: Path, now: float) -> Snapshot:
    """A study whose data set is being made, or whose settings are about to be written."""
    name, study, dataset = planned.find(folder)
    place = folder.parent / samples_folder(name, study)
    steps = planned.steps(place, dataset)
    data = _data_in_words(study) + ("" if steps[-1].done else ", not made yet")
    cells = (state_of(study, cell, _place(folder, name, study, cell), now) for cell in all_cells(name, study))
    losses = _losses_without_input(place, study)
    found = tuple(
        _with_losses(replace(one, words="for the data set") if one.state == "waiting" else one, losses) for one in cells
    )
    log = planned.newest_log(place)
    return Snapshot(name=name, data=data, study=study, at=now, cells=found, steps=steps, data_log=log)


def _data_in_words(study: Study) -> str:
    return f"data set {study.dataset}" if study.dataset else f"samples of the task {study.task.kind}"


def _read_study(folder: Path) -> tuple[str, str, Study]:
    path = folder / "study.json"
    raw = read(path) or {}
    if not isinstance(raw.get("name"), str):
        raise UserError(f"{path}: not a study's settings; run the workflow again")
    settings = {key: value for key, value in raw.items() if key not in ("name", "dataset_provenance")}
    try:
        study = build(Study, settings, "study")
    except UserError as error:
        raise UserError(f"{path}: {error}; run the workflow again") from None
    return raw["name"], str(raw.get("dataset_provenance") or _data_in_words(study)), study


def _waits_for(study: Study, cell: Cell, folder: Path, found: dict[Cell, CellStatus]) -> str:
    """What a cell's settings need that isn't there: the edge, the target."""
    if is_rate_name(cell.strategy):
        return "to be started"
    if seeks_edge(study) and not (folder / "learning_rate.json").exists():
        return f"for the search for the edge ({_num_tried(folder)} short runs done)"
    if tuned.is_tuned(study) and not (folder / tuned.rate_file(study, cell)).exists():
        search = tuned.search_of(study, cell.strategy, cell.workers)
        done = sum(1 for _ in (folder / search.file).parent.glob("*/*/result.json"))
        return f"for the tuning of {search} ({done} full runs done)"
    if timed.finds_learners(study, cell.strategy) and not timed.path_in(folder.parent, study, cell.strategy).exists():
        return "for the timings that tell how many learners pay"
    if cell.strategy != PILOT and study.pilots and not (folder / "target.json").exists():
        pilots = pilot_cells(cell.study, study)
        done = sum(found[one].state in FINISHED for one in pilots)
        return f"for the pilots, which set the target ({done} of {len(pilots)} done)"
    return "to be started"


def _num_tried(folder: Path) -> int:
    """How many short runs the search for the edge has made."""
    return sum(1 for _ in (folder / EDGE_TRIALS).glob("*/*/result.json"))


def _unit(study: Study, kinds: set[str]) -> str:
    """Of ranks x hours: on the wall clock a rank has a device of its own, whose kind the runs tell, or the settings."""
    wanted = {"cpu": {"CPU"}, "cuda": {"GPU"}, "auto": set()}[study.training.device]
    units = {"GPU": "GPU-hours", "CPU": "core-hours" if study.training.threads == 1 else "rank-hours"}
    kinds = kinds or wanted
    return units.get(next(iter(kinds)), "rank-hours") if study.clock == "wall" and len(kinds) == 1 else "rank-hours"


def _to_come(cells: tuple[CellStatus, ...], spent: dict[Cell, float]) -> float | None:
    """By the median of the finished cells of the same strategy, else of all; but a run takes no longer than its epochs.

    One that has run for longer than that median is compared with those that took longer still; if none did, all its
    epochs are to come.
    """
    finished: dict[str, list[float]] = defaultdict(list)
    for one in cells:
        if one.state in FINISHED and one.lived_s is not None:
            finished[_line(one.cell)].append(spent[one.cell])
    together = [hours for line in finished.values() for hours in line]
    if not together:
        return None if any(one.state not in FINISHED for one in cells) else 0.0
    total = 0.0
    for one in cells:
        if one.state not in FINISHED:
            most = math.inf if one.left_s is None else one.ranks * one.left_s / 3600
            alike = finished.get(_line(one.cell)) or together
            longer = [hours for hours in alike if hours > spent[one.cell]]
            left = statistics.median(longer) - spent[one.cell] if longer else most
            total += min(left, most) if most < math.inf or longer else statistics.median(alike)
    return total


def _line(cell: Cell) -> str:
    return "rate" if is_rate_name(cell.strategy) else cell.strategy


def as_table(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot for machines."""
    cells = [
        {
            "strategy": one.cell.strategy,
            "workers": one.cell.workers,
            "seed": one.cell.seed,
            **{key: value for key, value in vars(one).items() if key not in ("cell", "folder")},
            "folder": str(one.folder),
            "left_s": one.left_s,
            "beats_constant": one.beats_constant,
        }
        for one in snapshot.cells
    ]
    return {
        "study": snapshot.name,
        "data": snapshot.data,
        "clock": snapshot.study.clock,
        "at": snapshot.at,
        "states": snapshot.counts,
        "hours": vars(snapshot.hours),
        "edge_search": snapshot.num_tried,
        "steps": [vars(step) for step in snapshot.steps],
        "cells": cells,
    }
