"""The masks of artificial nodules: of those that were measured, as readers outline no others."""

import logging
from pathlib import Path

import numpy as np

from strongscale.data.phantom.rendering import make_grid, outlined
from strongscale.data.phantom.scans import ScanPlan, laid_down, nodules_per_scan, plan_scan
from strongscale.data.scans.nifti import ras_affine, write_nifti
from strongscale.settings.datasets import Phantom

log = logging.getLogger(__name__)


def write_masks(settings: Phantom, folder: Path) -> None:
    """Write the mask of every scan of all subsets, and no other is left there."""
    written = set()
    for index, num_nodules in enumerate(nodules_per_scan(settings)):
        plan = plan_scan(settings, index, int(num_nodules))
        written.add(write_mask(plan, settings, folder))
    for path in folder.glob("*.nii.gz"):  # of earlier settings
        if path not in written:
            path.unlink()
    log.info("%d masks", len(written))


def write_mask(plan: ScanPlan, settings: Phantom, folder: Path) -> Path:
    """Write one mask, on the grid of its scan, without rendering that."""
    grid = make_grid(np.array(settings.size_mm), plan.spacing_mm)
    mask_ZYX, origin_mm, direction = laid_down(plan, outlined(plan.nodules, grid))
    path = folder / f"{plan.seriesuid}.nii.gz"
    write_nifti(path, mask_ZYX, ras_affine(origin_mm, direction * plan.spacing_mm))
    return path
