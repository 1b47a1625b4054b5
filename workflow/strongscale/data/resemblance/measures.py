"""What a cube looks like, in numbers: brightness, edges, detail and surroundings, and how well straight lines fit many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PROFILE_EDGES = np.arange(0, 2.75, 0.25)  # in radii of the nodule
NUM_RESAMPLES = 2000
SHORT_WAVE = 4.0  # voxels
FREQUENCY_EDGES = np.linspace(0.03, 0.5, 9)  # in waves a voxel: the axes' highest is 0.5


def distances(shape: tuple[int, ...], voxels_mm: Floats, diameters_mm: Floats) -> Floats:
    """How far each voxel (N, *shape) lies from its cube's centre, in radii of the nodule."""
    axes = [np.arange(size) - (size - 1) / 2 for size in shape]
    in_voxels: Floats = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    scale = voxels_mm / (diameters_mm / 2)
    return scale.reshape(-1, *[1] * len(shape)) * in_voxels


def measure(sections: NDArray[np.float32], radii: Floats) -> dict[str, Floats]:
    """One number a cube (N,), by name; NaN where a cube has no such voxels. `sections` (N, ...) are in [0, 1]."""
    flat, far = sections.reshape(len(sections), -1).astype(float), radii.reshape(len(radii), -1)
    steep = steepness(sections).reshape(flat.shape)
    around = _within(flat, far, 1.5, np.inf)
    inside = _within(flat, far, 0, 0.6)
    dark, bright = (_quantile(around, share) for share in (0.1, 0.9))
    return {
        "mean of all voxels": flat.mean(axis=1),
        "spread of all voxels": flat.std(axis=1),
        "centre (to 0.5 radii)": _mean(_within(flat, far, 0, 0.5)),
        "rim (0.75 to 1.25 radii)": _mean(_within(flat, far, 0.75, 1.25)),
        "spread inside (to 0.6 radii)": _spread(inside),
        "around (from 1.5 radii on)": _mean(around),
        "darkest tenth around, its limit": dark,
        "brightest tenth around, its limit": bright,
        "steepness at the rim, a voxel": _mean(_within(steep, far, 0.75, 1.25)),
        "steepness around, a voxel": _mean(_within(steep, far, 1.5, np.inf)),
        "steepest tenth, its limit": np.quantile(steep, 0.9, axis=1),
        f"detail (waves below {SHORT_WAVE:g} voxels, RMS)": detail(sections),
        "null loss": (np.log1p(flat) ** 2).mean(axis=1),
    }


def profile(sections: NDArray[np.float32], radii: Floats) -> Floats:
    """Mean intensity of each cube at each distance: (N, len(PROFILE_EDGES) - 1), NaN where no voxel lies there."""
    flat, far = sections.reshape(len(sections), -1).astype(float), radii.reshape(len(radii), -1)
    pairs = zip(PROFILE_EDGES, PROFILE_EDGES[1:], strict=False)
    return np.stack([_mean(_within(flat, far, low, high)) for low, high in pairs], axis=1)


def steepness(sections: NDArray[np.floating]) -> Floats:
    """Length of the gradient, a voxel, at each voxel."""
    axes = tuple(range(1, sections.ndim))
    gradients = np.gradient(sections.astype(float), axis=axes)
    steep: Floats = np.sqrt(sum(np.square(part) for part in (gradients if len(axes) > 1 else [gradients])))
    return steep


def spectrum(sections: NDArray[np.float32]) -> Floats:
    """Mean power of each cube by frequency: (N, len(FREQUENCY_EDGES) - 1), in squares of intensity."""
    power, frequency = _power(sections)
    places = np.digitize(frequency.ravel(), FREQUENCY_EDGES)
    flat = power.reshape(len(power), -1)
    return np.stack([flat[:, places == place].mean(axis=1) for place in range(1, len(FREQUENCY_EDGES))], axis=1)


def detail(sections: NDArray[np.float32]) -> Floats:
    """Root of the mean square of what is left of each cube when all waves longer than SHORT_WAVE are taken away: (N,)."""
    power, frequency = _power(sections)
    rms: Floats = np.sqrt((power * (frequency > 1 / SHORT_WAVE)).reshape(len(power), -1).mean(axis=1))
    return rms


def _power(sections: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """The power of each wave, so scaled that its mean is the mean square; and each wave's frequency.

    A window that falls to zero at the border keeps the cube's ends, which don't meet, from passing for detail.
    """
    shape, axes = sections.shape[1:], tuple(range(1, sections.ndim))
    window: Any = 1.0
    for axis, size in enumerate(shape):
        fade = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
        window = window * fade.reshape([-1 if place == axis else 1 for place in range(len(shape))])
    window = window / np.sqrt((window**2).mean())
    centred = sections - sections.mean(axis=axes, keepdims=True, dtype=float)
    power = np.abs(np.fft.fftn(centred * window, axes=axes, norm="ortho")) ** 2
    grids = np.meshgrid(*(np.fft.fftfreq(size) for size in shape), indexing="ij")
    return power, np.sqrt(sum(grid**2 for grid in grids))


def explained(
    training: NDArray[np.float32], validation: NDArray[np.float32], components: Sequence[int]
) -> dict[int, float]:
    """Share of the variance of log(1 + x) that so many principal components explain.

    They are fitted on training cubes and judged on validation cubes, around the mean of the training cubes, so that a
    share of 0 is the best constant output. More components than there are cubes are left out.
    """
    known, unknown = (np.log1p(cubes.reshape(len(cubes), -1).astype(float)) for cubes in (training, validation))
    mean = known.mean(axis=0)
    directions = np.linalg.svd(known - mean, full_matrices=False)[2]
    total = ((unknown - mean) ** 2).sum()
    parts = (((unknown - mean) @ directions.T) ** 2).sum(axis=0) / total
    return {count: float(parts[:count].sum()) for count in components if count < len(known)}


def interval(values: Floats, seed: int = 0) -> tuple[float, float]:
    """Where 95 % of the means of resamples of the values (N,) lie."""
    random = np.random.default_rng(seed)
    means = values[random.integers(0, len(values), (NUM_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _within(flat: Floats, far: Floats, low: float, high: float) -> Floats:
    return np.where((far >= low) & (far < high), flat, np.nan)


def _mean(values: Floats) -> Floats:
    """Means of rows without their NaNs; NaN for a row of nothing else, without a warning."""
    known = ~np.isnan(values)
    total: Floats = np.where(known, values, 0).sum(axis=1)
    means: Floats = np.full(len(values), np.nan)
    np.divide(total, known.sum(axis=1), out=means, where=known.any(axis=1))
    return means


def _spread(values: Floats) -> Floats:
    return np.sqrt(_mean((values - _mean(values)[:, None]) ** 2))


def _quantile(values: Floats, share: float) -> Floats:
    """The like for a quantile: NaNs are sorted to the end."""
    counts = (~np.isnan(values)).sum(axis=1)
    place = np.maximum(np.rint(share * (counts - 1)), 0).astype(int)
    return np.take_along_axis(np.sort(values, axis=1), place[:, None], axis=1)[:, 0]
