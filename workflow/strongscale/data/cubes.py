"""Cut a cube around each nodule: sampled along the patient's axes, whatever the grid of the scan."""

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import atomic
from strongscale.common.schema import build
from strongscale.data import ledger
from strongscale.data.annotations import read_annotations
from strongscale.data.cutting import Cube, TooLarge, cut_cube
from strongscale.data.masks import MaskFault, cut_mask, find_masks
from strongscale.data.scans import Scan, find_scans, open_scan
from strongscale.data.tables import masks_beside, records
from strongscale.settings.datasets import WHOLE, Cubes

log = logging.getLogger(__name__)

Cut = tuple[dict[str, Any], Cube | None]
"""A row of the ledger, and its cube if there is one."""


def cut_part(folder: Path, subset: str, part: range, settings: Cubes) -> Iterator[Cut]:
    """Every annotation of the scans dealt to this part, scan by scan, in the order of the files.

    A scan that can't be read, or a mask, costs its own nodules, each with the reason, and stops nothing else.
    """
    annotations = read_annotations(folder, settings)
    scans, unusable = find_scans(folder if subset == WHOLE else folder / subset)
    masks = find_masks(folder) if settings.masks else None
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
            mask = masks.of(seriesuid, scan) if masks else None
        except (UserError, OSError) as fault:
            log.warning("%s", fault)
            yield from (_dropped(row, fault) for row in wanted)
            continue
        yield from (_cut_nodule(scan, mask, row, settings) for row in wanted)


def _dropped(row: dict[str, Any], fault: Exception) -> Cut:
    """A row whose nodule a fault of the data cost."""
    reason = ledger.TOO_LARGE if isinstance(fault, TooLarge) else ledger.UNREADABLE
    return ledger.dropped(row, fault.reason if isinstance(fault, MaskFault) else reason, str(fault)), None


def _cut_nodule(scan: Scan, mask: Scan | None, row: dict[str, Any], settings: Cubes) -> Cut:
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
        if mask:
            cube = replace(cube, mask_ZYX=cut_mask(mask, centre_mm, settings.voxels, voxel_mm))
    except (UserError, OSError) as fault:
        return _dropped(row, fault)
    is_cut = row["diameter_mm"] > settings.voxels * voxel_mm * (1 + 1e-9)
    facts = {"voxel_mm": voxel_mm, "air_share": cube.air_share, "air_axis": cube.air_axis}
    facts |= {f"spacing_{axis}_mm": float(width) for axis, width in zip("ijk", scan.spacing_mm, strict=True)}
    state = "cut" if is_cut else "padded" if cube.air_share > 0 else "cube"
    return row | facts | {"state": state, "lost": False}, cube


def _read_part(text: str) -> range:
    """`2/8`: the third of eight parts."""
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and int(number) < int(parts)):
        raise UserError(f"--part: {text!r} is not allowed; allowed: 0/1, or 0/8 to 7/8 for eight parts")
    return range(int(number), int(parts))


def _write_array(path: Path, arrays: Sequence[NDArray[Any]], settings: Cubes, dtype: type[np.generic]) -> None:
    with atomic(path) as temporary:
        array_NDHW = np.array(arrays, dtype=dtype).reshape(-1, *(settings.voxels,) * 3)
        np.save(temporary, array_NDHW, allow_pickle=False)


def main(arguments: list[str]) -> None:
    """Cut the cubes of one part of a subset: an array (N, D, H, W), one of masks if asked for, a row an annotation."""
    parser = argparse.ArgumentParser(prog="strongscale.data.cubes", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the data set's `cubes`, as JSON")
    parser.add_argument("--scans", required=True, type=Path, help="folder of the subsets and the annotations")
    parser.add_argument("--subset", required=True, help=f"one of its subset folders; {WHOLE}: the folder itself")
    parser.add_argument("--part", default="0/1", help="which part of its scans, as in 0/4 to 3/4; all of them: 0/1")
    parser.add_argument("--cubes", required=True, type=Path, help="the array to write, .npy; masks get .masks.npy")
    parser.add_argument("--rows", required=True, type=Path, help="the table to write, .csv")
    options = parser.parse_args(arguments)
    settings = build(Cubes, json.loads(options.settings), "cubes")
    rows, cubes = [], []
    for row, cube in cut_part(options.scans, options.subset, _read_part(options.part), settings):
        rows.append(row)
        if cube is not None:
            cubes.append(cube)
    _write_array(options.cubes, [cube.voxels_ZYX for cube in cubes], settings, np.float32)
    if settings.masks:
        masks = [cube.mask_ZYX for cube in cubes if cube.mask_ZYX is not None]
        _write_array(masks_beside(options.cubes), masks, settings, np.uint8)
    with atomic(options.rows) as temporary:
        pd.DataFrame(rows, columns=ledger.COLUMNS).to_csv(temporary, index=False)
    log.info("%s, part %s: %d annotations, %d cubes", options.subset, options.part, len(rows), len(cubes))


if __name__ == "__main__":
    run(main)
