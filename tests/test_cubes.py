"""Cubes: cut along the patient's axes, whatever the scan's grid."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from strongscale.common.errors import UserError
from strongscale.data import cutting
from strongscale.data.cutting import Cube, cube_points_mm, smoothing, window
from strongscale.data.scans import Scan
from strongscale.settings.datasets import Cubes

SETTINGS = Cubes(voxels=8, smoothing=False)
SMOOTH = Cubes(voxels=8)
SPACING_MM = np.array([0.7, 0.8, 2.0])
ORIGIN_MM = np.array([-10.0, -12.0, -40.0])


def scan_of(voxels: Any, spacing_mm: Any = SPACING_MM, origin_mm: Any = ORIGIN_MM, direction: Any = None) -> Scan:
    direction = np.eye(3) if direction is None else direction
    return Scan(Path("scan.mhd"), voxels.shape, np.array(spacing_mm), np.array(origin_mm), direction, voxels)


def random_voxels(shape: tuple[int, int, int] = (40, 36, 16), seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(-3000, 2000, shape).astype(np.int16)


def cut_cube(scan: Scan, centre_mm: Any, settings: Cubes = SETTINGS) -> Cube:
    return cutting.cut_cube(scan, centre_mm, settings.voxel_mm, settings)


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


@pytest.mark.parametrize("settings", [SETTINGS, SMOOTH], ids=["sharp", "smooth"])
@pytest.mark.parametrize("axes", list(itertools.product([False, True], repeat=3)))
def test_every_flip_of_the_grid_gives_the_same_cube(axes: tuple[bool, bool, bool], settings: Cubes) -> None:
    scan = scan_of(random_voxels())
    centre_mm = scan.voxel_to_world([19.3, 17.8, 7.4])
    expected = cut_cube(scan, centre_mm, settings).voxels_ZYX
    assert np.allclose(cut_cube(flip(scan, axes), centre_mm, settings).voxels_ZYX, expected, atol=1e-5)


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
    points = (cube_points_mm(centre_mm, SETTINGS.voxels, SETTINGS.voxel_mm) - ORIGIN_MM) @ np.linalg.inv(
        direction * spacing
    ).T
    expected = ndimage.map_coordinates(whole, np.moveaxis(points, -1, 0), order=1, mode="grid-constant", cval=0.0)
    assert np.allclose(cut_cube(scan, centre_mm).voxels_ZYX, expected, atol=1e-5)


def test_the_axes_of_a_cube_are_z_y_x_of_the_patient() -> None:
    x, y, z = np.meshgrid(*(np.arange(30.0),) * 3, indexing="ij")
    for axis, ramp in enumerate((z, y, x)):
        cube = cut_cube(scan_of(20 * ramp - 900, [1, 1, 1], [0, 0, 0]), [15, 15, 15]).voxels_ZYX
        steps = [np.abs(np.diff(cube, axis=other)).max() for other in range(3)]
        assert np.allclose(np.diff(cube, axis=axis), 20 / 1400, atol=1e-6)
        assert [step > 1e-5 for step in steps] == [other == axis for other in range(3)]


def test_a_nodules_centre_of_mass_is_the_cubes_centre() -> None:
    shape, direction = (60, 50, 24), np.diag([-1.0, -1.0, 1.0])
    empty = scan_of(np.zeros(shape), SPACING_MM, ORIGIN_MM, direction)
    centre_mm = empty.voxel_to_world([30.4, 24.7, 11.2])
    distance_mm = np.linalg.norm(empty.voxel_to_world(np.moveaxis(np.indices(shape), 0, -1)) - centre_mm, axis=-1)
    ball = np.clip(5 - distance_mm, 0, 1) * 1000 - 1000
    cube = cut_cube(scan_of(ball, SPACING_MM, ORIGIN_MM, direction), centre_mm, Cubes(voxels=16)).voxels_ZYX
    assert np.allclose(ndimage.center_of_mass(cube), 7.5, atol=0.1)


def test_intensities_are_clipped_before_they_are_interpolated() -> None:
    voxels = np.full((20, 20, 20), -1000, dtype=np.int16)
    voxels[10, 10, 10] = 3000
    cube = cut_cube(scan_of(voxels, [1, 1, 1], [0, 0, 0]), [10, 10, 10]).voxels_ZYX
    assert cube.max() == pytest.approx(1 / 8)  # eight neighbours, half a voxel away along each axis: 1, not 4000/1400


def test_the_window_maps_its_ends_to_0_and_1() -> None:
    assert window(np.array([-3024, -1000, -300, 400, 3000]), (-1000.0, 400.0)).tolist() == [0, 0, 0.5, 1, 1]


def test_only_the_box_around_a_nodule_is_read() -> None:
    recorder = Recorder(random_voxels((200, 200, 100)))
    scan = scan_of(recorder, [1, 1, 1], [0, 0, 0])
    cut_cube(scan, [100, 100, 50])
    assert recorder.sizes == [9**3]


@pytest.mark.parametrize(("x_mm", "padded"), [(3.5, False), (3.4, True), (15.5, False), (15.6, True)])
def test_a_cube_over_the_border_is_padded(x_mm: float, padded: bool) -> None:
    scan = scan_of(np.full((20, 20, 20), 400), [1, 1, 1], [0, 0, 0])
    assert (cut_cube(scan, [x_mm, 10, 10]).air_share > 0) == padded


def test_beyond_the_scan_is_air() -> None:
    scan = scan_of(np.full((20, 20, 20), 400), [1, 1, 1], [0, 0, 0])
    cube = cut_cube(scan, [-0.5, 10, 10]).voxels_ZYX
    assert np.array_equal(cube[0, 0], [0, 0, 0, 0, 1, 1, 1, 1])


def test_air_beyond_the_scan_is_clipped_to_the_window() -> None:
    scan = scan_of(np.full((20, 20, 20), 0), [1, 1, 1], [0, 0, 0])
    cube = cut_cube(scan, [-0.5, 10, 10], Cubes(voxels=8, window_hu=(-1400.0, 600.0))).voxels_ZYX
    assert cube[0, 0, 0] == pytest.approx(0.2)


@pytest.mark.parametrize("intensity", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.filterwarnings("error")
def test_voxels_that_are_no_numbers_are_refused(intensity: float) -> None:
    voxels = np.zeros((20, 20, 20))
    voxels[10, 10, 10] = intensity
    with pytest.raises(UserError, match="scan.mhd: voxels near .* aren't numbers"):
        cut_cube(scan_of(voxels, [1, 1, 1], [0, 0, 0]), [10, 10, 10])


def test_the_share_of_air_is_told() -> None:
    scan = scan_of(np.full((20, 20, 20), 400), [1, 1, 1], [0, 0, 0])
    assert cut_cube(scan, [-0.5, 10, 10]).air_share == pytest.approx(0.5)
    assert [cut_cube(scan, centre).air_axis for centre in ([-0.5, 10, 10], [10, 10, -0.5], [10, 10, 10])] == [
        "i",
        "k",
        "",
    ]


def test_smoothing_makes_the_scans_voxels_as_wide_as_the_cubes() -> None:
    spread = smoothing(np.array([0.6, 1.0, 2.0]), 1.0)
    assert spread[0] * 0.6 * cutting.HALF_WIDTH == pytest.approx(0.8)  # 0.6² + 0.8² = 1²
    assert spread[1:].tolist() == [0, 0]


def test_smoothing_removes_what_a_cube_cant_show() -> None:
    voxels = np.where(np.indices((80, 80, 40))[0] % 2, 400, -1000)  # stripes of a voxel each: finer than the cube's
    scan = scan_of(voxels, [0.4, 0.4, 1.0], [0, 0, 0])
    assert np.ptp(cut_cube(scan, [15.3, 15, 20], SETTINGS).voxels_ZYX) > 0.4
    assert np.ptp(cut_cube(scan, [15.3, 15, 20], SMOOTH).voxels_ZYX) < 0.1


def test_smooth_cubes_agree_with_smoothing_the_whole_volume() -> None:
    scan = scan_of(random_voxels((60, 56, 30)), [0.6, 0.7, 1.0], [0, 0, 0])
    centre_mm = scan.voxel_to_world([30.2, 26.7, 14.6])
    whole = window(scan.voxels, SMOOTH.window_hu)
    spread = smoothing(scan.spacing_mm, 1.0)
    whole = ndimage.gaussian_filter(whole, spread, radius=np.ceil(3 * spread).astype(int).tolist())
    points = cube_points_mm(centre_mm, 8, 1.0) / scan.spacing_mm
    expected = ndimage.map_coordinates(whole, np.moveaxis(points, -1, 0), order=1)
    assert np.allclose(cut_cube(scan, centre_mm, SMOOTH).voxels_ZYX, expected, atol=1e-5)


def test_a_cube_may_be_scaled_to_its_nodule() -> None:
    settings = Cubes(voxels=8, diameters=2.0)
    x = np.indices((60, 60, 60))[0].astype(float)
    scan = scan_of(20 * x - 900, [1, 1, 1], [0, 0, 0])
    cube = cutting.cut_cube(scan, [30, 30, 30], settings.voxel_mm_of(6.0), settings).voxels_ZYX
    assert np.allclose(np.diff(cube, axis=2), 20 * 2.0 * 6.0 / 8 / 1400, atol=1e-6)


@pytest.mark.parametrize("side_mm", [1e6, 1e300, 1e308])
@pytest.mark.filterwarnings("error")
def test_a_cube_that_asks_for_more_than_any_scan_holds_is_refused(side_mm: float) -> None:
    scan = scan_of(random_voxels())
    with pytest.raises(UserError, match=r"scan\.mhd: a cube of .* mm asks for .* voxels, allowed: 1\.3e\+08; lower"):
        cutting.cut_cube(scan, [0, 0, 0], side_mm / 8, SMOOTH)


@given(seed=st.integers(0, 1000))
def test_rotated_grids_give_the_same_cube_of_the_same_anatomy(seed: int) -> None:
    random = np.random.default_rng(seed)
    slope, centre_mm = random.uniform(-8, 8, 3), random.uniform(-50, 50, 3)

    def photograph(direction: Any) -> Scan:
        origin_mm = centre_mm - direction @ (SPACING_MM * [20.3, 18.6, 9.1])
        grid = scan_of(np.zeros((44, 40, 20)), SPACING_MM, origin_mm, direction)
        points_mm = grid.voxel_to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
        return scan_of((points_mm - centre_mm) @ slope - 300, SPACING_MM, origin_mm, direction)

    straight = cut_cube(photograph(np.eye(3)), centre_mm).voxels_ZYX
    turned = cut_cube(photograph(np.linalg.qr(random.normal(size=(3, 3)))[0]), centre_mm).voxels_ZYX
    assert np.allclose(straight, turned, atol=1e-5)
