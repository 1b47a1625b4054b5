"""Artificial nodules: sizes, densities and shapes as radiologists describe them, and where they lie in the lungs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from strongscale.data.phantom.anatomy import Chest, Floats, Vessels

SMALLEST_MM, MEDIAN_MM, LARGEST_MM = 3.0, 5.2, 30.0
SPREAD = 0.43  # of the diameter's logarithm
MARGIN_MM = 0.3  # readers draw around a nodule's blurred edge: its marked radius is larger by this
BORDER_MM = 10.0
CLEARANCE_MM = 2.0  # between the lung's wall and a nodule that isn't on it
NUM_CANDIDATES = 6000

DENSITIES = {"solid": 0.75, "calcified": 0.08, "part-solid": 0.08, "ground-glass": 0.09}
PLACES = {"free": 0.6, "wall": 0.18, "vessel": 0.22}


@dataclass(frozen=True)
class Shape:
    """A family of shapes: an ellipsoid with bumps."""

    share: float
    stretch: float
    num_bumps: int = 0
    height: float = 0.0
    """Of a bump, in radii."""
    sharpness: float = 1.0
    """Of a bump: its half-width falls with the root of this."""


SHAPES = {
    "spherical": Shape(0.25, stretch=0.12),
    "ellipsoid": Shape(0.3, stretch=0.3),
    "lobulated": Shape(0.25, stretch=0.2, num_bumps=5, height=0.3, sharpness=6.0),
    "spiculated": Shape(0.2, stretch=0.2, num_bumps=14, height=0.7, sharpness=45.0),
}


@dataclass(frozen=True)
class Nodule:
    """One nodule; `centre_mm` is from the scan's centre along the patient's x, y, z."""

    centre_mm: Floats
    diameter_mm: float
    shape: Shape
    axes: Floats
    """Relative semi-axes (3,), of product 1, along the rows of `rotation` (3, 3)."""
    rotation: Floats
    bumps: Floats
    """Directions (K, 3) of unit length."""
    layers_hu: tuple[tuple[float, float], ...]
    """From the outside in: the part of the radius to which a layer reaches, and its intensity."""


def random_diameters_mm(count: int, random: np.random.Generator) -> Floats:
    """Log-normal diameters between 3 and 30 mm."""
    low, high = (ndtr(np.log(limit / MEDIAN_MM) / SPREAD) for limit in (SMALLEST_MM, LARGEST_MM))
    diameters_mm = MEDIAN_MM * np.exp(SPREAD * ndtri(random.uniform(low, high, count)))
    return np.clip(np.round(diameters_mm, 6), SMALLEST_MM, LARGEST_MM)


def random_nodule(centre_mm: Floats, diameter_mm: float, random: np.random.Generator) -> Nodule:
    """A nodule of random shape and density."""
    shapes = list(SHAPES.values())
    shape = shapes[random.choice(len(shapes), p=[shape.share for shape in shapes])]
    stretch = random.normal(size=3) * shape.stretch
    bumps = random.normal(size=(shape.num_bumps, 3))
    return Nodule(
        centre_mm,
        diameter_mm,
        shape,
        axes=np.exp(stretch - stretch.mean()),
        rotation=np.linalg.qr(random.normal(size=(3, 3)))[0],
        bumps=bumps / np.linalg.norm(bumps, axis=1, keepdims=True),
        layers_hu=_random_layers(diameter_mm, random),
    )


def _random_layers(diameter_mm: float, random: np.random.Generator) -> tuple[tuple[float, float], ...]:
    edge = 1 - 2 * MARGIN_MM / diameter_mm
    density = random.choice(list(DENSITIES), p=list(DENSITIES.values()))
    if density == "calcified":
        return ((edge, random.uniform(200, 1400)),)
    if density == "solid" or diameter_mm < 5:  # denser in the middle
        core_hu = random.normal(70, 50)
        return ((edge, core_hu - abs(random.normal(0, 200))), (edge * random.uniform(0.45, 0.8), core_hu))
    glass_hu = random.normal(-520, 90)
    if density == "ground-glass":
        return ((edge, glass_hu),)
    return ((edge, glass_hu), (edge * random.uniform(0.35, 0.65), random.normal(0, 30)))


def place(chest: Chest, vessels: Vessels, diameters_mm: Floats, random: np.random.Generator) -> list[Floats | None]:
    """A centre for each nodule, free in the lung, on its wall or on a vessel; None for one that doesn't fit.

    Nodules keep apart from one another, and 10 mm from the scan's border. The largest should come first.
    """
    half_mm = np.array(chest.half_mm)
    anywhere = random.uniform(-half_mm, half_mm, size=(NUM_CANDIDATES, 3))
    beside = vessels.ends_mm[random.permutation(len(vessels.ends_mm))]
    aside = random.normal(size=beside.shape)
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    places = random.choice(list(PLACES), p=list(PLACES.values()), size=len(diameters_mm))
    placed: list[tuple[Floats, float]] = []
    centres: list[Floats | None] = []
    for wanted, diameter_mm in zip(places, diameters_mm, strict=True):
        radius_mm = diameter_mm / 2
        points = beside + 0.8 * radius_mm * aside if wanted == "vessel" else anywhere
        centre = next(_free(chest, points, radius_mm, wanted, placed), None)
        if centre is None:  # no such place is left: take any in the lung
            centre = next(_free(chest, anywhere, radius_mm, "any", placed), None)
        if centre is not None:
            placed.append((centre, radius_mm))
        centres.append(centre)
    return centres


def _free(
    chest: Chest, points: Floats, radius_mm: float, wanted: str, placed: list[tuple[Floats, float]]
) -> Iterator[Floats]:
    """Those of the points (N, 3) where a nodule of this radius may lie."""
    depths_mm = chest.lung_depth_mm(*points.T)
    border_mm = max(BORDER_MM, radius_mm + 2)
    allowed = (np.abs(points) <= np.array(chest.half_mm) - border_mm).all(axis=1)
    allowed &= depths_mm > (0.3 * radius_mm if wanted in ("wall", "any") else radius_mm + CLEARANCE_MM)
    if wanted == "wall":
        allowed &= depths_mm < 0.8 * radius_mm
    for centre, other_mm in placed:
        allowed &= np.linalg.norm(points - centre, axis=1) > 1.2 * (radius_mm + other_mm) + 1
    yield from points[allowed]
