"""Masks: cut at the points of their cubes, kept in their order, and their faults cost their own nodules alone."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from mask_fixtures import SHAPE, affine_of, ball, write_nifti, write_nodule
from test_cubes import ORIGIN_MM, scan_of

from strongscale.common.errors import UserError
from strongscale.common.schema import plain
from strongscale.data import cubes, dataset, ledger
from strongscale.data.cutting import cut_cube
from strongscale.data.download.lidc_annotations import describe
from strongscale.data.masked import load_masked
from strongscale.data.masks import cut_mask
from strongscale.data.tables import read_array, read_table
from strongscale.settings.datasets import Cubes, Dataset

CUBES = Cubes(voxels=12, minimum_readers=3, masks=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three nodules of two patients, each in a scan of its own."""
    folder = tmp_path / "lidc"
    for number, name in enumerate(("A_R_1", "A_R_2", "B_R_1")):
        write_nodule(folder, name, ball(radius_mm=4.0 + number), number)
    describe(folder, [path.name for path in (folder / "masks").iterdir()])
    return folder


def cut(folder: Path, settings: Cubes = CUBES) -> tuple[Any, Path]:
    """Run the cutting and the ledger: its table, and the rows of its one part."""
    rows = folder.parent / "made" / "subset0.0.csv"
    told = ["--settings", json.dumps(plain(settings)), "--scans", str(folder), "--subset", "subset0"]
    cubes.main([*told, "--cubes", str(rows.with_suffix(".npy")), "--rows", str(rows)])
    known = json.dumps(plain(Dataset(folder=str(folder), subsets=(0,), cubes=settings)))
    table = folder.parent / "made" / "ledger.csv"
    ledger.main(["--settings", known, "--scans", str(folder), "--parts", str(rows), "--output", str(table)])
    return read_table(table), rows


def join(folder: Path, settings: Cubes = CUBES, **changes: Any) -> Path:
    """The data set of what was cut."""
    _, rows = cut(folder, settings)
    known = Dataset(**({"folder": str(folder), "subsets": (0,), "cubes": settings, "num_validation": 1} | changes))
    made, table = folder.parent / "made", str(folder.parent / "made" / "ledger.csv")
    dataset.main(
        ["--settings", json.dumps(plain(known)), "--ledger", table, "--parts", str(rows), "--output", str(made)]
    )
    return made


def test_a_mask_is_nodule_where_interpolation_gives_a_half() -> None:
    mask = scan_of(np.indices((20, 20, 20))[0] >= 10, [1, 1, 1], [0, 0, 0])
    found = cut_mask(mask, [10, 10, 10], 8, 1.0)
    assert found.dtype == np.uint8
    assert found[0, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]  # points at 6.5, 7.5, ..., 9.5: half-way is nodule


def test_a_mask_is_that_of_its_cubes_points() -> None:
    direction = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    inside = np.random.default_rng(1).uniform(size=(24, 20, 14)) > 0.5
    scan = scan_of(np.where(inside, 400, -1000), [1.1, 0.9, 1.3], ORIGIN_MM, direction)
    mask = scan_of(inside, [1.1, 0.9, 1.3], ORIGIN_MM, direction)
    centre_mm = scan.voxel_to_world([11.2, 9.7, 6.1])
    cube = cut_cube(scan, centre_mm, 0.5, Cubes(voxels=8, smoothing=False)).voxels_ZYX
    assert np.array_equal(cut_mask(mask, centre_mm, 8, 0.5), cube >= 0.5 - 1e-4)


def test_beyond_the_scan_is_no_nodule_however_cubes_are_padded() -> None:
    mask = scan_of(np.ones((20, 20, 20)), [1, 1, 1], [0, 0, 0])
    assert cut_mask(mask, [-0.4, 10, 10], 8, 1.0)[0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("smoothing", [False, True])
def test_beyond_the_scan_may_be_what_lies_nearest(smoothing: bool) -> None:
    x = np.indices((20, 20, 20))[0]
    settings = Cubes(voxels=8, smoothing=smoothing, padding="nearest")
    cube = cut_cube(scan_of(50 * x - 600, [1, 1, 1], [0, 0, 0]), [-0.5, 10, 10], 1.0, settings)
    assert np.allclose(cube.voxels_ZYX[0, 0], (np.array([0, 0, 0, 0, 0, 1, 2, 3]) * 50 + 400) / 1400, atol=1e-6)
    assert cube.air_share == pytest.approx(0.5)


def test_masks_lie_beside_their_cubes_in_the_same_order(folder: Path) -> None:
    _, rows = cut(folder)
    masks_NDHW = read_array(rows.with_suffix(".masks.npy"))
    assert masks_NDHW.shape == (3, 12, 12, 12)
    volumes = np.array([4 / 3 * np.pi * (4.0 + number) ** 3 for number in range(3)])
    assert np.allclose(masks_NDHW.sum(axis=(1, 2, 3)), volumes.clip(max=12**3), rtol=0.2)


def test_cubes_are_the_same_bytes_with_masks_and_without(folder: Path) -> None:
    cut(folder)
    rows = folder.parent / "made" / "subset0.0.csv"
    made = [path.read_bytes() for path in (rows, rows.with_suffix(".npy"))]
    rows.with_suffix(".masks.npy").unlink()
    cut(folder, Cubes(**{**plain(CUBES), "masks": False}))
    assert made == [path.read_bytes() for path in (rows, rows.with_suffix(".npy"))]
    assert not rows.with_suffix(".masks.npy").exists()


def test_a_data_set_tells_of_its_masks(folder: Path) -> None:
    made = join(folder)
    masked, summary = load_masked(made), json.loads((made / "dataset.json").read_text())
    assert summary["masks"] is True
    for name, share in summary["nodule_share"].items():
        assert share == masked.masks_NDHW[masked.manifest["split"] == name].mean()
    assert dataset.load(made).hash == summary["hash"]
    assert summary["provenance"] == f"scans of {folder}"


def test_a_data_set_without_masks_says_nothing_of_them_and_keeps_none(folder: Path) -> None:
    with_masks = json.loads((join(folder) / "dataset.json").read_text())
    made = join(folder, Cubes(**{**plain(CUBES), "masks": False}))
    summary = json.loads((made / "dataset.json").read_text())
    assert summary.keys() == with_masks.keys() - {"masks", "nodule_share"}
    assert not (made / "masks.npy").exists()
    assert dataset.load(made).hash == summary["hash"] != with_masks["hash"]


def test_changed_masks_are_noticed(folder: Path) -> None:
    made = join(folder)
    np.save(made / "masks.npy", 1 - read_array(made / "masks.npy"))
    for load in (load_masked, dataset.load):
        with pytest.raises(UserError, match=r"aren't those of dataset\.json"):
            load(made)


def test_masks_of_another_size_than_their_cubes_are_named(folder: Path) -> None:
    _, rows = cut(folder)
    np.save(rows.with_suffix(".masks.npy"), np.zeros((3, 5, 5, 5), np.uint8))
    known = Dataset(folder=str(folder), subsets=(0,), cubes=CUBES, num_validation=1)
    with pytest.raises(UserError, match=r"subset0\.0\.masks\.npy: shape \(3, 5, 5, 5\)"):
        dataset.join([rows], read_table(folder.parent / "made" / "ledger.csv"), known)


@pytest.mark.parametrize("seed", range(6))
def test_no_patient_of_such_a_folder_is_on_both_sides(folder: Path, seed: int) -> None:
    table = read_table(join(folder, split_seed=seed) / "manifest.csv")
    assert (table["split"] == "validation").sum() == 1
    assert table["split"][table["patient"] == "B"].tolist() == ["validation"]  # the other patient has two nodules


def no_file(path: Path) -> None:
    path.unlink()


def other_shape(path: Path) -> None:
    write_nifti(path, ball(shape=(40, 36, 15)))


def other_place(path: Path) -> None:
    write_nifti(path, ball(), affine_of(origin_mm=(-10.0, 20.0, -29.0)))


def other_spacing(path: Path) -> None:
    write_nifti(path, ball(), affine_of(spacing_mm=(0.7, 0.81, 2.0)))


def empty(path: Path) -> None:
    write_nifti(path, np.zeros(SHAPE))


def elsewhere(path: Path) -> None:
    write_nifti(path, ball(centre=(1, 1, 1), radius_mm=2.0))


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def twice(path: Path) -> None:
    nibabel.load(path).to_filename(path.with_name("A_R_2.nii"))


@pytest.mark.parametrize(
    ("damage", "reason", "words"),
    [
        (no_file, "no mask", "no mask A_R_2 in"),
        (other_shape, "mask unreadable", "(40, 36, 15) voxels, but its scan has (40, 36, 16)"),
        (other_place, "mask unreadable", "lies up to 1 mm off the grid of its scan"),
        (other_spacing, "mask unreadable", "off the grid of its scan"),
        (cut_short, "mask unreadable", "A_R_2.nii.gz"),
        (twice, "mask unreadable", "the same scan 2 times"),
        (empty, "empty mask", "no nodule in the cube around"),
        (elsewhere, "empty mask", "no nodule in the cube around"),
    ],
)
def test_a_mask_of_no_use_costs_its_nodule_and_says_why(folder: Path, damage: Any, reason: str, words: str) -> None:
    damage(folder / "masks" / "A_R_2.nii.gz")
    table, rows = cut(folder)
    assert table["reason"].tolist() == ["", reason, ""]
    assert table["lost"].tolist() == [False, True, False]
    assert words in table["detail"][1]
    assert len(read_array(rows.with_suffix(".npy"))) == len(read_array(rows.with_suffix(".masks.npy"))) == 2


def test_rounding_of_a_masks_grid_does_not_matter(folder: Path) -> None:
    before = read_array(cut(folder)[1].with_suffix(".masks.npy"))
    write_nifti(folder / "masks" / "A_R_2.nii.gz", ball(radius_mm=5.0), affine_of(origin_mm=(-10.001, 20.0, -30.0)))
    table, rows = cut(folder)
    assert not table["lost"].any()
    assert np.array_equal(read_array(rows.with_suffix(".masks.npy")), before)


def test_a_folder_without_masks_is_named(folder: Path) -> None:
    (folder / "masks").rename(folder / "segmentations")
    with pytest.raises(UserError, match=r"masks: not there; put each scan's mask there, or set cubes\.masks: false"):
        cut(folder)
    assert not (folder.parent / "made").exists()
