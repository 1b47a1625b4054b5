"""Pair the cubes of two data sets by diameter, so that a difference between them isn't one of sizes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.data.dataset import SPLITS, digest, read_masks
from strongscale.data.tables import read_array, read_table

MOST_APART = 0.1  # in diameter, as a share of it
COLUMNS = ("diameter_mm", "voxel_mm", "air_share", "split")


@dataclass(frozen=True)
class Side:
    """One of the two data sets, or the cubes of it that were paired."""

    name: str
    cubes_NDHW: NDArray[np.float32]
    manifest: pd.DataFrame
    window_hu: tuple[float, float]

    def take(self, rows: NDArray[Any]) -> "Side":
        """These cubes of it, in this order."""
        return Side(self.name, self.cubes_NDHW[rows], self.manifest.iloc[rows], self.window_hu)

    @property
    def diameters_mm(self) -> NDArray[np.float64]:
        """(N,)."""
        return self.manifest["diameter_mm"].to_numpy(dtype=float)

    def is_in(self, split: str) -> NDArray[np.bool_]:
        """Which cubes are on this side of the split: (N,)."""
        return np.asarray(self.manifest["split"].to_numpy(dtype=str) == split)


def read(folder: Path, name: str, *, whole_only: bool) -> Side:
    """A finished data set; `whole_only` leaves out cubes that reach beyond their scan."""
    summary = read_json(folder / "dataset.json")
    manifest, cubes_NDHW = read_table(folder / "manifest.csv"), read_array(folder / "cubes.npy")
    missing = [column for column in COLUMNS if column not in manifest]
    if missing:
        raise UserError(f"{folder / 'manifest.csv'}: no column {missing[0]}; remove it and run again")
    if digest(cubes_NDHW, manifest["split"].to_numpy(dtype=str), read_masks(folder)) != summary["hash"]:
        raise UserError(f"{folder}: the cubes or their split aren't those of dataset.json; remove it and run again")
    low, high = summary["window_hu"]
    side = Side(name, cubes_NDHW, manifest, (float(low), float(high)))
    return side.take(np.flatnonzero(manifest["air_share"] == 0)) if whole_only else side


def pair(first: Side, second: Side) -> tuple[Side, Side]:
    """As many cubes of each as go together: row by row of the same diameter within a tenth, on the same side of the split.

    The sum of the differences of the logarithms is the least possible; pairs that are too far apart are left out after.
    """
    chosen: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])
    for split in SPLITS:
        ours, theirs = (np.flatnonzero(side.is_in(split)) for side in (first, second))
        apart = np.abs(np.log(first.diameters_mm[ours][:, None] / second.diameters_mm[theirs][None, :]))
        rows, columns = linear_sum_assignment(np.minimum(apart, 2 * MOST_APART))
        near = apart[rows, columns] <= np.log1p(MOST_APART)
        chosen[0].append(ours[rows[near]])
        chosen[1].append(theirs[columns[near]])
    return first.take(np.concatenate(chosen[0])), second.take(np.concatenate(chosen[1]))
