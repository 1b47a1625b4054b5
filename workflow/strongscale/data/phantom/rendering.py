"""Render an artificial chest on a grid of voxels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from strongscale.data.phantom.anatomy import AIR_HU, BLOOD_HU, SOFT_HU, Chest, Floats, Vessels
from strongscale.data.phantom.nodules import Nodule


@dataclass(frozen=True)
class Grid:
    """Positions of voxels in mm from the scan's centre, rising along the patient's axes."""

    x_mm: Floats
    y_mm: Floats
    z_mm: Floats

    @property
    def edge_mm(self) -> float:
        """Over what width a sharp edge is blurred by the scanner."""
        return 1.3 * float(self.x_mm[1] - self.x_mm[0])

    def box(self, low_mm: Floats, high_mm: Floats) -> tuple[slice, slice, slice]:
        """The box of voxels (z, y, x) between two corners (x, y, z)."""
        x, y, z = (
            slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high)))
            for axis, low, high in zip((self.x_mm, self.y_mm, self.z_mm), low_mm, high_mm, strict=True)
        )
        return z, y, x

    def positions_mm(self, box: tuple[slice, slice, slice]) -> tuple[Floats, Floats, Floats]:
        """x (1, 1, X), y (1, Y, 1), z (Z, 1, 1) of a box of voxels."""
        z, y, x = box
        return self.x_mm[None, None, x], self.y_mm[None, y, None], self.z_mm[z, None, None]


WHOLE = (slice(None),) * 3


def make_grid(size_mm: Floats, spacing_mm: Floats) -> Grid:
    """The grid of voxels (x, y, z) that fills a size and is centred on zero."""
    counts = np.round(size_mm / spacing_mm).astype(int)
    return Grid(
        *(
            ((np.arange(count) - (count - 1) / 2) * spacing).astype(np.float32)
            for count, spacing in zip(counts, spacing_mm, strict=True)
        )
    )


class Solid(Protocol):
    """A body with a surface."""

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """Two corners (x, y, z) of a box around it."""

    def depth_mm(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Depth below its surface; negative outside."""


@dataclass(frozen=True)
class Tube:
    """A straight piece of vessel or airway that may taper."""

    start_mm: Floats
    end_mm: Floats
    start_radius_mm: float
    end_radius_mm: float

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """Two corners (x, y, z) of a box around it."""
        reach = max(self.start_radius_mm, self.end_radius_mm)
        return np.minimum(self.start_mm, self.end_mm) - reach, np.maximum(self.start_mm, self.end_mm) + reach

    def depth_mm(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Depth below its surface; negative outside."""
        step_x, step_y, step_z = (float(step) for step in self.end_mm - self.start_mm)
        x, y, z = (axis - start for axis, start in zip((x, y, z), self.start_mm.astype(np.float32), strict=True))
        along = (x * step_x + y * step_y + z * step_z) / (step_x**2 + step_y**2 + step_z**2)
        along = np.clip(along, 0, 1)
        distance = np.sqrt((x - along * step_x) ** 2 + (y - along * step_y) ** 2 + (z - along * step_z) ** 2)
        depth: Floats = self.start_radius_mm + along * (self.end_radius_mm - self.start_radius_mm) - distance
        return depth


@dataclass(frozen=True)
class Layer:
    """A nodule, or its core: `share` of its radius."""

    nodule: Nodule
    share: float

    def bounds_mm(self) -> tuple[Floats, Floats]:
        """Two corners (x, y, z) of a box around it."""
        nodule = self.nodule
        reach = nodule.diameter_mm / 2 * self.share * float(nodule.axes.max()) * (1 + nodule.shape.height)
        return nodule.centre_mm - reach, nodule.centre_mm + reach

    def depth_mm(self, x: Floats, y: Floats, z: Floats) -> Floats:
        """Depth below its surface, about; negative outside."""
        nodule, shape = self.nodule, self.nodule.shape
        offsets = np.stack(np.broadcast_arrays(*(np.subtract((x, y, z)[i], nodule.centre_mm[i]) for i in range(3))))
        scaled = np.tensordot(nodule.rotation / nodule.axes[:, None], offsets, axes=1)
        distance = np.linalg.norm(scaled, axis=0)
        cosines = np.tensordot(nodule.bumps, scaled / np.maximum(distance, 1e-6), axes=1)
        bumps = np.exp(shape.sharpness * (cosines - 1)).sum(axis=0) * shape.height
        mean_bump = len(nodule.bumps) * shape.height * (1 - np.exp(-2 * shape.sharpness)) / (2 * shape.sharpness)
        surface: Floats = nodule.diameter_mm / 2 * self.share * (1 + bumps) / (1 + mean_bump)
        depth: Floats = surface - distance
        return depth


def paint(volume_ZYX: Floats, grid: Grid, solid: Solid, hu: float, combine: Callable[..., Any] = np.maximum) -> None:
    """Draw a solid into a volume, where it is denser (or, with `np.minimum`, thinner) than what is there."""
    low_mm, high_mm = solid.bounds_mm()
    box = grid.box(low_mm - grid.edge_mm, high_mm + grid.edge_mm)
    part = volume_ZYX[box]
    if part.size:
        cover = np.clip(0.5 + solid.depth_mm(*grid.positions_mm(box)) / grid.edge_mm, 0, 1)
        combine(part, part + cover * (hu - part), out=part, casting="same_kind")


def render(chest: Chest, vessels: Vessels, nodules: list[Nodule], grid: Grid) -> NDArray[np.float32]:
    """The chest without noise: intensities in HU, axes z, y, x of the patient, rising."""
    x, y, z = grid.positions_mm(WHOLE)
    edge_mm = np.float32(grid.edge_mm)
    volume: NDArray[np.float32] = chest.tissue_hu(x, y, z)
    lung = np.clip(0.5 + chest.lung_depth_mm(x, y, z) / edge_mm, 0, 1).astype(np.float32)
    volume += lung * (chest.parenchyma_hu(y) - volume)
    for start, end, start_radius, end_radius in zip(
        vessels.starts_mm, vessels.ends_mm, vessels.start_radii_mm, vessels.end_radii_mm, strict=True
    ):
        paint(volume, grid, Tube(start, end, start_radius, end_radius), BLOOD_HU)
    for airway in airways(chest):
        wall = Tube(airway.start_mm, airway.end_mm, airway.start_radius_mm + 1, airway.end_radius_mm + 1)
        paint(volume, grid, wall, SOFT_HU)
    for airway in airways(chest):
        paint(volume, grid, airway, AIR_HU, np.minimum)
    for nodule in nodules:
        for share, hu in nodule.layers_hu:
            paint(volume, grid, Layer(nodule, share), hu)
    body = np.clip(0.5 + chest.skin_depth_mm(x, y) / edge_mm, 0, 1)
    volume -= AIR_HU
    volume *= body
    volume += AIR_HU
    return volume


def outlined(nodules: list[Nodule], grid: Grid) -> NDArray[np.uint8]:
    """1 in the nodules, 0 elsewhere, axes z, y, x: voxels whose middle is within the surface of the marked diameter.

    That surface is the one a reader draws: around the blurred edge, so a little outside the place where half of the
    nodule's own density is reached. What the nodule shares with a wall or a vessel is nodule.
    """
    mask_ZYX = np.zeros((grid.z_mm.size, grid.y_mm.size, grid.x_mm.size), dtype=np.uint8)
    for nodule in nodules:
        marked = Layer(nodule, 1.0)
        box = grid.box(*marked.bounds_mm())
        mask_ZYX[box] |= marked.depth_mm(*grid.positions_mm(box)) >= 0
    return mask_ZYX


def airways(chest: Chest) -> list[Tube]:
    """The windpipe and the two main bronchi."""
    half_mm = np.array(chest.half_mm)
    radius = 0.055 * chest.half_mm[0]
    carina = np.array([0.0, 0.12, 0.2]) * half_mm
    pipe = Tube(np.array([0.0, 0.05, 1.2]) * half_mm, carina, radius, radius)
    bronchi = [
        Tube(carina, np.array([side * 0.3, 0.15, 0.0]) * half_mm, 0.75 * radius, 0.5 * radius) for side in (-1, 1)
    ]
    return [pipe, *bronchi]


def scanned(
    volume_ZYX: NDArray[np.float32], noise_hu: float, blur: tuple[float, float, float], random: np.random.Generator
) -> NDArray[np.int16]:
    """What a scanner makes of it: its kernel blurs structures and noise alike; whole numbers.

    `blur` are standard deviations along z, y, x in voxels; `noise_hu` is the noise of single voxels before.
    """
    voxels = random.standard_normal(volume_ZYX.shape, dtype=np.float32)
    voxels *= noise_hu
    voxels += volume_ZYX
    voxels = ndimage.gaussian_filter(voxels, blur, mode="nearest", radius=2)
    return np.clip(np.rint(voxels), -1024, 3071).astype(np.int16)
