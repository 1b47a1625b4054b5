"""Cut a cube around each nodule: sampled along the patient's axes, whatever the grid of the scan."""

import argparse
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import atomic
from strongscale.common.schema import build
from strongscale.data import ledger
from strongscale.data.annotations import read_annotations
from strongscale.data.scans import Scan, find_scans, open_scan
from strongscale.data.tables import records
from strongscale.settings.config import WHOLE, Cubes

log = logging.getLogger(__name__)

AIR_HU = -1000.0
HALF_WIDTH = math.sqrt(8 * math.log(2))  # of a normal curve, in standard deviations
REACH = 3.0  # of the smoothing, in standard deviations
MOST_VOXELS = 2**27  # of a scan that one cube may ask for: half a gigabyte, several times over


class TooLarge(UserError):
    """A cube that asks for more of a scan than any scan holds."""


@dataclass(frozen=True)
class Cube:
    """A nodule's cube (D, H, W) in [0, 1], axes z, y, x of the patient, and the share of it that lies beyond the scan."""

    voxels_ZYX: NDArray[np.float32]
    air_share: float


def cut_cube(scan: Scan, centre_mm: ArrayLike, voxel_mm: float, settings: Cubes) -> Cube:
    """The cube around a point (x, y, z in LPS) of the patient, its voxels rising by `voxel_mm` along each axis.

    One interpolation, straight from the scan's grid. Intensities are clipped before it: a voxel of metal or of
    padding (-3024) must not bleed into its neighbours. Beyond the scan is air.
    """
    side_mm = settings.voxels * voxel_mm
    _refuse_too_large(scan, side_mm / scan.spacing_mm, side_mm)
    coordinates = scan.world_to_voxel(cube_points_mm(centre_mm, settings.voxels, voxel_mm)).reshape(-1, 3)
    spread = smoothing(scan.spacing_mm, voxel_mm) if settings.smoothing else np.zeros(3)
    margin = np.ceil(REACH * spread)
    _refuse_too_large(scan, np.ptp(coordinates, axis=0) + 2 * margin + 1, side_mm)
    margin = margin.astype(int)
    low = np.floor(coordinates.min(axis=0)).astype(int) - margin
    high = np.ceil(coordinates.max(axis=0)).astype(int) + 1 + margin
    box = _read_padded(scan, low, high, settings.window_hu)
    if spread.any():
        box = ndimage.gaussian_filter(box, spread, mode="nearest", radius=margin.tolist())
    cube = ndimage.map_coordinates(box, (coordinates - low).T, output=np.float32, order=1, mode="nearest")
    if not np.isfinite(cube).all():
        place = ", ".join(f"{number:g}" for number in np.asarray(centre_mm, dtype=float))
        raise UserError(f"{scan.path}: voxels near ({place}) mm aren't numbers; fill them with air")
    last = np.array(scan.shape) - 1
    outside = ((coordinates < -1e-6) | (coordinates > last + 1e-6)).any(axis=1)
    return Cube(np.clip(cube, 0, 1).reshape((settings.voxels,) * 3), float(outside.mean()))


def _refuse_too_large(scan: Scan, sizes: NDArray[np.float64], side_mm: float) -> None:
    """Stop before a box of these sizes (3,) is made; where they are infinite, too."""
    num_voxels = math.prod(sizes.tolist())
    if not num_voxels <= MOST_VOXELS:
        raise TooLarge(
            f"{scan.path}: a cube of {side_mm:.4g} mm asks for {num_voxels:.2g} voxels, allowed: {MOST_VOXELS:.2g}; "
            "lower cubes.diameters or cubes.voxel_mm, or mend the row's diameter_mm"
        )


def smoothing(spacing_mm: NDArray[np.float64], voxel_mm: float) -> NDArray[np.float64]:
    """Standard deviations (3,), in voxels of the scan, that widen its voxels to the cube's; 0 where they are as wide.

    Widths add in squares: a normal curve of that half-width makes a voxel of `spacing_mm` one of `voxel_mm`.
    """
    wider_mm = np.sqrt(np.clip(voxel_mm**2 - spacing_mm**2, 0, None))
    return np.asarray(wider_mm / HALF_WIDTH / spacing_mm)


def _read_padded(
    scan: Scan, low: NDArray[Any], high: NDArray[Any], window_hu: tuple[float, float]
) -> NDArray[np.float32]:
    """The windowed voxels of a box, which may reach beyond the scan: air is there."""
    inside_low, inside_high = np.clip(low, 0, scan.shape), np.clip(high, 0, scan.shape)
    known = window(scan.read_box(inside_low.tolist(), inside_high.tolist()), window_hu)
    margins = np.stack([inside_low - low, high - inside_high], axis=1)
    return np.pad(known, margins, constant_values=float(window(np.array(AIR_HU), window_hu)))


def cube_points_mm(centre_mm: ArrayLike, voxels: int, voxel_mm: float) -> NDArray[np.float64]:
    """Where a cube's voxels lie: world coordinates (D, H, W, 3), the last axis being x, y, z in mm."""
    offsets_mm = (np.arange(voxels) - (voxels - 1) / 2) * voxel_mm
    z, y, x = np.meshgrid(offsets_mm, offsets_mm, offsets_mm, indexing="ij")
    points_mm: NDArray[np.float64] = np.stack([x, y, z], axis=-1) + np.asarray(centre_mm, dtype=float)
    return points_mm


def window(intensities_hu: NDArray[Any], window_hu: tuple[float, float]) -> NDArray[np.float32]:
    """Intensities in [0, 1]; what lies beyond the window is clipped, but infinity is no intensity: it becomes NaN."""
    low, high = window_hu
    with np.errstate(over="ignore"):
        single = intensities_hu.astype(np.float32)
    if intensities_hu.dtype.kind == "f":
        single = np.where(np.isinf(single), np.float32(np.nan), single)
    scaled: NDArray[np.float32] = (np.clip(single, low, high) - low) / (high - low)
    return scaled


Cut = tuple[dict[str, Any], NDArray[np.float32] | None]
"""A row of the ledger, and its cube if there is one."""


def cut_part(folder: Path, subset: str, part: range, settings: Cubes) -> Iterator[Cut]:
    """Every annotation of the scans dealt to this part, scan by scan, in the order of the files.

    A scan that can't be read costs its own nodules, each with the reason, and stops nothing else.
    """
    annotations = read_annotations(folder, settings)
    scans, unusable = find_scans(folder if subset == WHOLE else folder / subset)
    seriesuids = sorted({*scans, *unusable})
    for seriesuid in seriesuids[part.start :: part.stop]:
        own = annotations[annotations["seriesuid"] == seriesuid].assign(subset=subset)
        rows = records(own)
        wanted = [row for row in rows if not row["reason"]]
        yield from ((ledger.dropped(row, row["reason"], row["detail"]), None) for row in rows if row["reason"])
        if not wanted:
            continue
        try:
            if seriesuid in unusable:
                raise UserError(unusable[seriesuid])
            scan = open_scan(scans[seriesuid])
        except (UserError, OSError) as fault:
            log.warning("%s", fault)
            yield from ((ledger.dropped(row, ledger.UNREADABLE, str(fault)), None) for row in wanted)
            continue
        yield from (_cut_nodule(scan, row, settings) for row in wanted)


def _cut_nodule(scan: Scan, row: dict[str, Any], settings: Cubes) -> Cut:
    """One nodule's cube and its row, or the reason why there is none."""
    centre_mm = [row[name] for name in ("x_mm", "y_mm", "z_mm")]
    coordinates = scan.world_to_voxel(centre_mm)
    if (coordinates < -0.5).any() or (coordinates > np.array(scan.shape) - 0.5).any():
        place = ", ".join(f"{number:g}" for number in centre_mm)
        detail = f"({place}) mm lies outside the scan {scan.path}; mend the row or leave it out"
        return ledger.dropped(row, ledger.OUTSIDE, detail), None
    voxel_mm = settings.voxel_mm_of(row["diameter_mm"])
    try:
        cube = cut_cube(scan, centre_mm, voxel_mm, settings)
    except TooLarge as fault:
        return ledger.dropped(row, ledger.TOO_LARGE, str(fault)), None
    except (UserError, OSError) as fault:
        return ledger.dropped(row, ledger.UNREADABLE, str(fault)), None
    is_cut = row["diameter_mm"] > settings.voxels * voxel_mm * (1 + 1e-9)
    facts = {"voxel_mm": voxel_mm, "air_share": cube.air_share}
    facts |= {f"spacing_{axis}_mm": float(width) for axis, width in zip("ijk", scan.spacing_mm, strict=True)}
    state = "cut" if is_cut else "padded" if cube.air_share > 0 else "cube"
    return row | facts | {"state": state, "lost": False}, cube.voxels_ZYX


def _read_part(text: str) -> range:
    """`2/8`: the third of eight parts."""
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and int(number) < int(parts)):
        raise UserError(f"--part: {text!r} is not allowed; allowed: 0/1, or 0/8 to 7/8 for eight parts")
    return range(int(number), int(parts))


def main(arguments: list[str]) -> None:
    """Cut the cubes of one part of a subset: an array (N, D, H, W), and a table with a row an annotation."""
    parser = argparse.ArgumentParser(prog="strongscale.data.cubes", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the data set's `cubes`, as JSON")
    parser.add_argument("--scans", required=True, type=Path, help="folder of the subsets and the annotations")
    parser.add_argument("--subset", required=True, help=f"one of its subset folders; {WHOLE}: the folder itself")
    parser.add_argument("--part", default="0/1", help="which part of its scans, as in 0/4 to 3/4; all of them: 0/1")
    parser.add_argument("--cubes", required=True, type=Path, help="the array to write, .npy")
    parser.add_argument("--rows", required=True, type=Path, help="the table to write, .csv")
    options = parser.parse_args(arguments)
    settings = build(Cubes, json.loads(options.settings), "cubes")
    rows, cubes = [], []
    for row, cube in cut_part(options.scans, options.subset, _read_part(options.part), settings):
        rows.append(row)
        if cube is not None:
            cubes.append(cube)
    with atomic(options.cubes) as temporary:
        np.save(temporary, np.array(cubes, dtype=np.float32).reshape(-1, *(settings.voxels,) * 3), allow_pickle=False)
    with atomic(options.rows) as temporary:
        pd.DataFrame(rows, columns=ledger.COLUMNS).to_csv(temporary, index=False)
    log.info("%s, part %s: %d annotations, %d cubes", options.subset, options.part, len(rows), len(cubes))


if __name__ == "__main__":
    run(main)
