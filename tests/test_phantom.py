"""Artificial scans: exact counts, LUNA16's form on disk, and nothing but the seed decides."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK

from strongscale.common.errors import UserError
from strongscale.common.schema import build, plain
from strongscale.data.phantom import scans as phantom
from strongscale.data.phantom.__main__ import main
from strongscale.data.phantom.anatomy import grow_vessels, random_chest
from strongscale.data.phantom.nodules import CLEARANCE_MM, MARGIN_MM, place, random_diameters_mm, random_nodule
from strongscale.data.phantom.rendering import make_grid, render, scanned
from strongscale.data.scans import find_scans, open_scan
from strongscale.settings.datasets import Phantom

SMALL = Phantom(scans=6, nodules=15, subsets=2, size_mm=(90.0, 80.0, 70.0), seed=3)


def run_phantom(command: str, settings: Phantom, output: Path, *more: str) -> None:
    main([command, "--settings", json.dumps(plain(settings)), "--output", str(output), *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    run_phantom("annotations", SMALL, folder)
    for number in range(SMALL.subsets):
        run_phantom("scans", SMALL, folder / f"subset{number}", "--subset", f"subset{number}")
    return folder


@pytest.fixture(scope="module")
def plans() -> list[phantom.ScanPlan]:
    counts = phantom.nodules_per_scan(SMALL)
    return [phantom.plan_scan(SMALL, index, int(count)) for index, count in enumerate(counts)]


def test_both_tables_together_hold_exactly_the_nodules_asked_for(folder: Path) -> None:
    agreed = pd.read_csv(folder / "annotations.csv")
    excluded = pd.read_csv(folder / "annotations_excluded.csv")
    assert (agreed["diameter_mm"] >= 3).all()
    assert len(agreed) == round(0.52 * SMALL.nodules)
    assert (excluded["diameter_mm"] >= 3).sum() == SMALL.nodules - len(agreed)
    assert set(excluded.loc[excluded["diameter_mm"] < 3, "diameter_mm"]) <= {-1.0}


def test_the_table_has_lunas_columns(folder: Path) -> None:
    for name in ("annotations.csv", "annotations_excluded.csv"):
        assert (folder / name).read_text().splitlines()[0] == "seriesuid,coordX,coordY,coordZ,diameter_mm"


@pytest.mark.parametrize(("scans", "nodules"), [(1, 1), (7, 3), (5, 12), (64, 2100)])
def test_nodules_are_dealt_to_scans_without_remainder(scans: int, nodules: int) -> None:
    counts = phantom.nodules_per_scan(Phantom(scans=scans, nodules=nodules, subsets=1))
    assert counts.sum() == nodules
    assert counts.max() <= -(-2 * nodules // scans)


def test_every_scan_is_in_one_subset_and_every_mark_in_a_scan(folder: Path) -> None:
    subsets = [set(find_scans(folder / f"subset{number}")[0]) for number in range(SMALL.subsets)]
    assert sum(len(subset) for subset in subsets) == len(set.union(*subsets)) == SMALL.scans
    tables = [pd.read_csv(folder / name) for name in ("annotations.csv", "annotations_excluded.csv")]
    assert set(pd.concat(tables)["seriesuid"]) <= set.union(*subsets)


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run_phantom("scans", SMALL, tmp_path / "subset1", "--subset", "subset1")
    again = sorted((tmp_path / "subset1").iterdir())
    assert [path.name for path in again] == sorted(path.name for path in (folder / "subset1").iterdir())
    assert all(path.read_bytes() == (folder / "subset1" / path.name).read_bytes() for path in again)


def test_another_seed_gives_other_patients(plans: list[phantom.ScanPlan]) -> None:
    other = phantom.plan_scan(Phantom(**{**plain(SMALL), "seed": 4}), 0, 2)
    assert other.seriesuid != plans[0].seriesuid
    assert other.chest != plans[0].chest


def test_scans_differ_in_spacing(plans: list[phantom.ScanPlan]) -> None:
    assert len({tuple(plan.spacing_mm) for plan in plans}) == len(plans)


def test_scans_differ_in_noise_and_sharpness(plans: list[phantom.ScanPlan]) -> None:
    assert len({plan.noise_hu for plan in plans}) == len({plan.blur_mm for plan in plans}) == len(plans)


def test_the_header_has_lunas_keys(folder: Path) -> None:
    path = next(iter(find_scans(folder / "subset0")[0].values()))
    keys = [line.split(" = ")[0] for line in path.read_text().splitlines()]
    assert " ".join(keys) == (
        "ObjectType NDims BinaryData BinaryDataByteOrderMSB CompressedData TransformMatrix Offset CenterOfRotation "
        "AnatomicalOrientation ElementSpacing DimSize ElementType ElementDataFile"
    )


@pytest.mark.parametrize("flipped", [False, True])
def test_simpleitk_reads_the_same_voxels_in_the_same_places(
    plans: list[phantom.ScanPlan], flipped: bool, tmp_path: Path
) -> None:
    plan = phantom.ScanPlan(**{**vars(plans[0]), "flipped": flipped})
    phantom.write_plan(plan, SMALL, tmp_path)
    scan = open_scan(tmp_path / f"{plan.seriesuid}.mhd")
    image = SimpleITK.ReadImage(str(scan.path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image).T, scan.read_box((0, 0, 0), scan.shape))
    point = [3.0, 5.0, 7.0]
    assert np.allclose(image.TransformContinuousIndexToPhysicalPoint(point), scan.voxel_to_world(point))
    assert (scan.direction[0, 0] < 0) == flipped


def test_a_flipped_scan_shows_the_same_anatomy(plans: list[phantom.ScanPlan], tmp_path: Path) -> None:
    values = []
    for flipped in (False, True):
        phantom.write_plan(phantom.ScanPlan(**{**vars(plans[0]), "flipped": flipped}), SMALL, tmp_path)
        scan = open_scan(tmp_path / f"{plans[0].seriesuid}.mhd")
        i, j, k = np.rint(scan.world_to_voxel(plans[0].centre_mm + plans[0].nodules[0].centre_mm)).astype(int)
        values.append(scan.read_box((i - 1, j - 1, k - 1), (i + 2, j + 2, k + 2)))
    assert np.array_equal(values[0], values[1][::-1, ::-1])


def test_nodules_keep_apart_and_away_from_the_border() -> None:
    random = np.random.default_rng(0)
    chest = random_chest((70.0, 60.0, 60.0), random)
    diameters_mm = np.sort(random_diameters_mm(12, random))[::-1]
    centres = place(chest, grow_vessels(chest, random), diameters_mm, random)
    points_mm = np.array(centres, dtype=float)
    assert (np.abs(points_mm) <= np.array(chest.half_mm) - 10).all()
    for i, j in itertools.combinations(range(12), 2):
        assert np.linalg.norm(points_mm[i] - points_mm[j]) > (diameters_mm[i] + diameters_mm[j]) / 2


def test_a_nodules_volume_is_that_of_its_diameter() -> None:
    random = np.random.default_rng(5)
    half_mm = (70.0, 60.0, 60.0)
    chest, centre = random_chest(half_mm, random), np.array([-36.0, 0.0, 5.0])
    assert chest.lung_depth_mm(*centre) > 8 + CLEARANCE_MM
    empty = grow_vessels(chest, random, roots=0)
    nodule = random_nodule(centre, 12.0, random)
    nodule = type(nodule)(**{**vars(nodule), "layers_hu": ((1.0, 30.0),)})
    grid = make_grid(2 * np.array(half_mm), np.array([1.0, 1.0, 1.0]))
    difference = render(chest, empty, [nodule], grid) - render(chest, empty, [], grid)
    volume_mm3 = difference.sum() / (30 - chest.lung_hu)
    assert volume_mm3 == pytest.approx(np.pi / 6 * 12**3, rel=0.2)


def test_a_nodule_lies_within_its_mark() -> None:
    random = np.random.default_rng(7)
    for diameter_mm in random_diameters_mm(200, random):
        shares = [share for share, _ in random_nodule(np.zeros(3), float(diameter_mm), random).layers_hu]
        assert shares[0] * diameter_mm / 2 == pytest.approx(diameter_mm / 2 - MARGIN_MM)
        assert sorted(set(shares), reverse=True) == shares


def test_a_scanner_blurs_edges_and_noise_and_keeps_what_is_even() -> None:
    edge = np.full((12, 40, 40), -850, dtype=np.float32)
    edge[:, :, 20:] = 50
    widths, deviations = [], []
    for blur in (0.3, 1.0):
        sharp, noisy = (scanned(edge, hu, (0.5, blur, blur), np.random.default_rng(0)) for hu in (0.0, 100.0))
        assert (sharp[:, :, :16] == -850).all()
        assert (sharp[:, :, 24:] == 50).all()
        line = sharp[6, 20]
        widths.append(int(((line > -840) & (line < 40)).sum()))
        deviations.append(float((noisy.astype(float) - sharp)[2:-2, 4:-4, 4:-4].std()))
    assert widths[0] < widths[1]
    assert 100 > deviations[0] > 2 * deviations[1] > 20


def test_too_many_nodules_are_refused_in_one_line() -> None:
    crowded = Phantom(scans=1, nodules=300, subsets=1, size_mm=(60.0, 60.0, 60.0))
    with pytest.raises(UserError, match=r"phantom.nodules: 300 in 1 scans of 60 x 60 x 60 mm don't fit") as refusal:
        phantom.annotations(crowded)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scans": 2, "subsets": 3}, r"phantom.subsets: 3 is not allowed; allowed: at most one a scan, 2"),
        ({"size_mm": [90, -80, 70]}, r"phantom.size_mm\[1\]: -80 is not allowed; allowed: a number at least 40"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(Phantom, settings, "phantom")


def test_an_unknown_subset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="subset2 is not allowed; allowed: subset0, subset1"):
        run_phantom("scans", SMALL, tmp_path, "--subset", "subset2")
