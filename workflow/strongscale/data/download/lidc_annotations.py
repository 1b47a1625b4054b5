"""The annotations of the crops of LIDC-IDRI, from their masks alone."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from strongscale.common.errors import UserError
from strongscale.common.files import atomic
from strongscale.data.scans import open_scan

COLUMNS = ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "patient"]
NODULE = "_R_"  # between a patient's name and the number of the nodule


def describe(folder: Path, masks: Sequence[str]) -> None:
    """Write annotations.csv: a row each of these files of the folder `masks`, in the order of their names."""
    rows = [_describe(folder / "masks" / name) for name in sorted(masks)]
    with atomic(folder / "annotations.csv") as temporary:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(temporary, index=False)


def _describe(path: Path) -> tuple[str, ...]:
    """The centroid of a mask (in LPS), and the diameter of the ball of its volume."""
    mask = open_scan(path)
    voxels_N3 = np.argwhere(mask.read_box((0, 0, 0), mask.shape) > 0)
    if not len(voxels_N3):
        raise UserError(f"{path}: no voxel of it is nodule; remove it and run again")
    centre_mm = mask.voxel_to_world(voxels_N3.mean(axis=0))
    volume_mm3 = len(voxels_N3) * float(np.prod(mask.spacing_mm))
    diameter_mm = math.cbrt(6 * volume_mm3 / math.pi)
    seriesuid = path.name.removesuffix(".nii.gz")
    places = (f"{place:.3f}" for place in centre_mm)
    return (seriesuid, *places, f"{diameter_mm:.2f}", seriesuid.split(NODULE)[0])
