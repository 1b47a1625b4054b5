"""Cut a cube around each nodule: sampled along the patient's axes, whatever the grid of the scan."""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from strongscale.command import run
from strongscale.config import Cubes
from strongscale.data.annotations import read_annotations
from strongscale.data.scans import Scan, find_scans, open_scan
from strongscale.errors import UserError
from strongscale.files import atomic
from strongscale.schema import build

log = logging.getLogger(__name__)

COLUMNS = ["seriesuid", "subset", "x_mm", "y_mm", "z_mm", "diameter_mm", "readers", "state"]


def cut_cube(scan: Scan, centre_mm: ArrayLike, settings: Cubes) -> tuple[NDArray[np.float32], bool]:
    """A cube around a point of the patient, and whether it reaches over the scan's border.

    `centre_mm` is x, y, z in LPS. The cube's axes are z, y, x of the patient, each rising by `voxel_mm`; intensities
    are in [0, 1]. Beyond the scan is air.
    """
    coordinates = scan.world_to_voxel(cube_points_mm(centre_mm, settings)).reshape(-1, 3)
    low = np.floor(coordinates.min(axis=0)).astype(int)
    high = np.ceil(coordinates.max(axis=0)).astype(int) + 1
    inside_low, inside_high = np.clip(low, 0, scan.shape), np.clip(high, 0, scan.shape)
    # Clipped before interpolation: a voxel of metal or of padding (-3024) must not bleed into its neighbours.
    known = window(scan.read_box(inside_low.tolist(), inside_high.tolist()), settings.window_hu)
    air = float(window(np.array(-1000.0), settings.window_hu))
    margins = np.stack([inside_low - low, high - inside_high], axis=1)
    box = np.pad(known, margins, constant_values=air)
    cube = ndimage.map_coordinates(box, (coordinates - low).T, output=np.float32, order=1, mode="nearest")
    if not np.isfinite(cube).all():
        raise UserError(
            f"{scan.path}: voxels near {np.asarray(centre_mm, dtype=float).round(1)} mm aren't numbers; fill them with air"
        )
    last = np.array(scan.shape) - 1
    padded = bool((coordinates < -1e-6).any() or (coordinates > last + 1e-6).any())
    return np.clip(cube, 0, 1).reshape((settings.voxels,) * 3), padded


def cube_points_mm(centre_mm: ArrayLike, settings: Cubes) -> NDArray[np.float64]:
    """Where a cube's voxels lie: world coordinates (D, H, W, 3), the last axis being x, y, z in mm."""
    offsets_mm = (np.arange(settings.voxels) - (settings.voxels - 1) / 2) * settings.voxel_mm
    z, y, x = np.meshgrid(offsets_mm, offsets_mm, offsets_mm, indexing="ij")
    points_mm: NDArray[np.float64] = np.stack([x, y, z], axis=-1) + np.asarray(centre_mm, dtype=float)
    return points_mm


def window(intensities_hu: NDArray[Any], window_hu: tuple[float, float]) -> NDArray[np.float32]:
    """Intensities in [0, 1]; what lies beyond the window is clipped."""
    low, high = window_hu
    scaled: NDArray[np.float32] = (np.clip(intensities_hu.astype(np.float32), low, high) - low) / (high - low)
    return scaled


def cut_subset(
    folder: Path, subset: str, settings: Cubes
) -> Iterator[tuple[NDArray[np.float32], dict[str, str | float | int]]]:
    """Each nodule of a subset: its cube and its row of the manifest, scan by scan, in the order of the annotations."""
    nodules = read_annotations(folder, settings)
    for seriesuid, path in find_scans(folder / subset).items():
        own = nodules[nodules["seriesuid"] == seriesuid]
        if own.empty:
            continue
        scan = open_scan(path)
        for nodule in own.to_dict("records"):
            centre_mm = [nodule[name] for name in ("x_mm", "y_mm", "z_mm")]
            _check_inside(scan, centre_mm, folder / nodule["file"], nodule["row"])
            cube, padded = cut_cube(scan, centre_mm, settings)
            cut = nodule["diameter_mm"] > settings.voxels * settings.voxel_mm
            state = "padded" if padded else "cut" if cut else "cube"
            values = {**nodule, "subset": subset, "state": state}
            yield cube, {column: values[column] for column in COLUMNS}


def _check_inside(scan: Scan, centre_mm: list[float], file: Path, row: int) -> None:
    coordinates = scan.world_to_voxel(centre_mm)
    if (coordinates < -0.5).any() or (coordinates > np.array(scan.shape) - 0.5).any():
        place = ", ".join(f"{number:g}" for number in centre_mm)
        raise UserError(
            f"{file}: row {row}: ({place}) mm lies outside the scan {scan.path.name}; mend the row or leave it out"
        )


def main(arguments: list[str]) -> None:
    """Cut the cubes of one subset: an array (N, D, H, W) and a table with a row a cube."""
    parser = argparse.ArgumentParser(prog="strongscale.data.cubes", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the data set's `cubes`, as JSON")
    parser.add_argument("--scans", required=True, type=Path, help="folder of the subsets and the annotations")
    parser.add_argument("--subset", required=True, help="one of its subset folders")
    parser.add_argument("--output", required=True, type=Path, help="the array to write, .npy")
    parser.add_argument("--manifest", required=True, type=Path, help="the table to write, .csv")
    options = parser.parse_args(arguments)
    settings = build(Cubes, json.loads(options.settings), "cubes")
    cut = list(cut_subset(options.scans, options.subset, settings))
    cubes_NDHW = np.empty((len(cut), *(settings.voxels,) * 3), dtype=np.float32)
    for row, (cube, _) in enumerate(cut):
        cubes_NDHW[row] = cube
    manifest = pd.DataFrame([values for _, values in cut], columns=COLUMNS)
    with atomic(options.output) as temporary:
        np.save(temporary, cubes_NDHW, allow_pickle=False)
    with atomic(options.manifest) as temporary:
        manifest.to_csv(temporary, index=False)
    log.info("%s: %d cubes from %d scans", options.subset, len(cut), manifest["seriesuid"].nunique())


if __name__ == "__main__":
    run(main)
