"""Scans: the same anatomy in the same place whatever the form and the grid; found by their seriesuid."""

import itertools
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scan_fixtures import FORMS, write_dicom, write_form
from scipy import ndimage

from strongscale.common.errors import UserError
from strongscale.data.scans import Scan, find_scans, open_scan

CENTRE_MM = np.array([-30.5, -20.0, -110.25])
RISE_PER_MM = np.array([150.0, -90.0, 60.0])
POINTS_MM = CENTRE_MM + np.random.default_rng(5).uniform(-1.5, 1.5, (20, 3))
SIGNED_PERMUTATIONS = [
    np.eye(3)[:, order] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product([1.0, -1.0], repeat=3)
]


def intensity(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The anatomy: linear in the patient, so that interpolating between voxels is exact."""
    return (points_mm - CENTRE_MM) @ RISE_PER_MM


def anatomy(direction: NDArray[np.float64], spacing_mm: Any = (0.7, 0.8, 1.5), shape: Any = (9, 8, 6)) -> Scan:
    """A scan of the anatomy on a grid around the centre."""
    spacing_mm = np.array(spacing_mm)
    origin_mm = CENTRE_MM - direction @ (spacing_mm * (np.array(shape) - 1) / 2)
    grid = Scan(Path("anatomy"), shape, spacing_mm, origin_mm, direction, np.empty(0))
    voxels = intensity(grid.voxel_to_world(np.moveaxis(np.indices(shape), 0, -1)))
    return Scan(Path("anatomy"), shape, spacing_mm, origin_mm, direction, voxels.round().astype(np.int16))


def sample(scan: Scan, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensities at points of the patient, from the box of voxels around them."""
    coordinates = scan.world_to_voxel(points_mm)
    low = np.floor(coordinates.min(axis=0)).astype(int)
    high = np.ceil(coordinates.max(axis=0)).astype(int) + 1
    box = scan.read_box(low.tolist(), high.tolist()).astype(float)
    values: NDArray[np.float64] = ndimage.map_coordinates(box, (coordinates - low).T, order=1, mode="nearest")
    return values


@pytest.mark.parametrize("direction", SIGNED_PERMUTATIONS, ids=lambda direction: str(direction.astype(int).tolist()))
@pytest.mark.parametrize("form", FORMS)
def test_every_flip_and_order_of_axes_is_the_same_anatomy(
    tmp_path: Path, form: str, direction: NDArray[np.float64]
) -> None:
    scan = open_scan(write_form(tmp_path, anatomy(direction), form))
    assert np.abs(sample(scan, POINTS_MM) - intensity(POINTS_MM)).max() < 0.51  # voxels are rounded


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), spacing_mm=st.tuples(*[st.floats(0.6, 2).map(lambda size: round(size, 4))] * 3))
def test_every_rotated_grid_is_the_same_anatomy(
    tmp_path: Path, form: str, seed: int, spacing_mm: tuple[float, ...]
) -> None:
    direction = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    folder = tmp_path / f"{seed} {spacing_mm}"
    scan = open_scan(write_form(folder, anatomy(direction, spacing_mm, (11, 10, 9)), form))
    assert np.abs(sample(scan, POINTS_MM) - intensity(POINTS_MM)).max() < 0.51


@given(
    points=st.lists(st.tuples(*[st.floats(-500, 500)] * 3), min_size=1, max_size=5),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    seed=st.integers(0, 1000),
)
def test_there_and_back_is_the_same_point(points: list[Any], spacing: tuple[float, ...], seed: int) -> None:
    direction = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    direction[:, 2] = 0.9 * direction[:, 2] + math.sqrt(1 - 0.9**2) * direction[:, 1]  # sheared: a tilted gantry's
    scan = Scan(Path("scan.mhd"), (9, 9, 9), np.array(spacing), CENTRE_MM, direction, np.zeros((9, 9, 9)))
    assert np.allclose(scan.voxel_to_world(scan.world_to_voxel(points)), points, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_box_without_voxels_is_empty(tmp_path: Path, form: str) -> None:
    scan = open_scan(write_form(tmp_path, anatomy(np.eye(3)), form))
    assert scan.read_box((0, 0, 6), (9, 8, 6)).shape == (9, 8, 0)
    assert scan.read_box((9, 0, 1), (9, 8, 2)).shape == (0, 8, 1)


@pytest.mark.parametrize("form", FORMS)
def test_names_with_spaces_and_accents_are_read(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "Schöne Bilder, Größe 3 (肺)"
    write_form(folder, anatomy(np.eye(3)), form)
    (path,) = find_scans(folder)[0].values()
    assert open_scan(path).read_box((0, 0, 0), (9, 8, 6)).shape == (9, 8, 6)


def grid(spacing_mm: Any = (1, 1, 1), shape: Any = (9, 9, 9), direction: Any = None) -> Scan:
    """A scan whose grid is all that matters."""
    direction = np.eye(3) if direction is None else np.array(direction, dtype=float)
    return Scan(Path("scan.mhd"), shape, np.array(spacing_mm, dtype=float), np.zeros(3), direction, np.zeros(shape))


@pytest.mark.parametrize("spacing_mm", [1e9, 1e-9, 101, 0.009])
def test_a_spacing_that_no_ct_has_is_refused(spacing_mm: float) -> None:
    with pytest.raises(UserError, match=r"scan\.mhd: spacing .* mm; a CT has 0\.01 to 100 mm"):
        grid(spacing_mm=(1, spacing_mm, 1))


def test_axes_that_are_no_unit_long_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="scan.mhd: the axes of the direction matrix .* aren't of length 1") as mistake:
        grid(direction=np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] * [1, 1.01, 1])
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("direction", [[[1, 0.6, 0], [0, 0.8, 0], [0, 0, 1]], [[1, 0, 0.8], [0, 1, 0], [0, 0, 0.6]]])
def test_axes_that_are_askew_are_refused(direction: Any) -> None:
    with pytest.raises(UserError, match="scan.mhd: the axes .* of its voxels are askew"):
        grid(direction=direction)


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nii", "scan.nii.gz"])
def test_a_pipe_in_a_scans_place_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: not a plain file"):
        open_scan(tmp_path / name)


def test_an_unknown_kind_of_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.png").touch()
    with pytest.raises(UserError, match="scan.png: not a known kind of scan; use .mhd, .mha, .nii, .nii.gz or DICOM"):
        open_scan(tmp_path / "scan.png")


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nii", "scan.dcm", "series"])
def test_a_missing_scan_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: no such file"):
        open_scan(tmp_path / name)


def test_scans_are_found_by_their_seriesuid(tmp_path: Path) -> None:
    for name in ("1.2.4.nii.gz", "1.2.3.mhd", "1.2.3.raw", "1.2.6.mha", "1.2.5.nii", "notes.txt", ".1.2.7.mhd"):
        (tmp_path / name).touch()
    scans, unusable = find_scans(tmp_path)
    assert list(scans) == ["1.2.3", "1.2.4", "1.2.5", "1.2.6"]
    assert scans["1.2.4"] == tmp_path / "1.2.4.nii.gz"
    assert unusable == {}


def test_dicom_series_are_found_in_folders_below(tmp_path: Path) -> None:
    scan = anatomy(np.eye(3))
    first = write_dicom(tmp_path / "patient 1" / "study" / "series", scan, "1.2.3")
    second = write_dicom(tmp_path / "patient 2" / "study" / "series", scan, "1.2.4")
    third = write_form(tmp_path, scan, ".mhd")
    assert find_scans(tmp_path) == ({"1.2.3": first, "1.2.4": second, "scan": third}, {})


def test_a_linked_folder_is_looked_into_once(tmp_path: Path) -> None:
    write_dicom(tmp_path / "archive" / "series", anatomy(np.eye(3)))
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "patient").symlink_to(tmp_path / "archive")
    (tmp_path / "archive" / "back").symlink_to(tmp_path / "scans")
    assert find_scans(tmp_path / "scans") == ({"1.2.3": tmp_path / "scans" / "patient" / "series"}, {})


def test_a_folder_without_scans_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="no scans there"):
            find_scans(folder)


def test_the_same_scan_twice_costs_that_scan_alone(tmp_path: Path) -> None:
    for name in ("1.mhd", "1.nii", "2.mhd"):
        (tmp_path / name).touch()
    scans, unusable = find_scans(tmp_path)
    assert list(scans) == ["2"]
    assert list(unusable) == ["1"]
    assert "1.mhd" in unusable["1"]
    assert "1.nii: the same scan 2 times; keep one" in unusable["1"]


def test_a_series_exported_twice_is_named_with_both_folders(tmp_path: Path) -> None:
    folders = [write_dicom(tmp_path / name, anatomy(np.eye(3))) for name in ("first", "second")]
    scans, unusable = find_scans(tmp_path)
    assert scans == {}
    assert all(str(folder) in unusable["1.2.3"] for folder in folders)


def test_a_file_that_is_no_dicom_is_told_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    series = write_dicom(tmp_path / "patient 1", anatomy(np.eye(3)))
    (tmp_path / "patient 2").mkdir()
    (tmp_path / "patient 2" / "torn.dcm").touch()
    assert find_scans(tmp_path) == ({"1.2.3": series}, {})
    assert "torn.dcm: no SeriesInstanceUID in it" in caplog.text
