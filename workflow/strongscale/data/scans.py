"""Scans as windows onto files: where their voxels lie in the patient, and a box of them at a time.

World coordinates are millimetres in LPS: x to the patient's left, y to the back, z to the head. Everything about the
grid is in the order of its own axes i, j, k, of which i runs fastest in the file.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

from strongscale.data import metaimage
from strongscale.errors import UserError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


class Voxels(Protocol):
    """Voxels of a file, indexed (i, j, k), read where they are sliced: a memory map, a NIfTI array proxy."""

    def __getitem__(self, box: tuple[slice, slice, slice], /) -> Any:
        """The voxels of a box."""


@dataclass(frozen=True)
class Scan:
    """One CT scan. Column i of `direction` is the direction of grid axis i in the patient."""

    path: Path
    shape: tuple[int, int, int]
    spacing_mm: NDArray[np.float64]
    origin_mm: NDArray[np.float64]
    direction: NDArray[np.float64]
    voxels: Voxels

    def __post_init__(self) -> None:
        if not (np.isfinite(self.spacing_mm).all() and (self.spacing_mm > 0).all()):
            raise UserError(f"{self.path}: spacing {self.spacing_mm} mm; three positive numbers are needed, mend it")
        if not np.isfinite(self.origin_mm).all():
            raise UserError(f"{self.path}: origin {self.origin_mm} mm; three numbers are needed, mend it")
        if not (np.isfinite(self.direction).all() and abs(np.linalg.det(self.direction)) > 1e-6):
            raise UserError(
                f"{self.path}: the direction matrix {self.direction.T.ravel()} is singular; three independent axes "
                "are needed, mend it"
            )

    def voxel_to_world(self, indices: ArrayLike) -> NDArray[np.float64]:
        """World coordinates (..., 3) in mm of voxel coordinates (..., 3) in the order i, j, k."""
        return np.asarray(indices, dtype=float) * self.spacing_mm @ self.direction.T + self.origin_mm

    def world_to_voxel(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel coordinates (..., 3) in the order i, j, k of world coordinates (..., 3) in mm."""
        shifted_mm = np.asarray(points_mm, dtype=float) - self.origin_mm
        return shifted_mm @ np.linalg.inv(self.direction).T / self.spacing_mm

    def read_box(self, low: Sequence[int], high: Sequence[int]) -> NDArray[Any]:
        """The voxels from `low` up to but not including `high`, both (i, j, k) inside the scan; no others are read."""
        i, j, k = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
        try:
            return np.array(self.voxels[i, j, k])
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise UserError(f"{self.path}: its voxels can't be read ({error}); copy it anew") from None


def open_scan(path: Path) -> Scan:
    """Open a scan without reading its voxels."""
    for ending, opener in OPENERS.items():
        if path.name.endswith(ending):
            return opener(path)
    raise UserError(f"{path}: not a known kind of scan; use {', '.join(OPENERS)}")


def find_scans(folder: Path) -> dict[str, Path]:
    """The scans of a folder by seriesuid (the file's name without its ending), in the order of their names."""
    scans: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ending = next((ending for ending in OPENERS if path.name.endswith(ending)), None)
        if ending is None or path.name.startswith("."):
            continue
        seriesuid = path.name.removesuffix(ending)
        if seriesuid in scans:
            raise UserError(f"{path}: the same scan as {scans[seriesuid].name}; keep one of the two")
        scans[seriesuid] = path
    if not scans:
        raise UserError(f"{folder}: no scans there; put files ending in {', '.join(OPENERS)} into it")
    return scans


def _open_metaimage(path: Path) -> Scan:
    header = metaimage.read_header(path)
    voxels = np.memmap(header.raw, dtype=header.dtype, mode="r", shape=header.shape, order="F")
    return Scan(path, header.shape, header.spacing_mm, header.origin_mm, header.direction, voxels)


def _open_nifti(path: Path) -> Scan:
    try:
        image: Any = nibabel.load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy the scan anew") from None
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: can't be read as NIfTI ({error}); copy it anew") from None
    if len(image.shape) != 3:
        raise UserError(f"{path}: {len(image.shape)} dimensions; a scan of three is needed")
    axes_mm = RAS_TO_LPS @ image.affine[:3, :3]
    spacing_mm = np.linalg.norm(axes_mm, axis=0)
    direction = axes_mm / np.where(spacing_mm > 0, spacing_mm, 1)
    return Scan(path, image.shape, spacing_mm, RAS_TO_LPS @ image.affine[:3, 3], direction, image.dataobj)


OPENERS: dict[str, Callable[[Path], Scan]] = {".mhd": _open_metaimage, ".nii": _open_nifti, ".nii.gz": _open_nifti}
