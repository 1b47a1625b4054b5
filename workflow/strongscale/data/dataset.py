"""Join all cubes into one data set, split by patient or scan; load it for training."""

import argparse
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import atomic, read_json, write_json
from strongscale.common.schema import build
from strongscale.data.ledger import STATES, join_parts
from strongscale.data.losses import check_losses
from strongscale.data.provenance import provenance
from strongscale.data.split import validation_groups
from strongscale.data.tables import masks_beside, read_array, read_table
from strongscale.settings.datasets import Dataset

log = logging.getLogger(__name__)

SPLITS = ("training", "validation")
DIMENSIONS = (1, 2, 3)
ORDER = ["seriesuid", "x_mm", "y_mm", "z_mm", "diameter_mm", "readers"]


@dataclass(frozen=True)
class Samples:
    """A data set in memory: cubes (N, D, H, W), float32 in [0, 1], axes z, y, x of the patient."""

    training: NDArray[np.float32]
    validation: NDArray[np.float32]
    hash: str
    null_loss: float
    """The validation loss of predicting zero everywhere, in a model's own dimensions."""
    constant_loss: float
    """The validation loss of the best constant output, in a model's own dimensions."""


def load(folder: Path, dimensions: int = 3) -> Samples:
    """Load a data set, for a model of so many dimensions, and check that it is the one its dataset.json describes."""
    path = folder / "dataset.json"
    summary = read_json(path)
    cubes_NDHW = read_array(folder / "cubes.npy")
    split = read_table(folder / "manifest.csv")["split"].to_numpy(dtype=str)
    if digest(cubes_NDHW, split, read_masks(folder)) != summary["hash"]:
        raise UserError(f"{folder}: the cubes or their split aren't those of dataset.json; remove it and run again")
    training, validation = (cubes_NDHW[split == name] for name in SPLITS)
    null, constant = (loss_without_input(name, path, dimensions) for name in ("null_loss", "constant_loss"))
    return Samples(training, validation, summary["hash"], null, constant)


def read_masks(folder: Path) -> NDArray[np.uint8] | None:
    """A data set's masks (N, D, H, W); nothing where it has none."""
    path = folder / "masks.npy"
    return read_array(path) if path.exists() else None


def loss_without_input(name: str, path: Path, dimensions: int) -> float:
    """The validation loss, as dataset.json tells it, of what ignores its input: `null_loss`, or `constant_loss`."""
    return _side(name, path, dimensions, "validation")


def brightness_of(path: Path, dimensions: int) -> float:
    """The mean of the training samples, as dataset.json tells it."""
    return _side("brightness", path, dimensions, "training")


def _side(name: str, path: Path, dimensions: int, split: str) -> float:
    try:
        found = read_json(path)[name]
        return float(found if isinstance(found, float) else found[str(dimensions)][split])
    except (KeyError, TypeError):
        raise UserError(f"{path}: no {name} in {dimensions} dimensions; remove it and run again") from None


def central_section(cubes: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Cubes (N, D, H, W) as they are (3), their central axial slices (N, H, W) (2), or the lines in those (N, W) (1)."""
    for _ in range(3 - dimensions):
        cubes = cubes[:, cubes.shape[1] // 2]
    return cubes


def null_loss(cubes: NDArray[np.float32]) -> float:
    """The mean squared logarithmic error of predicting zero everywhere, in float64."""
    return float(np.mean(np.log1p(cubes.astype(np.float64)) ** 2))


def constant_loss(cubes: NDArray[np.float32], training: NDArray[np.float32]) -> float:
    """The same error of one cube for all, the best there is for the training samples, in float64.

    The error compares logarithms, so that the best voxel c has log(1 + c) = the mean over samples of log(1 + x).
    """
    best = np.log1p(training.astype(np.float64)).mean(axis=0)
    return float(np.mean((best - np.log1p(cubes.astype(np.float64))) ** 2))


def of_each_side(cubes_NDHW: NDArray[np.float32], split: NDArray[np.str_]) -> dict[str, Any]:
    """Mean brightness, and what ignoring the input costs, on each side of the split, in each number of dimensions."""
    found: dict[str, Any] = {"brightness": {}, "null_loss": {}, "constant_loss": {}}
    for dimensions in DIMENSIONS:
        sides = {name: central_section(cubes_NDHW[split == name], dimensions) for name in SPLITS}
        found["brightness"][str(dimensions)] = {name: float(own.mean(dtype=np.float64)) for name, own in sides.items()}
        found["null_loss"][str(dimensions)] = {name: null_loss(own) for name, own in sides.items()}
        found["constant_loss"][str(dimensions)] = {
            name: constant_loss(own, sides["training"]) for name, own in sides.items()
        }
    return found


def digest(
    cubes_NDHW: NDArray[np.float32],
    split: Sequence[str] | NDArray[np.str_],
    masks_NDHW: NDArray[np.uint8] | None = None,
) -> str:
    """The identity of a data set: its voxels, which are for training, and where it has them its masks."""
    content = hashlib.sha256(repr(cubes_NDHW.shape).encode())
    content.update(np.ascontiguousarray(cubes_NDHW, dtype="<f4").data)
    content.update("\n".join(split).encode())
    if masks_NDHW is not None:
        content.update(np.ascontiguousarray(masks_NDHW).data)
    return content.hexdigest()


@dataclass(frozen=True)
class Joined:
    """All cubes of a data set in one order, before they are written."""

    cubes_NDHW: NDArray[np.float32]
    masks_NDHW: NDArray[np.uint8] | None
    table: pd.DataFrame
    """Their rows of the ledger, with their `split`."""


def join(parts: Sequence[Path], ledger: pd.DataFrame, settings: Dataset) -> Joined:
    """All cubes, their masks if asked for and their rows of the ledger, whatever the order of the parts."""
    arrays, masks, tables = [], [], []
    for path in parts:
        table = read_table(path)
        table = table[table["state"] != "dropped"]
        arrays.append(_read_part(path.with_suffix(".npy"), path, len(table), settings))
        if settings.cubes.masks:
            masks.append(_read_part(masks_beside(path.with_suffix(".npy")), path, len(table), settings))
        tables.append(table)
    table = join_parts(tables).sort_values(ORDER, kind="stable")
    assert len(table) == (ledger["state"] != "dropped").sum()
    order = table.index.to_numpy()
    table["split"] = split_samples(table, settings)
    table = table.drop(columns=["reason", "detail", "lost"]).reset_index(drop=True)
    return Joined(np.concatenate(arrays)[order], np.concatenate(masks)[order] if masks else None, table)


def _read_part(path: Path, rows: Path, count: int, settings: Dataset) -> NDArray[Any]:
    """The cubes, or masks, of a part, as many as its table has."""
    array, expected = read_array(path), (count, *(settings.cubes.voxels,) * 3)
    if array.shape != expected:
        raise UserError(
            f"{path}: shape {array.shape}, but {rows.name} and the settings say {expected}; remove both and run again"
        )
    return array


def split_samples(table: pd.DataFrame, settings: Dataset) -> list[str]:
    """The side of each sample: all of one patient are on one side; where none is named, all of one scan."""
    samples = zip(table["patient"], table["seriesuid"], strict=True)
    groups = [(patient, "" if patient else scan) for patient, scan in samples]
    kind = "patients" if table["patient"].all() else "patients and scans" if table["patient"].any() else "scans"
    chosen = validation_groups(Counter(groups), settings.num_validation, settings.split_seed, kind)
    return ["validation" if group in chosen else "training" for group in groups]


def summarise(
    cubes_NDHW: NDArray[np.float32],
    table: pd.DataFrame,
    settings: Dataset,
    masks_NDHW: NDArray[np.uint8] | None = None,
) -> dict[str, Any]:
    """What dataset.json says."""
    split = table["split"].to_numpy(dtype=str)
    return {
        "hash": digest(cubes_NDHW, split, masks_NDHW),
        "provenance": provenance(settings),
        **{f"num_{name}": int((split == name).sum()) for name in SPLITS},
        "num_scans": {name: int(table["seriesuid"][split == name].nunique()) for name in SPLITS},
        "cube_voxels": settings.cubes.voxels,
        "voxel_mm": settings.cubes.voxel_mm if settings.cubes.diameters is None else None,
        "diameters": settings.cubes.diameters,
        "window_hu": list(settings.cubes.window_hu),
        **({} if settings.cubes.padding == "air" else {"padding": settings.cubes.padding}),
        **of_each_side(cubes_NDHW, split),
        **({} if masks_NDHW is None else {"masks": True, "nodule_share": nodule_share(masks_NDHW, split)}),
        "states": {state: int((table["state"] == state).sum()) for state in STATES[:-1]},
    }


def nodule_share(masks_NDHW: NDArray[np.uint8], split: NDArray[np.str_]) -> dict[str, float]:
    """The share of voxels that are nodule, on each side of the split."""
    return {name: float(masks_NDHW[split == name].mean()) for name in SPLITS}


def main(arguments: list[str]) -> None:
    """Join all cubes into one data set with an exact split by patient or scan."""
    parser = argparse.ArgumentParser(prog="strongscale.data.dataset", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the data set's settings, as JSON")
    parser.add_argument("--ledger", required=True, type=Path, help="what became of every annotation")
    parser.add_argument("--tolerated", type=int, default=0, help="nodules that may be lost; with more nothing is made")
    parser.add_argument("--parts", required=True, nargs="+", type=Path, help="rows of cubes, each with its .npy beside")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    options = parser.parse_args(arguments)
    settings = build(Dataset, json.loads(options.settings), "dataset")
    ledger = read_table(options.ledger)
    check_losses(ledger, options.tolerated, options.ledger)
    joined = join(options.parts, ledger, settings)
    summary = summarise(joined.cubes_NDHW, joined.table, settings, joined.masks_NDHW)
    with atomic(options.output / "cubes.npy") as temporary:
        np.save(temporary, joined.cubes_NDHW, allow_pickle=False)
    if joined.masks_NDHW is None:
        (options.output / "masks.npy").unlink(missing_ok=True)  # of earlier settings
    else:
        with atomic(options.output / "masks.npy") as temporary:
            np.save(temporary, joined.masks_NDHW, allow_pickle=False)
    with atomic(options.output / "manifest.csv") as temporary:
        joined.table.to_csv(temporary, index=False)
    write_json(options.output / "dataset.json", summary)
    log.info("%d cubes for training, %d for validation", summary["num_training"], summary["num_validation"])


if __name__ == "__main__":
    run(main)
