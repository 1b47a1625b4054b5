"""The masks of artificial nodules: where the nodules are, on the grids of their scans."""

import json
from pathlib import Path

import numpy as np
import pytest

from strongscale.common.schema import plain
from strongscale.data import cubes
from strongscale.data.phantom import scans as phantom
from strongscale.data.phantom.__main__ import main
from strongscale.data.phantom.masks import write_mask
from strongscale.data.phantom.nodules import Nodule, random_nodule
from strongscale.data.phantom.rendering import make_grid, outlined
from strongscale.data.scans import open_scan
from strongscale.data.tables import read_array, read_table
from strongscale.settings.datasets import Cubes, Phantom

SMALL = Phantom(scans=4, nodules=9, subsets=2, size_mm=(90.0, 80.0, 70.0), seed=3)


@pytest.fixture(scope="module")
def plans() -> list[phantom.ScanPlan]:
    counts = phantom.nodules_per_scan(SMALL)
    return [phantom.plan_scan(SMALL, index, int(count)) for index, count in enumerate(counts)]


@pytest.mark.parametrize("seed", range(12))
def test_a_mask_is_the_annotated_ball_but_for_the_nodules_shape(seed: int) -> None:
    """Within a fifth of the volume (bumps add some), and its centroid within a fifth of the diameter."""
    random = np.random.default_rng(seed)
    nodule = random_nodule(np.array([1.0, -2.0, 0.5]), 12.0, random)
    grid = make_grid(np.full(3, 40.0), np.full(3, 0.4))
    mask_ZYX = outlined([nodule], grid)
    assert mask_ZYX.sum() * 0.4**3 == pytest.approx(np.pi / 6 * 12**3, rel=0.2)
    centroid_mm = [axis[places].mean() for axis, places in zip(axes_of(grid), np.nonzero(mask_ZYX)[::-1], strict=True)]
    assert np.linalg.norm(centroid_mm - nodule.centre_mm) < 0.2 * 12


def axes_of(grid: object) -> list[object]:
    return [getattr(grid, f"{axis}_mm") for axis in "xyz"]


@pytest.mark.parametrize("flipped", [False, True])
def test_a_mask_has_the_grid_of_its_scan_and_the_places_of_its_annotations(
    plans: list[phantom.ScanPlan], flipped: bool, tmp_path: Path
) -> None:
    plan = phantom.ScanPlan(**{**vars(plans[0]), "flipped": flipped})
    phantom.write_plan(plan, SMALL, tmp_path)
    scan, mask = open_scan(tmp_path / f"{plan.seriesuid}.mhd"), open_scan(write_mask(plan, SMALL, tmp_path))
    assert mask.shape == scan.shape
    assert np.allclose(mask.voxel_to_world([3, 5, 7]), scan.voxel_to_world([3, 5, 7]), atol=1e-4)
    voxels = mask.read_box((0, 0, 0), mask.shape)
    for nodule in plan.nodules:
        i, j, k = np.rint(mask.world_to_voxel(plan.centre_mm + nodule.centre_mm)).astype(int)
        assert voxels[i, j, k] == 1


def test_specks_too_small_to_be_measured_are_not_outlined(plans: list[phantom.ScanPlan], tmp_path: Path) -> None:
    plan = next(plan for plan in plans if plan.specks)
    nothing: list[Nodule] = []
    mask = open_scan(write_mask(phantom.ScanPlan(**{**vars(plan), "nodules": nothing}), SMALL, tmp_path))
    assert not mask.read_box((0, 0, 0), mask.shape).any()


def test_a_phantoms_nodules_are_cut_with_their_masks(tmp_path: Path) -> None:
    settings = json.dumps(plain(SMALL))
    main(["annotations", "--settings", settings, "--output", str(tmp_path)])
    main(["masks", "--settings", settings, "--output", str(tmp_path / "masks")])
    main(["scans", "--settings", settings, "--output", str(tmp_path / "subset0"), "--subset", "subset0"])
    told = ["--settings", json.dumps(plain(Cubes(masks=True))), "--scans", str(tmp_path), "--subset", "subset0"]
    cubes.main([*told, "--cubes", str(tmp_path / "part.npy"), "--rows", str(tmp_path / "part.csv")])
    rows, masks_NDHW = read_table(tmp_path / "part.csv"), read_array(tmp_path / "part.masks.npy")
    assert not rows["lost"].any()
    assert len(masks_NDHW) == (rows["state"] != "dropped").sum() > 0
    assert masks_NDHW[:, 7:9, 7:9, 7:9].any(axis=(1, 2, 3)).all()


def test_masks_of_earlier_settings_are_removed_and_the_others_the_same_bytes(tmp_path: Path) -> None:
    told = ["masks", "--settings", json.dumps(plain(SMALL)), "--output", str(tmp_path)]
    main(told)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "1.2.3.nii.gz").write_bytes(b"old")
    main(told)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
