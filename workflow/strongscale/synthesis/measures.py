"""What may be measured of a nodule's picture, to compare how new ones and others are spread.

Shapes: N cubes of W voxels a side (N, W, W, W), intensities in [0, 1].
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from strongscale.data.resemblance.measures import steepness

Cubes = NDArray[np.floating]

TITLES = {
    "size": "size: radius of gyration of what is above the rim (voxels)",
    "volume": "size: share of voxels above half height",
    "mean": "brightness: mean",
    "centre": "brightness: centre",
    "contrast": "contrast: centre above rim",
    "sharpness": "sharpness: mean gradient (per voxel)",
    "detail": "sharpness: share of variance finer than 3 voxels",
}


def measure(cubes_NDHW: Cubes) -> pd.DataFrame:
    """The measures of each cube: (N, those of TITLES), in float64.

    The rim is the median of the cube's outermost voxels: what the nodule lies in. Half height is half-way from it to the
    brightest voxel.
    """
    cubes = cubes_NDHW.astype(np.float64)
    axes = (1, 2, 3)
    width = cubes.shape[1]
    rim = np.median(cubes[:, outermost(width)], axis=1)
    centre = cubes[:, *(slice((width - 1) // 2, width // 2 + 1),) * 3].mean(axes)
    half = (rim + cubes.max(axes)) / 2
    mean = cubes.mean(axes)
    smooth = ndimage.uniform_filter(cubes, (0, 3, 3, 3), mode="nearest")
    variance = cubes.var(axes)
    fine = ((cubes - smooth) ** 2).mean(axes)
    return pd.DataFrame(
        {
            "size": radius_of_gyration(np.maximum(cubes - rim[:, None, None, None], 0)),
            "volume": (cubes > half[:, None, None, None]).mean(axes),
            "mean": mean,
            "centre": centre,
            "contrast": centre - rim,
            "sharpness": steepness(cubes).mean(axes),
            "detail": np.divide(fine, variance, out=np.zeros_like(fine), where=variance > 0),
        }
    )


def outermost(width: int) -> NDArray[np.bool_]:
    """Which voxels of a cube have a face outside: (W, W, W)."""
    mask = np.ones((width,) * 3, dtype=bool)
    mask[1:-1, 1:-1, 1:-1] = False
    return mask


def radius_of_gyration(weights_NDHW: NDArray[np.float64]) -> NDArray[np.float64]:
    """The root of the mean squared distance from the centre of gravity (N,), in voxels; 0 of nothing."""
    points_VxC = np.stack(np.meshgrid(*map(np.arange, weights_NDHW.shape[1:]), indexing="ij"), -1).reshape(-1, 3)
    weights = weights_NDHW.reshape(len(weights_NDHW), -1)
    total = weights.sum(1)
    total = np.where(total > 0, total, 1)
    centres = weights @ points_VxC / total[:, None]
    squares = weights @ (points_VxC**2).sum(1) / total
    radii: NDArray[np.float64] = np.sqrt(np.maximum(squares - (centres**2).sum(1), 0))
    return radii
