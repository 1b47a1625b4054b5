"""Read a study's folder, and refuse runs that were made with other settings than the study's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.analysis.runs import Attempt, Result, Run, StudyRuns, in_words, network_name
from strongscale.cells import Cell, CellSettings, edge_cells, matrix, own_part
from strongscale.config import SEQUENTIAL, SequentialEpochs, Study
from strongscale.errors import UserError
from strongscale.files import read_json
from strongscale.schema import build, plain
from strongscale.strategies import named, names
from strongscale.strategies.base import Strategy

EPOCH_COLUMNS = [
    "epoch",
    "step",
    "samples",
    "learning_rate",
    "training_loss",
    "validation_loss",
    "time_s",
    "compute_s",
    "communication_s",
    "evaluation_s",
]
AGAIN = "made with another configuration; remove the folder or run it again"


def load(study_folder: Path) -> StudyRuns:
    """All runs of the study that lies in `study_folder`; one missing or foreign run is a `UserError`."""
    name, study, data = read_study(study_folder)
    if not study.strategies:
        raise UserError(f"{study_folder / 'study.json'}: no strategies; give the study at least one and run it again")
    read: dict[Cell, tuple[CellSettings, Result, pd.DataFrame]] = {}
    runs, epochs = [], []
    for line, strategy, cell in _lines(name, study):
        if cell not in read:
            read[cell] = _read_cell(study_folder.parent / cell.folder, cell, study)
        settings, result, table = read[cell]
        entry = study.strategies.get(strategy)
        kind = (entry.kind or strategy) if entry else SEQUENTIAL
        runs.append(
            Run(
                line="edge" if line == "edge" else "matrix",
                strategy=strategy,
                kind=kind,
                workers=cell.workers,
                seed=cell.seed,
                cell=cell,
                settings=settings,
                result=result,
            )
        )
        epochs.append(table.assign(strategy=strategy, workers=cell.workers, seed=cell.seed))
    _check_together(study_folder, runs)
    return StudyRuns(
        folder=study_folder,
        name=name,
        study=study,
        data=data,
        runs=tuple(runs),
        epochs=pd.concat(epochs, ignore_index=True),
    )


def read_study(study_folder: Path) -> tuple[str, Study, str]:
    """The study's name, its settings, and its data in words."""
    path = study_folder / "study.json"
    raw = read_json(path)
    if not isinstance(raw, dict) or "name" not in raw:
        raise UserError(f"{path}: not a study's settings; remove it and run again")
    name = str(raw.pop("name"))
    provenance = raw.pop("dataset_provenance", None)
    try:
        study = build(Study, raw, "study")
    except UserError as error:
        raise UserError(f"{path}: {error}; remove it and run again") from None
    return name, study, str(provenance or f"data set {study.dataset}")


def _lines(name: str, study: Study) -> Iterator[tuple[str, str, Cell]]:
    for (strategy, _, _), cell in matrix(name, study).items():
        yield "matrix", strategy, cell
    for cell in edge_cells(name, study):
        yield "edge", cell.strategy, cell


def _read_cell(folder: Path, cell: Cell, study: Study) -> tuple[CellSettings, Result, pd.DataFrame]:
    path = folder / "result.json"
    if not path.exists():
        raise UserError(f"{path}: the result of {cell} is missing; make it with `snakemake {path}`")
    settings = _build(CellSettings, read_json(folder / "cell.json"), folder / "cell.json")
    raw = read_json(path)
    result = _build(Result, _known(Result, raw), path)
    _check_cell(folder, cell, study, settings, result)
    return settings, result, _read_epochs(folder / "epochs.csv", result)


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
        return build(cls, raw, "")
    except UserError as error:
        raise UserError(f"{path}: {error}; remove the folder and run it again") from None


def _read_epochs(path: Path, result: Result) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; remove the folder and run it again") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: not a table ({str(error).strip()}); remove the folder and run it again") from None
    missing = [column for column in EPOCH_COLUMNS if column not in table.columns]
    if missing:
        raise UserError(f"{path}: no column {missing[0]}; remove the folder and run it again")
    try:
        table = table[EPOCH_COLUMNS].astype(dict.fromkeys(EPOCH_COLUMNS[3:], "float64"))
    except ValueError as error:
        raise UserError(f"{path}: not a number ({error}); remove the folder and run it again") from None
    if len(table) != result.epochs:
        raise UserError(
            f"{path}: {len(table)} epochs, but result.json says {result.epochs}; remove the folder and run it again"
        )
    return table


def _check_cell(folder: Path, cell: Cell, study: Study, settings: CellSettings, result: Result) -> None:
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
    different = next(_differences(cell, study, settings), None)
    if different:
        raise UserError(f"{folder / 'cell.json'}: {AGAIN} ({different})")


def _differences(cell: Cell, study: Study, settings: CellSettings) -> Iterator[str]:
    """What the cell's settings say otherwise than the study."""
    for key in ("study", "strategy", "workers", "seed"):
        if getattr(settings, key) != getattr(cell, key):
            yield f"{key} {getattr(settings, key)}, the folder's is {getattr(cell, key)}"
    if settings.clock != study.clock:
        yield f"clock {settings.clock}, the study's is {study.clock}"
    if study.clock == "emulated" and settings.network_name != network_name(study):
        yield f"network {settings.network_name}, the study's is {network_name(study)}"
    if study.clock == "emulated" and not isinstance(study.network, str) and settings.network != study.network:
        yield f"network: {_first_difference(settings.network, study.network)}"
    if _strategy(settings) != _expected_strategy(cell, study):
        yield f"strategy {settings.kind} {settings.parameters}, the study's is {_expected_strategy(cell, study)}"
    if settings.model != study.model:
        yield f"model: {_first_difference(settings.model, study.model)}"
    yield from _training_differences(cell, study, settings)


def _training_differences(cell: Cell, study: Study, settings: CellSettings) -> Iterator[str]:
    """What other runs decide, the edge and a relative target, is taken from the cell; `_check_together` compares it."""
    own, wanted = settings.training, own_part(study, cell.strategy).training
    if wanted.learning_rate == "edge":
        wanted = replace(wanted, learning_rate=own.learning_rate)
    if isinstance(wanted.target, SequentialEpochs):
        if cell.strategy == SEQUENTIAL:
            wanted = replace(wanted, max_epochs=wanted.target.sequential_epochs)
        else:
            wanted = replace(wanted, target=own.target)
    if own != wanted:
        yield f"training: {_first_difference(own, wanted)}"


def _strategy(settings: CellSettings) -> Strategy | None:
    if settings.kind == SEQUENTIAL:
        return Strategy()
    if settings.kind not in names():
        return None
    return build(named(settings.kind), settings.parameters, "parameters")


def _expected_strategy(cell: Cell, study: Study) -> Strategy:
    return study.strategy(cell.strategy if cell.strategy in study.strategies else SEQUENTIAL)


def _first_difference(own: Any, wanted: Any) -> str:
    there, here = plain(own), plain(wanted)
    key = next(key for key in there if there[key] != here[key])
    return f"{key} {there[key]}, the study's is {here[key]}"


def _check_together(folder: Path, runs: list[Run]) -> None:
    """Runs that are compared share their data, and in each seed the base rate and the target."""
    first = runs[0]
    for run in runs:
        if run.settings.dataset_hash != first.settings.dataset_hash:
            raise UserError(f"{folder.parent / run.cell.folder}: {AGAIN} (other data than {first.cell.folder})")
    sequential = {run.seed: run for run in runs if run.line == "matrix" and run.workers == 1}
    for run in (run for run in runs if run.line == "matrix"):
        base = sequential[run.seed]
        for key, own, wanted in (
            ("target_loss", run.result.target_loss, base.result.target_loss),
            ("learning_rate", run.base_rate, base.base_rate),
        ):
            if own != wanted:
                raise UserError(
                    f"{folder.parent / run.cell.folder}: {AGAIN} ({key} {own}, the sequential run's is {wanted})"
                )
