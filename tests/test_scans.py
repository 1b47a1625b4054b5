"""Scans: the same voxels in the same places as other readers see, a box at a time, and clear words for bad files."""

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from strongscale.data.metaimage import write_scan
from strongscale.data.scans import Scan, find_scans, open_scan
from strongscale.errors import UserError

OBLIQUE = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
SPACING_MM = np.array([0.7, 0.8, 2.5])
ORIGIN_MM = np.array([-30.5, -20.0, -110.25])


def make_scan(folder: Path, **changes: str | None) -> Path:
    """A small valid scan; header lines can be replaced, or left out with None."""
    path = folder / "scan.mhd"
    voxels = np.random.default_rng(1).integers(-1000, 400, (4, 5, 6)).astype(np.int16)
    write_scan(path, voxels, SPACING_MM, ORIGIN_MM, OBLIQUE)
    values = dict(line.split(" = ") for line in path.read_text().splitlines()) | changes
    path.write_text("".join(f"{key} = {value}\n" for key, value in values.items() if value is not None))
    return path


def test_an_oblique_scan_lies_where_simpleitk_says(tmp_path: Path) -> None:
    path = make_scan(tmp_path)
    scan, image = open_scan(path), SimpleITK.ReadImage(str(path))
    assert scan.shape == image.GetSize() == (6, 5, 4)
    for index in ([0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [1.5, 2.25, 3.0]):
        point = image.TransformContinuousIndexToPhysicalPoint(index)
        assert np.allclose(scan.voxel_to_world(index), point)
        assert np.allclose(scan.world_to_voxel(point), index)


@pytest.mark.parametrize(
    "kind", [SimpleITK.sitkInt16, SimpleITK.sitkUInt16, SimpleITK.sitkFloat32, SimpleITK.sitkUInt8]
)
def test_every_element_type_is_read_as_simpleitk_wrote_it(tmp_path: Path, kind: int) -> None:
    image = SimpleITK.Cast(SimpleITK.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5)), kind)
    SimpleITK.WriteImage(image, str(tmp_path / "scan.mhd"))
    scan = open_scan(tmp_path / "scan.mhd")
    assert np.array_equal(scan.read_box((0, 0, 0), scan.shape), np.arange(60).reshape(3, 4, 5).T)


def test_big_endian_voxels_are_read(tmp_path: Path) -> None:
    path = make_scan(tmp_path, BinaryDataByteOrderMSB="True")
    np.arange(120, dtype=">i2").tofile(path.with_suffix(".raw"))
    scan = open_scan(path)
    assert scan.read_box((5, 4, 3), (6, 5, 4)).item() == 119


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_lies_in_the_same_place_as_metaimage(tmp_path: Path, ending: str) -> None:
    path = make_scan(tmp_path)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(tmp_path / f"scan{ending}"))
    first, second = open_scan(path), open_scan(tmp_path / f"scan{ending}")
    assert np.allclose(first.voxel_to_world([1, 2, 3]), second.voxel_to_world([1, 2, 3]), atol=1e-4)
    box = (1, 0, 2), (4, 5, 4)
    assert np.array_equal(first.read_box(*box), second.read_box(*box))


@given(
    points=st.lists(st.tuples(*[st.floats(-500, 500)] * 3), min_size=1, max_size=5),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    seed=st.integers(0, 1000),
)
def test_there_and_back_is_the_same_point(points: list[Any], spacing: tuple[float, ...], seed: int) -> None:
    direction = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    scan = Scan(Path("scan.mhd"), (9, 9, 9), np.array(spacing), ORIGIN_MM, direction, np.zeros((9, 9, 9)))
    assert np.allclose(scan.voxel_to_world(scan.world_to_voxel(points)), points, atol=1e-6)


def test_opening_a_scan_reads_no_voxels(tmp_path: Path) -> None:
    """A file of 16 GB, nearly all of it a hole, gives one voxel without being read."""
    path = make_scan(tmp_path, DimSize="2048 2048 2048")
    with path.with_suffix(".raw").open("r+b") as raw:
        raw.truncate(2 * 2048**3)
        raw.seek(2 * (2048**2 * 2047 + 2048 * 3 + 5))
        raw.write(np.int16(-321).tobytes())
    assert open_scan(path).read_box((5, 3, 2047), (6, 4, 2048)).item() == -321


def test_a_missing_raw_is_named(tmp_path: Path) -> None:
    path = make_scan(tmp_path)
    path.with_suffix(".raw").unlink()
    with pytest.raises(UserError, match=r"scan.mhd: its voxels, scan.raw, aren't beside it"):
        open_scan(path)


def test_a_short_raw_is_named_with_its_sizes(tmp_path: Path) -> None:
    path = make_scan(tmp_path)
    path.with_suffix(".raw").write_bytes(b"12345")
    with pytest.raises(UserError, match=r"scan.raw: 5 bytes, but scan.mhd promises 240"):
        open_scan(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TransformMatrix": "1 0 0 2 0 0 0 0 1"}, "direction matrix .* is singular"),
        ({"TransformMatrix": "1 0 0 1"}, "TransformMatrix = 1 0 0 1 isn't 9 numbers"),
        ({"ElementSpacing": "0.7 0 2.5"}, "three positive numbers"),
        ({"ElementSpacing": "0.7 -1 2.5"}, "three positive numbers"),
        ({"ElementSpacing": "0.7 nan 2.5"}, "three positive numbers"),
        ({"Offset": "0 inf 0"}, "origin .* mend it"),
        ({"DimSize": "6 5 0"}, "DimSize = 6 5 0 isn't three whole numbers"),
        ({"DimSize": "6 5 nan"}, "DimSize = 6 5 nan isn't three whole numbers"),
        ({"Offset": None, "DimSize": None}, "lacks Offset, DimSize"),
        ({"ElementType": "MET_DOUBLE"}, "ElementType MET_DOUBLE isn't supported; use MET_UCHAR, MET_SHORT"),
        ({"CompressedData": "True"}, "CompressedData = True isn't supported"),
        ({"NDims": "4"}, "NDims = 4 isn't supported"),
        ({"ElementDataFile": "LOCAL"}, "ElementDataFile = LOCAL isn't supported"),
        ({"ElementDataFile": ""}, "ElementDataFile = .* isn't supported"),
    ],
)
def test_a_bad_header_is_named_in_one_line(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(UserError, match=message) as mistake:
        open_scan(make_scan(tmp_path, **changes))
    assert "scan.mhd" in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_a_header_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "scan.mhd").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="scan.mhd: isn't a MetaImage header"):
        open_scan(tmp_path / "scan.mhd")


def test_a_torn_nifti_is_named(tmp_path: Path) -> None:
    content = nibabel.Nifti1Image(np.random.default_rng(0).normal(size=(9, 9, 9)), np.eye(4)).to_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(content)[:3000])
    with pytest.raises(UserError, match="scan.nii.gz: its voxels can't be read"):
        open_scan(tmp_path / "scan.nii.gz").read_box((0, 0, 0), (9, 9, 9))


def test_a_file_that_is_no_nifti_is_named(tmp_path: Path) -> None:
    (tmp_path / "scan.nii").write_bytes(b"something else")
    with pytest.raises(UserError, match="scan.nii: can't be read as NIfTI"):
        open_scan(tmp_path / "scan.nii")


def test_a_nifti_of_four_dimensions_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 2), np.int16), np.eye(4)), tmp_path / "scan.nii")
    with pytest.raises(UserError, match="4 dimensions"):
        open_scan(tmp_path / "scan.nii")


def test_an_unknown_kind_of_scan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scan.png: not a known kind of scan; use .mhd, .nii, .nii.gz"):
        open_scan(tmp_path / "scan.png")


def test_scans_are_found_by_their_seriesuid(tmp_path: Path) -> None:
    for name in ("1.2.4.nii.gz", "1.2.3.mhd", "1.2.3.raw", "notes.txt", ".1.2.3.mhd"):
        (tmp_path / name).touch()
    assert list(find_scans(tmp_path)) == ["1.2.3", "1.2.4"]


def test_a_folder_without_scans_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="no scans there"):
            find_scans(folder)


def test_the_same_scan_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.mhd").touch()
    (tmp_path / "1.nii").touch()
    with pytest.raises(UserError, match="1.nii: the same scan as 1.mhd"):
        find_scans(tmp_path)
