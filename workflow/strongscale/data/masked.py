"""The samples of a task that finds nodules: cubes with their masks, read back from a data set."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.data.dataset import digest, read_masks
from strongscale.data.tables import read_array, read_table


@dataclass(frozen=True)
class MaskedCubes:
    """A data set in memory, in the order of its manifest; axes z, y, x of the patient."""

    cubes_NDHW: NDArray[np.float32]
    """In [0, 1]."""
    masks_NDHW: NDArray[np.uint8]
    """1 in the nodule, 0 elsewhere."""
    manifest: pd.DataFrame
    """A row a cube; its column `split` says which are for training."""


def load_masked(folder: Path) -> MaskedCubes:
    """Load a data set with its masks, and check that it is the one its dataset.json describes."""
    masks_NDHW = read_masks(folder)
    if masks_NDHW is None:
        raise UserError(f"{folder}: a data set without masks; set cubes.masks: true for it and run again")
    manifest = read_table(folder / "manifest.csv")
    cubes_NDHW = read_array(folder / "cubes.npy")
    found = digest(cubes_NDHW, manifest["split"].to_numpy(dtype=str), masks_NDHW)
    if found != read_json(folder / "dataset.json")["hash"]:
        raise UserError(f"{folder}: cubes, masks or split aren't those of dataset.json; remove it and run again")
    return MaskedCubes(cubes_NDHW, masks_NDHW, manifest)
