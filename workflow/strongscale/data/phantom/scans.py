"""Artificial scans in LUNA16's form on disk, for studies without the real ones.

A scan depends on the seed, its number and how many nodules fall to it, and on nothing else: subsets can be made in any
order, at the same time, and the annotations without any of them.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.errors import UserError
from strongscale.data.phantom.anatomy import Chest, Vessels, grow_vessels, random_chest
from strongscale.data.phantom.nodules import Nodule, place, random_diameters_mm, random_nodule
from strongscale.data.phantom.rendering import make_grid, render, scanned
from strongscale.data.scans.metaimage import write_scan
from strongscale.settings.datasets import Phantom

log = logging.getLogger(__name__)

UID_ROOT = "1.3.6.1.4.1.14519.5.2.1.6279.6001."
AGREED_SHARE = 0.52  # of the nodules, marked by three readers or more
SLICE_BLUR = 0.5  # along z, in slices: each is the mean of its thickness
SLICES_MM = {0.7: 0.03, 1.0: 0.04, 1.25: 0.1, 2.0: 0.28, 2.5: 0.55}
OUTSIDE_HU = {-1024: 0.6, -2000: 0.2, -3024: 0.2}  # what scanners write outside the reconstructed circle


@dataclass(frozen=True)
class ScanPlan:
    """All that a scan will show, before it is rendered."""

    seriesuid: str
    spacing_mm: NDArray[np.float64]
    centre_mm: NDArray[np.float64]
    flipped: bool
    outside_hu: int
    noise_hu: float
    """Of single voxels, before the scanner's kernel."""
    blur_mm: float
    """Standard deviation of the scanner's kernel, in a slice."""
    chest: Chest
    vessels: Vessels
    nodules: list[Nodule]
    specks: list[Nodule]
    """Too small to be measured: marked without a diameter."""
    noise: np.random.SeedSequence


def nodules_per_scan(settings: Phantom) -> NDArray[np.int64]:
    """How many of the nodules fall to each scan: no more than twice the mean."""
    random = np.random.default_rng(np.random.SeedSequence([settings.seed, settings.scans]))  # the number of no scan
    most = -(-2 * settings.nodules // settings.scans)
    return random.multivariate_hypergeometric([most] * settings.scans, settings.nodules, method="marginals")


def plan_scan(settings: Phantom, index: int, num_nodules: int) -> ScanPlan:
    """One scan's contents."""
    look, noise = np.random.SeedSequence([settings.seed, index]).spawn(2)
    random = np.random.default_rng(look)
    digits = random.integers(0, 10, 29)
    pixel_mm = round(random.uniform(0.74, 0.9), 6)
    slice_mm = random.choice(list(SLICES_MM), p=list(SLICES_MM.values()))
    spacing_mm = np.array([pixel_mm, pixel_mm, slice_mm])
    size_x, size_y, size_z = settings.size_mm
    chest = random_chest((size_x / 2, size_y / 2, size_z / 2), random)
    vessels = grow_vessels(chest, random)
    diameters_mm = np.sort(random_diameters_mm(num_nodules, random))[::-1]
    speck_diameters_mm = random.uniform(1.5, 2.9, random.poisson(2.5))
    centres = place(chest, vessels, np.concatenate([diameters_mm, speck_diameters_mm]), random)
    if any(centre is None for centre in centres[:num_nodules]):
        raise UserError(_refusal(settings, num_nodules))
    found = [
        random_nodule(centre, float(diameter_mm), random)
        for centre, diameter_mm in zip(centres, [*diameters_mm, *speck_diameters_mm], strict=True)
        if centre is not None
    ]
    return ScanPlan(
        seriesuid=UID_ROOT + "1" + "".join(map(str, digits)),
        spacing_mm=spacing_mm,
        centre_mm=np.round(random.uniform([-20, -20, -250], [20, 20, -100]), 4),
        flipped=bool(random.uniform() < 0.3),
        outside_hu=int(random.choice(list(OUTSIDE_HU), p=list(OUTSIDE_HU.values()))),
        noise_hu=float(np.clip(random.lognormal(np.log(85), 0.5), 25, 300)),
        blur_mm=random.uniform(0.2, 0.75),
        chest=chest,
        vessels=vessels,
        nodules=found[:num_nodules],
        specks=found[num_nodules:],
        noise=noise,
    )


def _refusal(settings: Phantom, num_nodules: int) -> str:
    size = " x ".join(f"{extent:g}" for extent in settings.size_mm)
    return (
        f"phantom.nodules: {settings.nodules} in {settings.scans} scans of {size} mm don't fit (one got {num_nodules}); "
        "ask for fewer nodules, more scans or a larger size_mm"
    )


def annotations(settings: Phantom) -> dict[str, pd.DataFrame]:
    """LUNA16's two files by name. Readers agree more often on large nodules than on small ones."""
    rows = []
    for index, num_nodules in enumerate(nodules_per_scan(settings)):
        plan = plan_scan(settings, index, int(num_nodules))
        marks = [(nodule.centre_mm, nodule.diameter_mm) for nodule in plan.nodules]
        marks += [(speck.centre_mm, -1.0) for speck in plan.specks]
        rows += [
            (plan.seriesuid, *np.round(plan.centre_mm + centre_mm, 6), diameter_mm) for centre_mm, diameter_mm in marks
        ]
    table = pd.DataFrame(rows, columns=["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"])
    real = table["diameter_mm"].to_numpy() > 0
    random = np.random.default_rng(np.random.SeedSequence([settings.seed, settings.scans]).spawn(1)[0])
    clarity = np.where(real, np.log(np.abs(table["diameter_mm"])) + random.normal(0, 0.6, len(table)), -np.inf)
    agreed = np.zeros(len(table), dtype=bool)
    agreed[np.argsort(-clarity, kind="stable")[: round(AGREED_SHARE * settings.nodules)]] = True
    return {"annotations.csv": table[agreed], "annotations_excluded.csv": table[~agreed]}


def write_plan(plan: ScanPlan, settings: Phantom, folder: Path) -> None:
    """Render a scan and write it."""
    grid = make_grid(np.array(settings.size_mm), plan.spacing_mm)
    volume = render(plan.chest, plan.vessels, [*plan.nodules, *plan.specks], grid)
    in_plane = plan.blur_mm / plan.spacing_mm[0]
    blur = (SLICE_BLUR, in_plane, in_plane)
    voxels_ZYX = scanned(volume, plan.noise_hu, blur, np.random.default_rng(plan.noise))
    if plan.outside_hu < -1024:
        radius_mm = max(settings.size_mm[:2]) / 2
        voxels_ZYX[:, grid.x_mm[None, :] ** 2 + grid.y_mm[:, None] ** 2 > radius_mm**2] = plan.outside_hu
    voxels_ZYX, origin_mm, direction = laid_down(plan, voxels_ZYX)
    write_scan(folder / f"{plan.seriesuid}.mhd", voxels_ZYX, plan.spacing_mm, origin_mm, direction)


def laid_down(
    plan: ScanPlan, voxels_ZYX: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Voxels as the patient lies, with the origin and the direction of their grid.

    A patient scanned prone is the same anatomy, its grid turned by half a circle.
    """
    half_mm = (np.array(voxels_ZYX.shape[::-1]) - 1) / 2 * plan.spacing_mm
    direction = np.eye(3)
    if plan.flipped:
        direction = np.diag([-1.0, -1.0, 1.0])
        voxels_ZYX = voxels_ZYX[:, ::-1, ::-1]
    return voxels_ZYX, plan.centre_mm - direction @ half_mm, direction


def write_subset(settings: Phantom, subset: str, folder: Path) -> None:
    """Write every scan of a subset, and no other is left there; scans are dealt to the subsets in turn."""
    names = [f"subset{number}" for number in range(settings.subsets)]
    if subset not in names:
        raise UserError(f"--subset: {subset} is not allowed; allowed: {', '.join(names)}")
    counts = nodules_per_scan(settings)
    written = set()
    for index in range(names.index(subset), settings.scans, settings.subsets):
        plan = plan_scan(settings, index, int(counts[index]))
        write_plan(plan, settings, folder)
        written.add(plan.seriesuid)
        log.info("%s: scan %d of %d", subset, index + 1, settings.scans)
    for path in (*folder.glob("*.mhd"), *folder.glob("*.raw")):  # of earlier settings
        if path.stem not in written:
            path.unlink()
