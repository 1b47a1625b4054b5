"""Cut a cube around a point: sampled along the patient's axes, whatever the grid of the scan."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from strongscale.common.errors import UserError
from strongscale.data.scans import Scan
from strongscale.settings.datasets import Cubes

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
    """However it was padded."""
    air_axis: str = ""
    """The axis of the scan, i, j or k, along which most of that lies; none where nothing does."""
    mask_ZYX: NDArray[np.uint8] | None = None
    """1 in the nodule, 0 elsewhere; nothing where masks weren't asked for."""


def cut_cube(scan: Scan, centre_mm: ArrayLike, voxel_mm: float, settings: Cubes) -> Cube:
    """The cube around a point (x, y, z in LPS) of the patient, its voxels rising by `voxel_mm` along each axis.

    One interpolation, straight from the scan's grid. Intensities are clipped before it: a voxel of metal or of
    padding (-3024) must not bleed into its neighbours. Beyond the scan is air, or what lies nearest in it.
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
    box = _read_windowed(scan, low, high, settings)
    if spread.any():
        box = ndimage.gaussian_filter(box, spread, mode="nearest", radius=margin.tolist())
    cube = ndimage.map_coordinates(box, (coordinates - low).T, output=np.float32, order=1, mode="nearest")
    if not np.isfinite(cube).all():
        place = ", ".join(f"{number:g}" for number in np.asarray(centre_mm, dtype=float))
        raise UserError(f"{scan.path}: voxels near ({place}) mm aren't numbers; fill them with air")
    last = np.array(scan.shape) - 1
    outside_N3 = (coordinates < -1e-6) | (coordinates > last + 1e-6)
    axis = "ijk"[int(outside_N3.sum(axis=0).argmax())] if outside_N3.any() else ""
    return Cube(np.clip(cube, 0, 1).reshape((settings.voxels,) * 3), float(outside_N3.any(axis=1).mean()), axis)


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


def _read_windowed(scan: Scan, low: NDArray[Any], high: NDArray[Any], settings: Cubes) -> NDArray[np.float32]:
    """The windowed voxels of a box, padded where it reaches beyond the scan."""
    inside, margins = read_inside(scan, low, high)
    known = window(inside, settings.window_hu)
    if settings.padding == "nearest":
        return np.pad(known, margins, mode="edge")
    return np.pad(known, margins, constant_values=float(window(np.array(AIR_HU), settings.window_hu)))


def read_inside(scan: Scan, low: NDArray[Any], high: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """What a scan holds of a box, and how many voxels it lacks before and after along each axis: (3, 2)."""
    inside_low, inside_high = np.clip(low, 0, scan.shape), np.clip(high, 0, scan.shape)
    known = scan.read_box(inside_low.tolist(), inside_high.tolist())
    return known, np.stack([inside_low - low, high - inside_high], axis=1)


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
