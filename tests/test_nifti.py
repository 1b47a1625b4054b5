"""NIfTI: where nibabel and SimpleITK say, a box at a time, and clear words for bad files."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from strongscale.common.errors import UserError
from strongscale.data.scans.nifti import RAS_TO_LPS, open_nifti

AFFINE = np.eye(4)
AFFINE[:3, :3] = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0] * [0.7, 0.8, 2.5]
AFFINE[:3, 3] = [-30.5, 20.0, -110.25]
VOXELS = np.random.default_rng(0).integers(-1000, 400, (6, 5, 4)).astype(np.int16)


def write_nifti(path: Path, voxels: Any = VOXELS, affine: Any = AFFINE, **header: Any) -> Path:
    image = nibabel.Nifti1Image(voxels, affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_lie_where_the_affine_says(tmp_path: Path, ending: str) -> None:
    scan = open_nifti(write_nifti(tmp_path / f"scan{ending}"))
    right_anterior_superior_mm = AFFINE @ [1, 2, 3, 1]
    assert np.allclose(scan.voxel_to_world([1, 2, 3]), RAS_TO_LPS @ right_anterior_superior_mm[:3], atol=1e-4)
    assert np.array_equal(scan.read_box((1, 0, 2), (4, 5, 4)), VOXELS[1:4, 0:5, 2:4])


def test_a_second_version_file_is_read(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(VOXELS, AFFINE), tmp_path / "scan.nii")
    assert np.array_equal(open_nifti(tmp_path / "scan.nii").read_box((0, 0, 0), (6, 5, 4)), VOXELS)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, AFFINE)
    image.header.set_slope_inter(2, -7)
    nibabel.save(image, tmp_path / "scan.nii.gz")
    stored = nibabel.load(tmp_path / "scan.nii.gz").dataobj.get_unscaled()
    scan = open_nifti(tmp_path / "scan.nii.gz")
    assert np.array_equal(scan.read_box((0, 0, 0), (6, 5, 4)), stored * 2.0 - 7)


@pytest.mark.parametrize("shape", [(6, 5, 4, 1), (6, 5, 4, 1, 1)])
def test_further_axes_of_one_entry_are_accepted(tmp_path: Path, shape: tuple[int, ...]) -> None:
    scan = open_nifti(write_nifti(tmp_path / "scan.nii.gz", VOXELS.reshape(shape)))
    assert scan.shape == (6, 5, 4)
    assert np.array_equal(scan.read_box((1, 0, 2), (4, 5, 4)), VOXELS[1:4, 0:5, 2:4])


def test_a_box_of_a_compressed_scan_costs_little_memory(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 9, (256, 256, 128)).astype(np.int16)
    scan = open_nifti(write_nifti(tmp_path / "scan.nii.gz", voxels))
    tracemalloc.start()
    box = scan.read_box((3, 5, 100), (9, 9, 103))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(box, voxels[3:9, 5:9, 100:103])
    assert peak < voxels.nbytes / 4


@pytest.mark.parametrize("shape", [(2, 2, 2, 2), (2, 2)])
def test_other_than_three_dimensions_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=f"scan.nii: {len(shape)} dimensions"):
        open_nifti(write_nifti(tmp_path / "scan.nii", np.zeros(shape, np.int16)))


def test_a_scan_that_does_not_say_where_it_lies_is_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nibabel.save(image, tmp_path / "scan.nii")
    with pytest.raises(UserError, match="scan.nii: neither sform nor qform says where"):
        open_nifti(tmp_path / "scan.nii")


def edit_bytes(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def test_an_affine_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii")
    edit_bytes(path, 280, np.float32("nan").tobytes())  # srow_x
    with pytest.raises(UserError, match="scan.nii: its affine holds NaN"):
        open_nifti(path)


def test_a_singular_affine_is_named(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii")
    edit_bytes(path, 280, np.zeros(12, np.float32).tobytes())  # srow_x, srow_y, srow_z
    with pytest.raises(UserError, match="scan.nii: spacing .* three positive numbers"):
        open_nifti(path)


def test_a_sheared_affine_is_named(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[:3, 2] += AFFINE[:3, 1] / 4
    with pytest.raises(UserError, match=r"scan\.nii: the axes \[.*\] of its voxels aren't at right angles"):
        open_nifti(write_nifti(tmp_path / "scan.nii", affine=sheared))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_spacing_of_nothing_is_named(tmp_path: Path, ending: str) -> None:
    path = write_nifti(tmp_path / "scan.nii")
    edit_bytes(path, 84, np.float32(0).tobytes())  # pixdim[2]
    if ending == ".nii.gz":
        (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match=r"pixdim \[0\.\d+ 0\. .*\] mm; three positive numbers are needed"):
        open_nifti(tmp_path / f"scan{ending}")


def test_a_scan_in_metres_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scan.nii: its unit of length is meter"):
        open_nifti(write_nifti(tmp_path / "scan.nii", xyzt_units=1))


def test_coloured_voxels_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(UserError, match="scan.nii: voxels of kind"):
        open_nifti(write_nifti(tmp_path / "scan.nii", colours))


def test_a_scan_cut_short_is_named_with_both_sizes(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="scan.nii: 589 bytes, but its header promises 592"):
        open_nifti(path)


def test_a_torn_stream_is_named(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scan.nii", np.random.default_rng(0).normal(size=(9, 9, 9)))
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(path.read_bytes())[:3000])
    with pytest.raises(UserError, match="scan.nii.gz: its voxels can't be read"):
        open_nifti(tmp_path / "scan.nii.gz").read_box((0, 0, 0), (9, 9, 9))


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("content", [b"", b"something else", b"\x1f\x8b\x08 torn"])
def test_a_file_that_is_no_nifti_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: can't be read as NIfTI"):
        open_nifti(tmp_path / name)


def test_another_format_in_a_nifti_file_is_refused(tmp_path: Path) -> None:
    image = nibabel.MGHImage(VOXELS.astype(np.float32), AFFINE)
    (tmp_path / "scan.nii").write_bytes(image.to_bytes())
    with pytest.raises(UserError, match="scan.nii: can't be read as NIfTI"):
        open_nifti(tmp_path / "scan.nii")
