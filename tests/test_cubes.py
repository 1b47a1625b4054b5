"""Cubes: cut along the patient's axes, whatever the scan's grid; and the annotations that say where."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from strongscale.config import Cubes
from strongscale.data import cubes
from strongscale.data.annotations import read_annotations
from strongscale.data.cubes import COLUMNS, cube_points_mm, cut_cube, window
from strongscale.data.metaimage import write_scan
from strongscale.data.scans import Scan
from strongscale.errors import UserError
from strongscale.schema import plain

SETTINGS = Cubes(voxels=8)
SPACING_MM = np.array([0.7, 0.8, 2.0])
ORIGIN_MM = np.array([-10.0, -12.0, -40.0])
HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def scan_of(voxels: Any, spacing_mm: Any = SPACING_MM, origin_mm: Any = ORIGIN_MM, direction: Any = None) -> Scan:
    direction = np.eye(3) if direction is None else direction
    return Scan(Path("scan.mhd"), voxels.shape, np.array(spacing_mm), np.array(origin_mm), direction, voxels)


def random_voxels(shape: tuple[int, int, int] = (40, 36, 16), seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(-3000, 2000, shape).astype(np.int16)


def flip(scan: Scan, axes: tuple[bool, ...]) -> Scan:
    """The same anatomy, stored the other way round along some axes."""
    far = np.array([size - 1 if flipped else 0 for size, flipped in zip(scan.shape, axes, strict=True)])
    signs = np.where(axes, -1.0, 1.0)
    voxels = scan.voxels[tuple(slice(None, None, int(sign)) for sign in signs)]
    return scan_of(voxels, scan.spacing_mm, scan.voxel_to_world(far), scan.direction * signs)


class Recorder:
    """Voxels that remember which box was asked for."""

    def __init__(self, voxels: Any) -> None:
        self.voxels = voxels
        self.shape = voxels.shape
        self.sizes: list[int] = []

    def __getitem__(self, box: tuple[slice, slice, slice]) -> Any:
        self.sizes.append(self.voxels[box].size)
        return self.voxels[box]


@pytest.mark.parametrize("axes", list(itertools.product([False, True], repeat=3)))
def test_every_flip_of_the_grid_gives_the_same_cube(axes: tuple[bool, bool, bool]) -> None:
    scan = scan_of(random_voxels())
    centre_mm = scan.voxel_to_world([19.3, 17.8, 7.4])
    expected, _ = cut_cube(scan, centre_mm, SETTINGS)
    assert np.allclose(cut_cube(flip(scan, axes), centre_mm, SETTINGS)[0], expected, atol=1e-5)


@given(
    centre=st.tuples(*[st.floats(-0.5, 0.5)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 2.5)] * 3),
    seed=st.integers(0, 100),
)
def test_cubes_agree_with_resampling_the_whole_volume(
    centre: tuple[float, ...], spacing: tuple[float, ...], seed: int
) -> None:
    direction = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    scan = scan_of(random_voxels((20, 18, 16), seed), spacing, ORIGIN_MM, direction)
    centre_mm = scan.voxel_to_world((np.array(centre) + 0.5) * (np.array(scan.shape) - 1))
    whole = (np.clip(scan.voxels.astype(float), -1000, 400) + 1000) / 1400
    points = (cube_points_mm(centre_mm, SETTINGS) - ORIGIN_MM) @ np.linalg.inv(direction * spacing).T
    expected = ndimage.map_coordinates(whole, np.moveaxis(points, -1, 0), order=1, mode="grid-constant", cval=0.0)
    assert np.allclose(cut_cube(scan, centre_mm, SETTINGS)[0], expected, atol=1e-5)


def test_the_axes_of_a_cube_are_z_y_x_of_the_patient() -> None:
    x, y, z = np.meshgrid(*(np.arange(30.0),) * 3, indexing="ij")
    for axis, ramp in enumerate((z, y, x)):
        cube, _ = cut_cube(scan_of(20 * ramp - 900, [1, 1, 1], [0, 0, 0]), [15, 15, 15], SETTINGS)
        steps = [np.abs(np.diff(cube, axis=other)).max() for other in range(3)]
        assert np.allclose(np.diff(cube, axis=axis), 20 / 1400, atol=1e-6)
        assert [step > 1e-5 for step in steps] == [other == axis for other in range(3)]


def test_a_nodules_centre_of_mass_is_the_cubes_centre() -> None:
    shape, direction = (60, 50, 24), np.diag([-1.0, -1.0, 1.0])
    empty = scan_of(np.zeros(shape), SPACING_MM, ORIGIN_MM, direction)
    centre_mm = empty.voxel_to_world([30.4, 24.7, 11.2])
    distance_mm = np.linalg.norm(empty.voxel_to_world(np.moveaxis(np.indices(shape), 0, -1)) - centre_mm, axis=-1)
    ball = np.clip(5 - distance_mm, 0, 1) * 1000 - 1000
    cube, _ = cut_cube(scan_of(ball, SPACING_MM, ORIGIN_MM, direction), centre_mm, Cubes(voxels=16))
    assert np.allclose(ndimage.center_of_mass(cube), 7.5, atol=0.1)


def test_intensities_are_clipped_before_they_are_interpolated() -> None:
    voxels = np.full((20, 20, 20), -1000, dtype=np.int16)
    voxels[10, 10, 10] = 3000
    cube, _ = cut_cube(scan_of(voxels, [1, 1, 1], [0, 0, 0]), [10, 10, 10], SETTINGS)
    assert cube.max() == pytest.approx(1 / 8)  # eight neighbours, half a voxel away along each axis: 1, not 4000/1400


def test_the_window_maps_its_ends_to_0_and_1() -> None:
    assert window(np.array([-3024, -1000, -300, 400, 3000]), (-1000.0, 400.0)).tolist() == [0, 0, 0.5, 1, 1]


def test_only_the_box_around_a_nodule_is_read() -> None:
    recorder = Recorder(random_voxels((200, 200, 100)))
    scan = scan_of(recorder, [1, 1, 1], [0, 0, 0])
    cut_cube(scan, [100, 100, 50], SETTINGS)
    assert recorder.sizes == [9**3]


@pytest.mark.parametrize(("x_mm", "padded"), [(3.5, False), (3.4, True), (15.5, False), (15.6, True)])
def test_a_cube_over_the_border_is_padded(x_mm: float, padded: bool) -> None:
    scan = scan_of(np.full((20, 20, 20), 400), [1, 1, 1], [0, 0, 0])
    assert cut_cube(scan, [x_mm, 10, 10], SETTINGS)[1] == padded


def test_beyond_the_scan_is_air() -> None:
    scan = scan_of(np.full((20, 20, 20), 400), [1, 1, 1], [0, 0, 0])
    cube, _ = cut_cube(scan, [-0.5, 10, 10], SETTINGS)
    assert np.array_equal(cube[0, 0], [0, 0, 0, 0, 1, 1, 1, 1])


def test_air_beyond_the_scan_is_clipped_to_the_window() -> None:
    scan = scan_of(np.full((20, 20, 20), 0), [1, 1, 1], [0, 0, 0])
    cube, _ = cut_cube(scan, [-0.5, 10, 10], Cubes(voxels=8, window_hu=(-1400.0, 600.0)))
    assert cube[0, 0, 0] == pytest.approx(0.2)


def test_voxels_that_are_no_numbers_are_refused() -> None:
    voxels = np.zeros((20, 20, 20), np.float32)
    voxels[10, 10, 10] = np.nan
    with pytest.raises(UserError, match="scan.mhd: voxels near .* aren't numbers"):
        cut_cube(scan_of(voxels, [1, 1, 1], [0, 0, 0]), [10, 10, 10], SETTINGS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scans of 40 mm; four nodules, two of them of the first two readers."""
    for name in ("1.2", "1.3"):
        voxels = random_voxels((20, 40, 40))
        write_scan(tmp_path / "subset0" / f"{name}.mhd", voxels, np.array([1.0, 1.0, 2.0]), np.zeros(3), np.eye(3))
    (tmp_path / "annotations.csv").write_text(HEADER + "1.2,20,20,20,5\n1.2,20,20,2,11\n9.9,0,0,0,7\n")
    (tmp_path / "annotations_excluded.csv").write_text(HEADER + "1.2,20,18,22,9\n1.2,20,20,20,-1\n1.2,20,18,22,2.9\n")
    return tmp_path


def run_cubes(folder: Path, settings: Cubes = SETTINGS) -> tuple[Any, pd.DataFrame]:
    output, manifest = folder / "made" / "subset0.npy", folder / "made" / "subset0.csv"
    arguments = ["--settings", json.dumps(plain(settings)), "--scans", str(folder), "--subset", "subset0"]
    cubes.main([*arguments, "--output", str(output), "--manifest", str(manifest)])
    return np.load(output), pd.read_csv(manifest, dtype={"seriesuid": str})


def test_a_subset_becomes_an_array_and_a_table(folder: Path) -> None:
    array, table = run_cubes(folder)
    assert array.shape == (3, 8, 8, 8)
    assert array.dtype == np.float32
    assert list(table.columns) == COLUMNS
    assert table["state"].tolist() == ["cube", "padded", "cut"]
    assert table["readers"].tolist() == [3, 3, 1]


def test_a_setting_leaves_out_nodules_of_two_readers(folder: Path) -> None:
    (folder / "annotations_excluded.csv").unlink()
    assert len(run_cubes(folder, Cubes(voxels=8, minimum_readers=3))[0]) == 2


def test_small_and_unmeasured_nodules_are_left_out(folder: Path) -> None:
    assert read_annotations(folder, Cubes(minimum_diameter_mm=0))["diameter_mm"].min() == 2.9
    assert read_annotations(folder, Cubes(minimum_diameter_mm=7))["diameter_mm"].tolist() == [11, 7, 9]


def test_scans_without_nodules_give_an_empty_array(folder: Path) -> None:
    array, table = run_cubes(folder, Cubes(voxels=8, minimum_diameter_mm=20))
    assert array.shape == (0, 8, 8, 8)
    assert table.empty


def test_an_empty_subset_is_an_error(folder: Path) -> None:
    for path in (folder / "subset0").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="subset0: no scans there"):
        run_cubes(folder)
    assert not (folder / "made").exists()


def test_a_nodule_outside_its_scan_is_named_by_file_and_row(folder: Path) -> None:
    (folder / "annotations.csv").write_text(HEADER + "1.2,20,20,20,5\n1.2,20,20,-400,5\n")
    with pytest.raises(UserError, match=r"annotations.csv: row 3: \(20, 20, -400\) mm lies outside the scan 1.2.mhd"):
        run_cubes(folder)
    assert not (folder / "made").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seriesuid,coordX,coordY,diameter_mm\n", "no column coordZ; found: seriesuid, coordX, coordY, diameter_mm"),
        (HEADER + "1.2,1,2,3,4\n1.2,1,2,x,4\n", "row 3, column coordZ: 'x' isn't a number"),
        (HEADER + "1.2,1,,3,4\n", "row 2, column coordY: '' isn't a number"),
        (HEADER + "1.2,1,2,inf,4\n", "row 2, column coordZ: 'inf' isn't a number"),
        ("", "not a table"),
    ],
)
def test_a_bad_table_is_named(folder: Path, text: str, message: str) -> None:
    (folder / "annotations.csv").write_text(text)
    with pytest.raises(UserError, match=f"annotations.csv: {message}"):
        read_annotations(folder, Cubes())


def test_missing_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="annotations.csv: no such file"):
        read_annotations(tmp_path, Cubes())


def test_a_missing_table_of_two_readers_names_the_setting(folder: Path) -> None:
    (folder / "annotations_excluded.csv").unlink()
    with pytest.raises(UserError, match="annotations_excluded.csv: no such file.* or set minimum_readers: 3"):
        read_annotations(folder, Cubes())
