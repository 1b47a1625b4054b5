"""Scans with the masks of their nodules, as NIfTI, in a folder like that of the crops of LIDC-IDRI."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

SPACING_MM = (0.7, 0.8, 2.0)
SHAPE = (40, 36, 16)


def affine_of(spacing_mm: ArrayLike = SPACING_MM, origin_mm: ArrayLike = (-10.0, 20.0, -30.0)) -> NDArray[np.float64]:
    """An affine (4, 4) in RAS whose axes are those of LPS."""
    affine = np.diag([*np.asarray(spacing_mm, dtype=float), 1.0])
    affine[:3, 3] = origin_mm
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def write_nifti(path: Path, voxels: NDArray[Any], affine: NDArray[np.float64] | None = None) -> Path:
    """Write voxels (i, j, k)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(voxels.astype(np.int16), affine_of() if affine is None else affine).to_filename(path)
    return path


def ball(centre: ArrayLike = (20, 18, 8), radius_mm: float = 5.0, shape: tuple[int, int, int] = SHAPE) -> NDArray[Any]:
    """1 within a ball around a voxel (i, j, k), 0 elsewhere."""
    offsets_mm = (np.moveaxis(np.indices(shape), 0, -1) - np.asarray(centre)) * SPACING_MM
    return (np.linalg.norm(offsets_mm, axis=-1) <= radius_mm).astype(np.int16)


def write_nodule(folder: Path, name: str, mask: NDArray[Any], seed: int = 0) -> None:
    """A scan of noise in subset0, and its mask."""
    noise = np.random.default_rng(seed).integers(-1000, 0, mask.shape)
    write_nifti(folder / "subset0" / f"{name}.nii.gz", noise)
    write_nifti(folder / "masks" / f"{name}.nii.gz", mask)
