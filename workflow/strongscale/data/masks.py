"""The nodules' masks: beside the scans, on their very grids, cut at the same points as the cubes."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from strongscale.common.errors import UserError
from strongscale.data import ledger
from strongscale.data.cutting import cube_points_mm, read_inside
from strongscale.data.scans import Scan, find_scans, open_scan

FOLDER = "masks"
"""In the folder of the scans, whatever their subset."""
OFF_GRID = 0.1  # of the scan's smallest voxel: how far a corner of the mask's grid may be from the scan's
HALF = 0.5 - 1e-4  # less what rounding may take away


class MaskFault(UserError):
    """A nodule whose mask is of no use, and by which of the ledger's reasons."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Masks:
    """The masks that lie in a folder, by the scans' seriesuids."""

    folder: Path
    paths: dict[str, Path]
    unusable: dict[str, str]
    """Why the others can't be used."""

    def of(self, seriesuid: str, scan: Scan) -> Scan:
        """The mask of a scan, opened, on that scan's grid to the last digit."""
        if seriesuid in self.unusable:
            raise MaskFault(ledger.MASK_UNREADABLE, self.unusable[seriesuid])
        if seriesuid not in self.paths:
            raise MaskFault(
                ledger.NO_MASK, f"no mask {seriesuid} in {self.folder}; put it there, or leave the scan out"
            )
        with _blamed_on_mask():
            return _on_grid_of(scan, open_scan(self.paths[seriesuid]))


def find_masks(scans: Path) -> Masks:
    """The masks beside a folder's scans."""
    folder = scans / FOLDER
    if not folder.is_dir():
        raise UserError(f"{folder}: not there; put each scan's mask there, or set cubes.masks: false")
    paths, unusable = find_scans(folder)
    return Masks(folder=folder, paths=paths, unusable=unusable)


@contextlib.contextmanager
def _blamed_on_mask() -> Iterator[None]:
    """The fault of a file is one of the mask, not of its scan."""
    try:
        yield
    except (UserError, OSError) as fault:
        raise MaskFault(ledger.MASK_UNREADABLE, str(fault)) from None


def _on_grid_of(scan: Scan, mask: Scan) -> Scan:
    if mask.shape != scan.shape:
        raise UserError(f"{mask.path}: {mask.shape} voxels, but its scan has {scan.shape}; write it on the scan's grid")
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(scan.shape) - 1)
    off_mm = float(np.linalg.norm(mask.voxel_to_world(corners) - scan.voxel_to_world(corners), axis=1).max())
    if not off_mm <= OFF_GRID * scan.spacing_mm.min():
        raise UserError(
            f"{mask.path}: lies up to {off_mm:.3g} mm off the grid of its scan; write it on the scan's grid"
        )
    return replace(mask, spacing_mm=scan.spacing_mm, origin_mm=scan.origin_mm, direction=scan.direction)


def cut_mask(mask: Scan, centre_mm: ArrayLike, voxels: int, voxel_mm: float) -> NDArray[np.uint8]:
    """The mask of the cube (D, H, W) around a point: 1 where interpolation between 0 and 1 gives a half or more.

    What is above 0 is nodule; beyond the scan nothing is.
    """
    coordinates = mask.world_to_voxel(cube_points_mm(centre_mm, voxels, voxel_mm)).reshape(-1, 3)
    low = np.floor(coordinates.min(axis=0)).astype(int)
    high = np.ceil(coordinates.max(axis=0)).astype(int) + 1
    with _blamed_on_mask():
        inside, margins = read_inside(mask, low, high)
    box = np.pad((inside > 0).astype(np.float32), margins)
    share = ndimage.map_coordinates(box, (coordinates - low).T, output=np.float32, order=1, mode="nearest")
    mask_ZYX: NDArray[np.uint8] = (share >= HALF).astype(np.uint8).reshape((voxels,) * 3)
    if not mask_ZYX.any():
        place = ", ".join(f"{number:g}" for number in np.asarray(centre_mm, dtype=float))
        raise MaskFault(
            ledger.EMPTY_MASK, f"{mask.path}: no nodule in the cube around ({place}) mm; mend the mask or the row"
        )
    return mask_ZYX
