"""Read a study's folder, and refuse runs that were made with other settings than the study's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from strongscale.analysis import edge
from strongscale.analysis.clocked import clocked, machine_of
from strongscale.analysis.consistency import contradictions, off_plan
from strongscale.analysis.epochs import read_epochs
from strongscale.analysis.runs import Attempt, Result, Run, StudyRuns, in_words
from strongscale.analysis.targets import at_target
from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.schema import build, plain
from strongscale.jobs.receipts import CELL as RECEIPT
from strongscale.settings import timed
from strongscale.settings.cells import (
    Cell,
    CellSettings,
    difference_in_training,
    matrix,
    pilot_cells,
    rate_cells,
    samples_folder,
    seeks_edge,
)
from strongscale.settings.config import SEQUENTIAL, Study
from strongscale.settings.looks import with_looks
from strongscale.settings.tuned import is_tuned, rate_file, searches
from strongscale.strategies.base import Strategy
from strongscale.timing.steps import Steps, read_steps
from strongscale.training.prepare import resolve

AGAIN = "made with another configuration; remove the folder or run it again"
BROKEN = "remove the folder and run it again"


def load(study_folder: Path, *, with_seconds: bool = True, before_look: int | None = None) -> StudyRuns:
    """All runs of the study that lies in `study_folder`; one missing or foreign run is a `UserError`.

    Without seconds an emulated study needs no timings, and its runs have none. Before a look there are only the seeds that
    earlier ones asked for.
    """
    name, study, data = read_study(study_folder)
    owner_folder, owner = study_folder, study
    if study.trajectories:
        owner_folder = study_folder.parent / study.trajectories
        _, owner, _ = read_study(owner_folder)
    study, owner = (with_looks(one, owner_folder, before_look) for one in (study, owner))
    if not study.strategies:
        raise UserError(f"{study_folder / 'study.json'}: no strategies; give the study at least one and run it again")
    dataset_hash = _dataset_hash(owner_folder, owner)
    _check_found(owner_folder, owner)
    lines = list(_lines(name, study))
    for strategy in dict.fromkeys(cell.strategy for *_, cell in lines) if study.trajectories else ():
        if difference := difference_in_training(study, owner, strategy):
            raise UserError(f"{study_folder / 'study.json'}: {difference}, with which {owner_folder} wasn't trained")
    machine = None
    if study.clock == "emulated" and with_seconds:
        machine = machine_of(study_folder, study, list(dict.fromkeys(strategy for _, strategy, *_ in lines)))
    read: dict[Cell, tuple[CellSettings, Result, pd.DataFrame]] = {}
    seen: dict[Path, Steps] = {}
    runs, epochs = [], []
    for line, strategy, workers, cell in lines:
        if cell not in read:
            read[cell] = _read_cell(owner_folder, cell, owner, dataset_hash)
        settings, result, table = read[cell]
        entry = study.strategies.get(strategy)
        kind = (entry.kind or strategy) if entry else SEQUENTIAL
        runs.append(
            Run(
                line=line,
                strategy=strategy,
                kind=kind,
                workers=workers,
                seed=cell.seed,
                cell=cell,
                settings=settings,
                result=result,
                steps=_steps_of(_folder(owner_folder, cell), len(table), seen) if machine else None,
            )
        )
        epochs.append(table.assign(strategy=strategy, workers=workers, seed=cell.seed))
    _check_together(owner_folder, read)
    found = StudyRuns(
        folder=study_folder,
        name=name,
        study=study,
        data=data,
        runs=tuple(runs),
        epochs=pd.concat(epochs, ignore_index=True),
    )
    if machine is None:
        return at_target(found)
    machine.check(found)
    return at_target(clocked(found, machine))


def _steps_of(folder: Path, num_epochs: int, seen: dict[Path, Steps]) -> Steps:
    """The record of a run's steps, read once."""
    path = folder / "steps.json"
    if path not in seen:
        if not path.exists():
            raise UserError(f"{path}: no such file; {BROKEN}")
        seen[path] = read_steps(path)
    if len(seen[path].epochs) != num_epochs:
        raise UserError(f"{path}: {len(seen[path].epochs)} epochs, but epochs.csv has {num_epochs}; {BROKEN}")
    return seen[path]


def read_study(study_folder: Path) -> tuple[str, Study, str]:
    """The study's name, its settings, and its data in words."""
    path = study_folder / "study.json"
    raw = read_json(path)
    if not isinstance(raw, dict) or "name" not in raw:
        raise UserError(f"{path}: not a study's settings; remove it and run again")
    name = raw.pop("name")
    provenance = raw.pop("dataset_provenance", None) or f"data set {raw.get('dataset')}"
    for text in (name, provenance):
        if not (isinstance(text, str) and text.isprintable()):
            raise UserError(f"{path}: {text!a:.60} is no name; remove it and run again")
    try:
        study = build(Study, raw, "study")
        for line in study.strategies:
            study.strategy(line)
    except UserError as error:
        raise UserError(f"{path}: {error}; remove it and run again") from None
    return name, study, provenance


def _lines(name: str, study: Study) -> Iterator[tuple[Literal["matrix", "rate", "pilot"], str, int, Cell]]:
    for (strategy, workers, _), cell in matrix(name, study).items():
        yield "matrix", strategy, workers, cell
    for cell in rate_cells(name, study):
        yield "rate", cell.strategy, cell.workers, cell
    for cell in pilot_cells(name, study):
        yield "pilot", cell.strategy, cell.workers, cell


def _dataset_hash(study_folder: Path, study: Study) -> str | None:
    """The identity of the study's data set; None where it doesn't lie beside the study, as where results were copied."""
    path = study_folder.parent / samples_folder(study_folder.name, study) / "dataset.json"
    if not path.exists():
        return None
    raw = read_json(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("hash"), str):
        raise UserError(f"{path}: not a data set's description; remove it and run again")
    return str(raw["hash"])


def _check_found(study_folder: Path, study: Study) -> None:
    """What other runs found for all cells is there, and the learning rate at the edge is one of those tried."""
    if seeks_edge(study):
        edge.read(study_folder)
    needed = {search.file: search.receipt for search in searches(study)} if is_tuned(study) else {}
    needed |= {"target.json": "target.json"} if study.pilots else {}
    for name, made in needed.items():
        if not (study_folder / name).exists():
            raise UserError(f"{study_folder / name}: no such file; make it with `snakemake {study_folder / made}`")


def _folder(study_folder: Path, cell: Cell) -> Path:
    """Where a cell lies; a study's folder may have been copied to another name."""
    return study_folder / Path(cell.folder).relative_to(cell.study)


def _read_cell(
    study_folder: Path, cell: Cell, study: Study, dataset_hash: str | None
) -> tuple[CellSettings, Result, pd.DataFrame]:
    folder = _folder(study_folder, cell)
    path = folder / "result.json"
    if not path.exists():
        raise UserError(f"{path}: the result of {cell} is missing; make it with `snakemake {path.with_name(RECEIPT)}`")
    if not (folder / "cell.json").exists():
        raise UserError(f"{folder / 'cell.json'}: no such file; {BROKEN}")
    settings = _build(CellSettings, read_json(folder / "cell.json"), folder / "cell.json")
    raw = read_json(path)
    result = _build(Result, _known(Result, raw), path)
    expected = _expected(study_folder, cell, study, dataset_hash or settings.dataset_hash, settings.brightness)
    _check_cell(folder, cell, study, settings, result, expected)
    epochs = read_epochs(folder / "epochs.csv", timed=study.clock == "wall")
    strategy = expected.create_strategy()
    problem = next(contradictions(settings, strategy, raw, result, epochs), None)
    if problem:
        raise UserError(f"{path}: {problem}; {BROKEN}")
    problem = next(off_plan(settings, strategy, epochs), None)
    if problem:
        raise UserError(f"{folder / 'epochs.csv'}: {problem}; {BROKEN}")
    return settings, result, epochs


def _expected(
    study_folder: Path, cell: Cell, study: Study, dataset_hash: str, brightness: float | None
) -> CellSettings:
    """What cell.json must say: the study's own settings, and what other runs, measurements and the data set told."""
    finds = timed.finds_learners(study, cell.strategy)
    return resolve(
        study,
        cell,
        folder=_folder(study_folder, cell),
        dataset=study_folder.parent / samples_folder(study_folder.name, study),
        dataset_hash=dataset_hash,
        brightness=brightness if study.model.start == "mean" else None,
        learning_rate=study_folder / rate_file(study, cell),
        target=study_folder / "target.json",
        timings=timed.path_in(study_folder.parent, study, cell.strategy) if finds else None,
    )


def _known(cls: type, raw: Any) -> Any:
    """The part of a result, and of the attempts in it, that the analysis reads."""
    if not isinstance(raw, dict):
        return raw
    known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}  # type: ignore[attr-defined]
    if isinstance(known.get("history"), list):
        known["history"] = [_known(Attempt, attempt) for attempt in known["history"]]
    return known


def _build(cls: type, raw: Any, path: Path) -> Any:
    try:
        return build(cls, raw, "") if isinstance(raw, dict) else build(cls, raw, "all of it")
    except UserError as error:
        raise UserError(f"{path}: {error}; {BROKEN}") from None


def _check_cell(
    folder: Path, cell: Cell, study: Study, settings: CellSettings, result: Result, expected: CellSettings
) -> None:
    """The run is the one that the study, as it is now, asks for."""
    if result.settings_hash != settings.hash:
        raise UserError(f"{folder / 'result.json'}: {AGAIN} (settings_hash isn't that of cell.json)")
    if result.clock != study.clock:
        raise UserError(f"{folder / 'result.json'}: {AGAIN} (clock {result.clock}, the study's is {study.clock})")
    ranks = {result.ranks} | {attempt.ranks for attempt in result.history}
    if study.clock == "wall" and ranks != {cell.workers}:
        raise UserError(
            f"{folder / 'result.json'}: its seconds are of {in_words(sorted(ranks))} ranks, not of {cell.workers} workers; "
            "remove the folder and run it again"
        )
    try:
        different = next(_differences(cell, study, settings, expected), None)
    except UserError as error:  # parameters that its strategy hasn't
        different = str(error)
    if different:
        raise UserError(f"{folder / 'cell.json'}: {AGAIN} ({different})")


def _differences(cell: Cell, study: Study, settings: CellSettings, expected: CellSettings) -> Iterator[str]:
    """What the cell's settings say otherwise than the study."""
    for key in ("study", "strategy", "workers", "seed"):
        if getattr(settings, key) != getattr(cell, key):
            yield f"{key} {getattr(settings, key)!s:.60}, the folder's is {getattr(cell, key)}"
    if settings.clock != expected.clock:
        yield f"clock {settings.clock}, the study's is {expected.clock}"
    if _strategy(settings) != (wanted := expected.create_strategy()):
        yield f"strategy {settings.kind} {settings.parameters}, the study's is {wanted}"
    for key in ("task", "model", "training", "optimizer", "update", "files"):
        own, wanted = getattr(settings, key), getattr(expected, key)
        if own != wanted:
            yield f"{key}: {_first_difference(own, wanted)}"
    if settings.dataset_hash != expected.dataset_hash:
        yield f"data set {settings.dataset_hash}, the study's is {expected.dataset_hash}"


def _strategy(settings: CellSettings) -> Strategy | None:
    try:
        return settings.create_strategy()
    except UserError:
        return None


def _first_difference(own: Any, wanted: Any) -> str:
    if own is None or wanted is None:
        return f"{own}, the study's is {wanted}"
    there, here = plain(own), plain(wanted)
    key = next(key for key in there if there[key] != here[key])
    return f"{key} {there[key]}, the study's is {here[key]}"


def _check_together(study_folder: Path, read: dict[Cell, tuple[CellSettings, Result, pd.DataFrame]]) -> None:
    """Runs that are compared share their data, by name and by what it shows of itself."""
    facts: dict[Cell, dict[str, Any]] = {
        cell: {
            "data set": settings.dataset_hash,
            "samples an epoch": epochs["samples"].iloc[0],
            **{name: getattr(result, name) for name in ("null_loss", "constant_loss", "num_training")},
        }
        for cell, (settings, result, epochs) in read.items()
    }
    first = next(iter(facts))
    for cell, own in facts.items():
        for name, value in own.items():
            if value != facts[first][name]:
                raise UserError(
                    f"{_folder(study_folder, cell)}: {AGAIN} ({name} {value}, that of {first.folder} is {facts[first][name]})"
                )
