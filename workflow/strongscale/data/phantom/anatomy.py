"""The anatomy of an artificial chest: tissues, lungs and vessels as functions of position.

Positions are in mm from the scan's centre along the patient's axes: x to the left, y to the back, z to the head. The
chest fills the scan, so its organs shrink and grow with it.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[Any]

AIR_HU = -1000.0
SOFT_HU = 45.0
FAT_HU = -95.0
BONE_HU = 380.0
MARROW_HU = 190.0
BLOOD_HU = 35.0

THINNEST_MM = 0.33  # radius at which a vessel's branches end

FAT_RIM = 0.955  # of the way from the body's axis to the skin: here fat ends and muscle begins,
RIB_RIM = 0.907  # the middle of the ribs,
RIB_HALF_RIM = 0.026  # half their thickness,
PLEURA_RIM = 0.86  # and here the lungs begin


@dataclass(frozen=True)
class Chest:
    """One patient's chest; `half_mm` is half the scan's extent along x, y, z."""

    half_mm: tuple[float, float, float]
    heart: float
    """Size of the heart, about 1."""
    dome: float
    """Height of the diaphragm, about 0, in half extents."""
    lung_hu: float
    rib_phase: float

    def rim(self, x: Floats, y: Floats) -> Floats:
        """How far a position is from the body's axis to the skin: 0 to 1, beyond 1 outside."""
        half_x, half_y, _ = self.half_mm
        power = 2.4
        rim: Floats = (np.abs(x / (0.95 * half_x)) ** power + np.abs(y / (0.9 * half_y)) ** power) ** (1 / power)
        return rim

    def skin_depth_mm(self, x: Floats, y: Floats) -> Floats:
        """Depth below the skin."""
        return (1 - self.rim(x, y)) * 0.9 * self.half_mm[1]

    def lung_depth_mm(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Depth in the nearer lung, about; negative outside. Arguments broadcast."""
        half_x, half_y, half_z = self.half_mm
        height = np.clip((z / half_z + 1) / 2, 0, 1)
        wall = (PLEURA_RIM * (1 - 0.4 * height**4) - self.rim(x, y)) * 0.9 * half_y
        spine = 0.15 * np.exp(-(((y / half_y - 0.62) / 0.2) ** 2))
        great_vessels = 0.13 * np.exp(-(((y / half_y - 0.02) / 0.38) ** 2))
        mediastinum = np.abs(x) - half_x * (0.06 + spine + great_vessels)
        aorta = _ellipse(x - 0.17 * half_x, y - 0.38 * half_y, 1, 1) - 0.12 * half_x
        dome = half_z * (self.dome - 0.5 - 0.5 * ((np.abs(x) / half_x - 0.4) / 0.4) ** 2 - 0.4 * (y / half_y) ** 2)
        radii_mm = np.array([0.38 * half_x, 0.38 * half_y, 0.5 * half_z]) * self.heart
        offsets_mm = (x - 0.14 * half_x, y + 0.24 * half_y, z + 0.25 * half_z)
        heart = _ellipsoid(offsets_mm, radii_mm) * float(radii_mm.min())
        rounding_mm = 0.06 * half_x
        midline = _smooth_minimum(mediastinum, aorta, rounding_mm)
        below = _smooth_minimum(heart, z - dome, rounding_mm)
        return _smooth_minimum(_smooth_minimum(wall, midline, rounding_mm), below, rounding_mm)

    def parenchyma_hu(self, y: Floats) -> Floats:
        """The lung's own density: blood sinks to the back of a patient who lies on it."""
        return self.lung_hu + 45 * y / self.half_mm[1]

    def tissue_hu(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Everything but the lungs, as if they were muscle. Axes: z (Z, 1, 1), y (1, Y, 1), x (1, 1, X)."""
        half_x, half_y, half_z = self.half_mm
        rim = self.rim(x, y)
        plane = np.where(rim < FAT_RIM, SOFT_HU, FAT_HU)
        plane[_ellipse(x, y + 0.79 * half_y, 0.15 * half_x, 0.045 * half_y) < 1] = MARROW_HU  # sternum
        plane[_ellipse(x, y - 0.8 * half_y, 0.05 * half_x, 0.05 * half_y) < 1] = BONE_HU  # spinous process
        tissue = np.repeat(plane, z.size, axis=0).astype(np.float32)
        disc = np.abs(z / (0.27 * half_z) % 1 - 0.5)[:, 0, 0] < 0.1
        body = _ellipse(x, y - 0.58 * half_y, 0.17 * half_x, 0.16 * half_y)[0]
        tissue[:, body < 1] = np.where(body[body < 1] > 0.85, BONE_HU, MARROW_HU)
        tissue[np.ix_(disc, *(np.arange(size) for size in body.shape))] = np.where(body < 1, 80, tissue[disc])
        self._add_ribs(tissue, x, y, z, rim)
        return tissue

    def _add_ribs(self, tissue: Floats, x: Floats, y: Floats, z: Floats, rim: Floats) -> None:
        """Ribs fall from the back to the front, so that a slice meets several of them."""
        half_x, half_y, half_z = self.half_mm
        side = (np.abs(rim - RIB_RIM) < RIB_HALF_RIM) & (np.abs(x) > 0.2 * half_x)
        y_side = np.broadcast_to(y, side.shape)[side]
        marrow = np.abs(rim[side] - RIB_RIM) < 0.4 * RIB_HALF_RIM
        period_mm = 0.28 * half_z
        wave = np.cos(2 * np.pi * ((z[:, :, 0] - 0.8 * y_side) / period_mm + self.rib_phase))
        tissue[:, side[0]] = np.where(wave > 0.2, np.where(marrow & (wave > 0.6), MARROW_HU, BONE_HU), SOFT_HU)


@dataclass(frozen=True)
class Vessels:
    """Tapering tubes: `starts_mm` and `ends_mm` are (M, 3), their radii (M,)."""

    starts_mm: Floats
    ends_mm: Floats
    start_radii_mm: Floats
    end_radii_mm: Floats


def random_chest(half_mm: tuple[float, float, float], random: np.random.Generator) -> Chest:
    """One patient."""
    return Chest(
        half_mm,
        heart=random.uniform(0.9, 1.08),
        dome=random.uniform(-0.12, 0.05),
        lung_hu=float(np.clip(random.normal(-865, 36), -950, -750)),
        rib_phase=random.uniform(),
    )


def grow_vessels(chest: Chest, random: np.random.Generator, roots: int = 12, generations: int = 12) -> Vessels:
    """Trees that leave each hilum: winding trunks that taper, and give off a thinner branch at every step."""
    half_x, half_y, half_z = chest.half_mm
    side = np.repeat([-1.0, 1.0], roots)
    hilum_mm = np.array([0.2 * half_x, 0.08 * half_y, 0.02 * half_z])
    starts = hilum_mm + random.normal(size=(2 * roots, 3)) * 0.05 * half_x
    starts[:, 0] *= side
    directions = random.normal(size=(2 * roots, 3)) * [0.4, 0.9, 1.1]
    directions[:, 0] = side * (0.6 + np.abs(directions[:, 0]))
    radii = random.uniform(0.022, 0.036, 2 * roots) * half_x
    grown = []
    for generation in range(generations):
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = random.uniform(0.7, 1.3, len(starts)) * 0.13 * half_x
        ends = starts + directions * lengths[:, None]
        kept = (chest.lung_depth_mm(*ends.T) > (0.7 if generation else -3)) & (radii > THINNEST_MM)
        starts, ends, directions, radii = (values[kept] for values in (starts, ends, directions, radii))
        grown.append((starts, ends, radii, 0.92 * radii))
        starts, directions, radii = _fork(ends, directions, 0.92 * radii, random)
    return Vessels(*(np.concatenate(parts) for parts in zip(*grown, strict=True)))


def _fork(ends: Floats, directions: Floats, radii: Floats, random: np.random.Generator) -> tuple[Floats, ...]:
    """The starts, directions and radii of two children each: the trunk's next piece, and a branch."""
    sideways = np.cross(directions, random.normal(size=directions.shape))
    sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
    count = len(ends)
    angles = np.concatenate([-random.uniform(0, 0.35, (count, 1)), random.uniform(0.5, 1.1, (count, 1))])
    children = np.cos(angles) * np.tile(directions, (2, 1)) + np.sin(angles) * np.tile(sideways, (2, 1))
    shares = np.concatenate([random.uniform(0.9, 1, count), random.uniform(0.45, 0.75, count)])
    return np.tile(ends, (2, 1)), children, np.tile(radii, 2) * shares


def _ellipse(x: Floats, y: Floats, radius_x: float, radius_y: float) -> Floats:
    distance: Floats = np.sqrt((x / radius_x) ** 2 + (y / radius_y) ** 2)
    return distance


def _ellipsoid(offsets: tuple[Floats, Floats, Floats], radii: Floats) -> Floats:
    """Distance beyond an ellipsoid's surface, in radii."""
    x, y, z = (offset / radius for offset, radius in zip(offsets, radii, strict=True))
    distance: Floats = np.sqrt(x * x + y * y + z * z)
    return distance - 1


def _smooth_minimum(first: Floats, second: Floats, width: float) -> Floats:
    """The smaller of two depths, with the edge between them rounded off."""
    overlap = np.maximum(width - np.abs(first - second), 0)
    overlap *= overlap  # in place: these arrays may be as large as a scan
    overlap /= 4 * width
    depth: Floats = np.minimum(first, second)
    depth -= overlap
    return depth
