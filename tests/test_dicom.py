"""DICOM series: in the order and the place of their slices, as SimpleITK reads them; clear words for bad ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.uid import RLELossless
from scan_fixtures import edit_slice, write_dicom

from strongscale.common.errors import UserError
from strongscale.data.scans import Scan, find_scans, open_scan

SHAPE = (6, 5, 4)
SPACING_MM = np.array([0.7, 0.8, 2.5])
ORIGIN_MM = np.array([-30.5, -20.0, -110.25])
OBLIQUE = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
OBLIQUE[:, 2] = np.cross(OBLIQUE[:, 0], OBLIQUE[:, 1])
VOXELS = np.random.default_rng(1).integers(-1000, 400, SHAPE).astype(np.int16)
SCAN = Scan(Path("scan"), SHAPE, SPACING_MM, ORIGIN_MM, OBLIQUE, VOXELS)
SLOPE = np.add.outer(np.add.outer(np.arange(32), np.arange(24)), np.arange(4)).astype(np.int16)
INDICES = np.array([[0, 0, 0], [5, 0, 0], [0, 4, 0], [0, 0, 3], [1.5, 2.25, 2]])


def write_slices(folder: Path, voxels: NDArray[Any], compressor: str | None = None) -> Path:
    """The scan as SimpleITK writes a series; names are in the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    if compressor:
        writer.UseCompressionOn()
        writer.SetCompressor(compressor)
    for k in range(voxels.shape[2]):
        image = SimpleITK.GetImageFromArray(voxels[:, :, k : k + 1].transpose(2, 1, 0))
        image.SetSpacing(SPACING_MM.tolist())
        numbers = {"0020|0032": SCAN.voxel_to_world([0, 0, k]), "0020|0037": OBLIQUE[:, :2].T.ravel()}
        texts = {"0008|0060": "CT", "0020|000e": "1.2.3", "0020|000d": "1.2", "0008|0018": f"1.2.3.{k + 1}"}
        texts |= {"0028|1052": "-1024", "0028|1053": "1"}
        texts |= {tag: "\\".join(f"{number:.8f}" for number in values) for tag, values in numbers.items()}
        for tag, text in texts.items():
            image.SetMetaData(tag, text)
        writer.SetFileName(str(folder / f"{k}.dcm"))
        writer.Execute(image)
    return folder


def read_with_simpleitk(folder: Path) -> SimpleITK.Image:
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def read_all(path: Path) -> Any:
    """All voxels (I, J, K) of a scan."""
    scan = open_scan(path)
    return scan.read_box((0, 0, 0), scan.shape)


def assert_as_simpleitk_reads_it(folder: Path) -> None:
    scan, image = open_scan(folder), read_with_simpleitk(folder)
    assert scan.shape == image.GetSize()
    assert np.array_equal(scan.read_box((0, 0, 0), scan.shape), SimpleITK.GetArrayFromImage(image).T)
    for index in INDICES.tolist():
        point_mm = image.TransformContinuousIndexToPhysicalPoint(index)
        assert np.allclose(scan.voxel_to_world(index), point_mm, atol=1e-4)


def slice_at(folder: Path, k: int) -> Path:
    """The file of the k-th slice that `write_dicom` wrote."""
    (path,) = folder.glob(f"* {k}.dcm")
    return path


def test_a_series_is_as_simpleitk_reads_it(tmp_path: Path) -> None:
    assert_as_simpleitk_reads_it(write_dicom(tmp_path / "series", SCAN))


@pytest.mark.parametrize("compressor", [None, "JPEG", "JPEG2000"])
@pytest.mark.parametrize("kind", [np.int16, np.uint16])
def test_a_series_that_simpleitk_wrote_is_read(tmp_path: Path, kind: Any, compressor: str | None) -> None:
    folder = write_slices(tmp_path / "series", SLOPE.astype(kind), compressor)
    compressed = pydicom.dcmread(folder / "0.dcm").file_meta.TransferSyntaxUID.is_compressed
    assert compressed == (compressor is not None)
    assert_as_simpleitk_reads_it(folder)


def test_a_series_compressed_by_run_lengths_is_read(tmp_path: Path) -> None:
    assert np.array_equal(read_all(write_dicom(tmp_path / "series", SCAN, compressed=RLELossless)), VOXELS)


def test_the_spacing_between_rows_comes_first_in_dicom(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN, PixelSpacing=[3, 2])
    assert np.allclose(open_scan(folder).spacing_mm, [2, 3, 2.5])


def test_a_tilted_gantry_gives_an_oblique_grid(tmp_path: Path) -> None:
    tilted = np.array([[1, 0, 0], [0, 1, np.sin(0.3)], [0, 0, np.cos(0.3)]])
    expected = Scan(Path("scan"), SHAPE, SPACING_MM, ORIGIN_MM, tilted, VOXELS)
    scan = open_scan(write_dicom(tmp_path / "series", expected))
    assert np.allclose(scan.voxel_to_world(INDICES), expected.voxel_to_world(INDICES), atol=1e-5)
    assert np.allclose(scan.world_to_voxel(expected.voxel_to_world(INDICES)), INDICES, atol=1e-5)


def test_each_slice_has_its_own_slope_and_intercept(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    edit_slice(slice_at(folder, 1), RescaleSlope=0.5, RescaleIntercept=-3.25)
    edit_slice(slice_at(folder, 2), RescaleIntercept=-1024)
    voxels = read_all(folder)
    assert np.array_equal(voxels[:, :, 0], VOXELS[:, :, 0])
    assert np.array_equal(voxels[:, :, 1], VOXELS[:, :, 1] * 0.5 - 3.25)
    assert np.array_equal(voxels[:, :, 2], VOXELS[:, :, 2].astype(int) - 1024)


def test_large_unsigned_intensities_do_not_overflow(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN, PixelRepresentation=0, RescaleIntercept=-1024)
    assert np.array_equal(read_all(folder), VOXELS.astype(np.uint16).astype(int) - 1024)


@pytest.mark.parametrize(("signed", "low"), [(0, 0), (1, -2048)])
def test_bits_above_those_that_count_are_ignored(tmp_path: Path, signed: int, low: int) -> None:
    values = np.random.default_rng(2).integers(low, low + 4096, SHAPE)
    overlaid = ((values & 0x0FFF) | 0x5000).astype(np.int16)
    scan = Scan(Path("scan"), SHAPE, SPACING_MM, ORIGIN_MM, OBLIQUE, overlaid)
    folder = write_dicom(tmp_path / "series", scan, BitsStored=12, HighBit=11, PixelRepresentation=signed)
    assert np.array_equal(read_all(folder), values)
    assert_as_simpleitk_reads_it(folder)


def test_only_the_slices_of_a_box_are_decoded(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    for k in (0, 3):
        edit_slice(slice_at(folder, k), PixelData=b"torn")
    scan = open_scan(folder)
    assert np.array_equal(scan.read_box((1, 2, 1), (5, 4, 3)), VOXELS[1:5, 2:4, 1:3])
    with pytest.raises(UserError, match=" 3.dcm: its pixels can't be read"):
        scan.read_box((1, 2, 2), (5, 4, 4))


def test_files_without_an_ending_are_read(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / (f"IM{number}" if number % 2 else f"1.2.840.{number}"))
    (folder / "VERSION").write_text("3")
    (folder / "notes.txt").write_text("DICM" * 64)
    (folder / "._IM0.dcm").write_text("what another system left")
    assert list(find_scans(tmp_path)[0]) == ["1.2.3"]
    assert np.array_equal(read_all(folder), VOXELS)


def test_files_without_a_preamble_are_read(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    path = slice_at(folder, 2)
    path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(read_all(folder), VOXELS)


def test_several_series_in_a_folder_are_several_scans(tmp_path: Path) -> None:
    other = Scan(Path("scan"), SHAPE, SPACING_MM, ORIGIN_MM, OBLIQUE, VOXELS + np.int16(7))
    write_dicom(tmp_path, SCAN, "1.2.3")
    for path in write_dicom(tmp_path / "other", other, "1.2.4").iterdir():
        path.rename(tmp_path / f"other {path.name}")
    scans, unusable = find_scans(tmp_path)
    assert (list(scans), unusable) == (["1.2.3", "1.2.4"], {})
    assert np.array_equal(read_all(scans["1.2.3"]), VOXELS)
    assert np.array_equal(read_all(scans["1.2.4"]), VOXELS + 7)
    with pytest.raises(UserError, match="2 DICOM series there; name a file of the one to use"):
        open_scan(tmp_path)


def test_what_is_no_image_is_no_scan(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    elsewhere = write_dicom(tmp_path / ".report", SCAN, "1.2.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    edit_slice(slice_at(elsewhere, 0), PixelData=None, Rows=None)
    slice_at(elsewhere, 0).rename(folder / "report.dcm")
    assert find_scans(tmp_path) == ({"1.2.3": folder}, {})
    assert np.array_equal(read_all(folder), VOXELS)
    with pytest.raises(UserError, match="report.dcm: isn't a DICOM image"):
        open_scan(folder / "report.dcm")


def test_an_overview_in_a_series_is_left_out(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    write_dicom(tmp_path / "overview", SCAN, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    slice_at(tmp_path / "overview", 0).rename(folder / "overview.dcm")
    assert np.array_equal(read_all(folder), VOXELS)


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    slice_at(folder, 2).unlink()
    scan = Scan(Path("scan"), (6, 5, 6), SPACING_MM, ORIGIN_MM, OBLIQUE, np.zeros((6, 5, 6)))
    for k in (4, 5):
        edit_slice(
            slice_at(write_dicom(tmp_path / "more", scan), k),
            ImagePositionPatient=scan.voxel_to_world([0, 0, k]).round(6).tolist(),
        )
        slice_at(tmp_path / "more", k).rename(folder / f"more {k}.dcm")
    with pytest.raises(UserError, match=r" 1.dcm and . 3.dcm: 5 mm apart, but the series' slices are 2.5 mm apart"):
        open_scan(folder)


def test_two_slices_in_one_place_are_named(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    (folder / "copy.dcm").write_bytes(slice_at(folder, 1).read_bytes())
    with pytest.raises(UserError, match=r" 1.dcm and copy.dcm: two slices in the same place"):
        open_scan(folder)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_accepted(tmp_path: Path) -> None:
    upright = Scan(Path("scan"), SHAPE, SPACING_MM, np.zeros(3), np.eye(3), VOXELS)
    folder = write_dicom(tmp_path / "series", upright)
    edit_slice(slice_at(folder, 3), ImagePositionPatient=[0, 0, 7.55])
    assert open_scan(folder).spacing_mm[2] == pytest.approx(2.5, rel=0.01)


def test_a_gap_wider_than_the_others_is_refused(tmp_path: Path) -> None:
    upright = Scan(Path("scan"), SHAPE, SPACING_MM, np.zeros(3), np.eye(3), VOXELS)
    folder = write_dicom(tmp_path / "series", upright)
    edit_slice(slice_at(folder, 3), ImagePositionPatient=[0, 0, 7.8])
    with pytest.raises(UserError, match=r" 2.dcm and . 3.dcm: 2.8 mm apart, but .* 2.5 mm apart"):
        open_scan(folder)


def test_a_slice_shifted_sideways_is_refused(tmp_path: Path) -> None:
    upright = Scan(Path("scan"), SHAPE, SPACING_MM, np.zeros(3), np.eye(3), VOXELS)
    folder = write_dicom(tmp_path / "series", upright)
    edit_slice(slice_at(folder, 2), ImagePositionPatient=[4, 0, 5])
    with pytest.raises(UserError, match=" 2.dcm: 4.00 mm from where even steps"):
        open_scan(folder)


def test_gaps_that_grow_bit_by_bit_are_refused(tmp_path: Path) -> None:
    scan = Scan(Path("scan"), (2, 2, 100), SPACING_MM, ORIGIN_MM, np.eye(3), np.zeros((2, 2, 100), np.int16))
    folder = write_dicom(tmp_path / "series", scan)
    heights_mm = np.cumsum(np.where(np.arange(100) < 50, 2.48, 2.5))
    for k, height_mm in enumerate(heights_mm.tolist()):
        edit_slice(slice_at(folder, k), ImagePositionPatient=[0, 0, round(height_mm, 3)])
    with pytest.raises(UserError, match="dcm: 0.49 mm from where even steps of 2.49 mm would put it"):
        open_scan(folder)


def test_positions_rounded_to_a_hundredth_are_accepted(tmp_path: Path) -> None:
    scan = Scan(Path("scan"), SHAPE, np.array([1, 1, 0.625]), np.zeros(3), np.eye(3), VOXELS)
    folder = write_dicom(tmp_path / "series", scan)
    for k in range(4):
        edit_slice(slice_at(folder, k), ImagePositionPatient=[0, 0, round(0.625 * k, 2)])
    assert np.array_equal(read_all(folder), VOXELS)


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        {"PixelSpacing": [0.9, 0.7]},
        {"Rows": 6, "Columns": 5},
    ],
)
def test_slices_that_are_not_alike_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    edit_slice(slice_at(folder, 2), **changes)
    with pytest.raises(UserError, match=" 2.dcm: another size, spacing or orientation"):
        open_scan(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NumberOfFrames": 4}, "several frames in one DICOM file aren't supported"),
        ({"SamplesPerPixel": 3}, "a colour image"),
        ({"Rows": None}, "Rows is missing"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient is missing or isn't 3 numbers"),
        ({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient is missing or isn't 3 numbers"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "ImageOrientationPatient .* isn't two axes at right angles"),
        ({"PixelSpacing": [0.7, 0]}, "PixelSpacing .* two positive numbers"),
        ({"PixelSpacing": 0.7}, "PixelSpacing is missing or isn't 2 numbers"),
        ({"RescaleSlope": None}, "RescaleSlope is missing or isn't a number"),
        ({"RescaleSlope": 0}, "RescaleSlope is 0"),
        ({"RescaleIntercept": None}, "RescaleIntercept is missing or isn't a number"),
        ({"HighBit": 11}, "BitsStored 16 and HighBit 11 don't go together"),
    ],
)
def test_a_bad_header_is_named_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    edit_slice(slice_at(folder, 2), **changes)
    with pytest.raises(UserError, match=message) as mistake:
        open_scan(folder)
    assert str(slice_at(folder, 2)) in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("text", [b"1.5_", b"abcd", b"nan "])
def test_a_number_that_is_none_is_named(tmp_path: Path, text: bytes) -> None:
    folder = write_dicom(tmp_path / "series", SCAN, RescaleIntercept="1.25")
    path = slice_at(folder, 2)
    path.write_bytes(path.read_bytes().replace(b"1.25", text))
    with pytest.raises(UserError, match=" 2.dcm: RescaleIntercept is missing or isn't a number"):
        open_scan(folder)


def test_one_slice_alone_is_no_scan(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    for k in (0, 1, 2):
        slice_at(folder, k).unlink()
    with pytest.raises(UserError, match="series: 1 slices; a scan needs two or more"):
        open_scan(folder)


@pytest.mark.parametrize("content", [b"", b"something else", bytes(128) + b"DICM", bytes(range(256))])
def test_a_slice_that_is_no_dicom_is_named(tmp_path: Path, content: bytes) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    slice_at(folder, 3).write_bytes(content)
    with pytest.raises(UserError, match=" 3.dcm: .* copy it anew or remove it"):
        open_scan(folder)


@pytest.mark.parametrize("compressed", [None, RLELossless])
def test_a_slice_cut_short_is_named(tmp_path: Path, compressed: str | None) -> None:
    folder = write_dicom(tmp_path / "series", SCAN, compressed=compressed)
    path = slice_at(folder, 3)
    path.write_bytes(path.read_bytes()[:-21])
    with pytest.raises(UserError, match=" 3.dcm: its pixels can't be read"):
        read_all(folder)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_a_compressed_slice_cut_short_is_named_in_one_line(tmp_path: Path, compressor: str) -> None:
    folder = write_slices(tmp_path / "series", SLOPE, compressor)
    path = folder / "3.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="3.dcm: its pixels can't be read") as mistake:
        read_all(folder)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_a_series_of_another_modality_is_refused(tmp_path: Path, modality: str) -> None:
    folder = write_dicom(tmp_path / "series", SCAN, Modality=modality)
    with pytest.raises(UserError, match=f"modality {modality}, not CT: its intensities aren't HU"):
        open_scan(folder)


def test_slices_that_lean_more_than_a_gantry_tilts_are_refused(tmp_path: Path) -> None:
    folder = write_dicom(tmp_path / "series", SCAN)
    for path in folder.iterdir():
        k = int(path.stem.split()[1])
        place_mm = ORIGIN_MM + k * (2.5 * OBLIQUE[:, 2] + 4 * OBLIQUE[:, 1])
        edit_slice(path, ImagePositionPatient=[round(float(number), 6) for number in place_mm])
    with pytest.raises(UserError, match="the axes .* of its voxels are askew"):
        open_scan(folder)
