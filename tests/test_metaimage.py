"""MetaImage: what SimpleITK wrote is read as SimpleITK reads it, whatever its form; clear words for bad files."""

import gzip
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from strongscale.common.errors import UserError
from strongscale.data.scans.metaimage import open_metaimage, write_scan

OBLIQUE = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
SPACING_MM = np.array([0.7, 0.8, 2.5])
ORIGIN_MM = np.array([-30.5, -20.0, -110.25])
VOXELS_ZYX = np.random.default_rng(1).integers(-1000, 400, (4, 5, 6)).astype(np.int16)
KINDS = {
    "MET_CHAR": SimpleITK.sitkInt8,
    "MET_UCHAR": SimpleITK.sitkUInt8,
    "MET_SHORT": SimpleITK.sitkInt16,
    "MET_USHORT": SimpleITK.sitkUInt16,
    "MET_INT": SimpleITK.sitkInt32,
    "MET_UINT": SimpleITK.sitkUInt32,
    "MET_FLOAT": SimpleITK.sitkFloat32,
    "MET_DOUBLE": SimpleITK.sitkFloat64,
}


def make_scan(folder: Path, **changes: str | None) -> Path:
    """A small valid scan; header lines can be replaced, added, or left out with None."""
    path = folder / "scan.mhd"
    write_scan(path, VOXELS_ZYX, SPACING_MM, ORIGIN_MM, OBLIQUE)
    return change_header(path, **changes)


def change_header(path: Path, **changes: str | None) -> Path:
    """Replace lines of an .mhd, add them, or leave them out with None; ElementDataFile stays the last."""
    values = dict(line.split(" = ") for line in path.read_text(encoding="utf-8").splitlines()) | changes
    values["ElementDataFile"] = values.pop("ElementDataFile")
    path.write_text(
        "".join(f"{key} = {value}\n" for key, value in values.items() if value is not None), encoding="utf-8"
    )
    return path


def make_compressed(folder: Path, packed: bytes | None = None, **changes: str | None) -> Path:
    """A small scan whose voxels are a .zraw."""
    packed = zlib.compress(VOXELS_ZYX.tobytes()) if packed is None else packed
    (folder / "scan.zraw").write_bytes(packed)
    changes = {"CompressedDataSize": str(len(packed))} | changes
    return make_scan(folder, CompressedData="True", ElementDataFile="scan.zraw", **changes)


def read_all(path: Path) -> Any:
    """All voxels (Z, Y, X) of a scan."""
    scan = open_metaimage(path)
    return scan.read_box((0, 0, 0), scan.shape).transpose(2, 1, 0)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".mhd", ".mha"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_simpleitk_writes_is_read(tmp_path: Path, kind: str, ending: str, compressed: bool) -> None:
    image = SimpleITK.Cast(SimpleITK.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5)), KINDS[kind])
    image.SetSpacing(SPACING_MM.tolist())
    image.SetOrigin(ORIGIN_MM.tolist())
    image.SetDirection(OBLIQUE.ravel().tolist())
    path = tmp_path / f"scan{ending}"
    SimpleITK.WriteImage(image, str(path), compressed)
    scan = open_metaimage(path)
    assert f"ElementType = {kind}\n".encode() in path.read_bytes()
    assert np.array_equal(read_all(path), np.arange(60).reshape(3, 4, 5))
    assert np.allclose(scan.voxel_to_world([1.5, 2, 3]), image.TransformContinuousIndexToPhysicalPoint([1.5, 2.0, 3.0]))


def test_what_is_written_simpleitk_reads(tmp_path: Path) -> None:
    path = make_scan(tmp_path)
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), VOXELS_ZYX)
    for index in ([0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [1.5, 2.25, 3.0]):
        point = image.TransformContinuousIndexToPhysicalPoint(index)
        assert np.allclose(open_metaimage(path).voxel_to_world(index), point)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("key", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_big_endian_voxels_are_read(tmp_path: Path, key: str, compressed: bool) -> None:
    content = VOXELS_ZYX.astype(">i2").tobytes()
    changes: dict[str, str | None] = {"BinaryDataByteOrderMSB": None, key: "True"}
    if compressed:
        path = make_compressed(tmp_path, zlib.compress(content), **changes)
    else:
        path = make_scan(tmp_path, **changes)
        path.with_suffix(".raw").write_bytes(content)
    assert np.array_equal(read_all(path), VOXELS_ZYX)


def test_a_gzip_stream_is_read(tmp_path: Path) -> None:
    assert np.array_equal(read_all(make_compressed(tmp_path, gzip.compress(VOXELS_ZYX.tobytes()))), VOXELS_ZYX)


@pytest.mark.parametrize("box", [((0, 0, 0), (6, 5, 4)), ((1, 2, 3), (4, 3, 4)), ((0, 0, 1), (6, 5, 2))])
def test_a_box_of_a_compressed_scan_is_the_same_first_and_later(tmp_path: Path, box: Any) -> None:
    low, high = box
    scan = open_metaimage(make_compressed(tmp_path))
    expected = VOXELS_ZYX.T[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    assert np.array_equal(scan.read_box(low, high), expected)
    assert np.array_equal(scan.read_box(low, high), expected)


def test_a_box_of_a_compressed_scan_costs_little_memory(tmp_path: Path) -> None:
    voxels_ZYX = np.random.default_rng(0).integers(0, 9, (256, 256, 256)).astype(np.int16)
    image = SimpleITK.GetImageFromArray(voxels_ZYX)
    SimpleITK.WriteImage(image, str(tmp_path / "scan.mhd"), True)
    scan = open_metaimage(tmp_path / "scan.mhd")
    tracemalloc.start()
    box = scan.read_box((3, 5, 100), (9, 9, 103))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(box, voxels_ZYX.T[3:9, 5:9, 100:103])
    assert peak < voxels_ZYX.nbytes / 4


@pytest.mark.parametrize("header_size", ["7", "-1"])
def test_bytes_before_the_voxels_are_skipped(tmp_path: Path, header_size: str) -> None:
    path = make_scan(tmp_path, HeaderSize=header_size)
    path.with_suffix(".raw").write_bytes(b"7 bytes" + VOXELS_ZYX.tobytes())
    assert np.array_equal(read_all(path), VOXELS_ZYX)


def test_bytes_before_a_compressed_stream_are_skipped(tmp_path: Path) -> None:
    path = make_compressed(tmp_path, HeaderSize="7")
    zraw = path.with_suffix(".zraw")
    zraw.write_bytes(b"7 bytes" + zraw.read_bytes())
    assert np.array_equal(read_all(path), VOXELS_ZYX)


def test_a_size_with_six_digits_as_older_programs_wrote_it_is_accepted(tmp_path: Path) -> None:
    path = make_compressed(tmp_path)
    size = path.with_suffix(".zraw").stat().st_size
    assert np.array_equal(read_all(change_header(path, CompressedDataSize=f"{size * 1.000001:.6e}")), VOXELS_ZYX)


def test_a_header_with_a_byte_order_mark_and_windows_lines_is_read(tmp_path: Path) -> None:
    path = make_scan(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert np.array_equal(read_all(path), VOXELS_ZYX)


def test_a_header_with_windows_lines_before_local_voxels_is_read(tmp_path: Path) -> None:
    path = make_scan(tmp_path, ElementDataFile="LOCAL")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + VOXELS_ZYX.tobytes())
    assert np.array_equal(read_all(path), VOXELS_ZYX)


@pytest.mark.parametrize(
    ("key", "synonym"),
    [("Offset", "Origin"), ("Offset", "Position"), ("TransformMatrix", "Rotation"), ("TransformMatrix", "Orientation")],
)
def test_synonyms_mean_the_same(tmp_path: Path, key: str, synonym: str) -> None:
    path = make_scan(tmp_path)
    expected = open_metaimage(path).voxel_to_world([1, 2, 3])
    path.write_text(path.read_text(encoding="utf-8").replace(f"{key} =", f"{synonym} ="), encoding="utf-8")
    assert np.array_equal(open_metaimage(path).voxel_to_world([1, 2, 3]), expected)


def test_voxels_in_a_file_with_spaces_and_accents_are_read(tmp_path: Path) -> None:
    path = make_scan(tmp_path, ElementDataFile="Müller, scan 1.raw")
    path.with_suffix(".raw").rename(tmp_path / "Müller, scan 1.raw")
    assert np.array_equal(read_all(path), VOXELS_ZYX)


def test_opening_a_scan_reads_no_voxels(tmp_path: Path) -> None:
    """A file of 16 GB, nearly all of it a hole, gives one voxel without being read."""
    path = make_scan(tmp_path, DimSize="2048 2048 2048")
    with path.with_suffix(".raw").open("r+b") as raw:
        raw.truncate(2 * 2048**3)
        raw.seek(2 * (2048**2 * 2047 + 2048 * 3 + 5))
        raw.write(np.int16(-321).tobytes())
    assert open_metaimage(path).read_box((5, 3, 2047), (6, 4, 2048)).item() == -321


def test_missing_voxels_are_named(tmp_path: Path) -> None:
    path = make_scan(tmp_path)
    path.with_suffix(".raw").unlink()
    with pytest.raises(UserError, match=r"scan.mhd: its voxels, scan.raw, aren't beside it"):
        open_metaimage(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"12345", "scan.raw: 5 bytes, but scan.mhd promises 240"), (bytes(250), "scan.raw: 250 bytes, .* promises 240")],
)
def test_voxels_of_another_length_are_named_with_both_sizes(tmp_path: Path, content: bytes, message: str) -> None:
    path = make_scan(tmp_path)
    path.with_suffix(".raw").write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_metaimage(path)


@pytest.mark.parametrize(("num_bytes", "held"), [(-1, 239), (2, 242)])
def test_local_voxels_of_another_length_are_named_with_both_sizes(tmp_path: Path, num_bytes: int, held: int) -> None:
    path = make_scan(tmp_path, ElementDataFile="LOCAL")
    with path.open("ab") as file:
        file.write(VOXELS_ZYX.tobytes()[:num_bytes] if num_bytes < 0 else VOXELS_ZYX.tobytes() + bytes(num_bytes))
    with pytest.raises(UserError, match=f"scan.mhd: {held} bytes, but scan.mhd promises 240"):
        open_metaimage(path)


@pytest.mark.parametrize("header_size", ["7", "-1"])
def test_voxels_cut_short_after_a_header_are_named(tmp_path: Path, header_size: str) -> None:
    path = make_scan(tmp_path, HeaderSize=header_size)
    path.with_suffix(".raw").write_bytes(b"7 bytes" + VOXELS_ZYX.tobytes()[8:])
    with pytest.raises(UserError, match="scan.raw: .* bytes, but scan.mhd promises 240; it was cut short"):
        open_metaimage(path)


def test_a_compressed_file_of_another_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scan.zraw: \d+ compressed bytes, but scan.mhd promises 17"):
        open_metaimage(make_compressed(tmp_path, CompressedDataSize="17"))


@pytest.mark.parametrize(("size", "words"), [("6 5 3", "more than 180"), ("6 4 4", "more than 192"), ("6 5 5", "240")])
def test_a_stream_of_another_length_is_named_at_the_first_box(tmp_path: Path, size: str, words: str) -> None:
    scan = open_metaimage(make_compressed(tmp_path, DimSize=size))
    with pytest.raises(UserError, match=f"scan.zraw: {words} bytes when decompressed, but its header promises"):
        scan.read_box((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize("lacking", [1, 60])
def test_a_torn_stream_is_named(tmp_path: Path, lacking: int) -> None:
    packed = zlib.compress(VOXELS_ZYX.tobytes())
    scan = open_metaimage(make_compressed(tmp_path, packed[:-lacking]))
    with pytest.raises(UserError, match="scan.mhd: its voxels can't be read .*cut short: its checksum is missing"):
        scan.read_box((0, 0, 0), (1, 1, 1))


def test_a_stream_of_gigabytes_is_read_no_further_than_its_header_promises(tmp_path: Path) -> None:
    """The end of it is torn: who reads that far says so."""
    scan = open_metaimage(make_compressed(tmp_path, zlib.compress(bytes(1 << 26))[:-1]))
    with pytest.raises(UserError, match="scan.zraw: more than 240 bytes when decompressed"):
        scan.read_box((0, 0, 0), (1, 1, 1))


def test_a_damaged_stream_is_named(tmp_path: Path) -> None:
    packed = bytearray(zlib.compress(VOXELS_ZYX.tobytes(), 0))
    packed[-30] ^= 1
    scan = open_metaimage(make_compressed(tmp_path, bytes(packed)))
    with pytest.raises(UserError, match="scan.mhd: its voxels can't be read .*incorrect data check"):
        scan.read_box((0, 0, 0), (1, 1, 1))


def test_a_stream_that_could_never_hold_the_voxels_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compressed bytes can't hold the 2000000000000000000 that scan.mhd promises"):
        open_metaimage(make_compressed(tmp_path, DimSize="1000000 1000000 1000000"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TransformMatrix": "1 0 0 2 0 0 0 0 1"}, "direction matrix .* is singular"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0.6 0.8"}, "aren't at right angles"),
        ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "aren't of length 1"),
        ({"TransformMatrix": "1 0 0 1"}, "TransformMatrix = 1 0 0 1 isn't 9 numbers"),
        ({"ElementSpacing": "0.7 0 2.5"}, "three positive numbers"),
        ({"ElementSpacing": "0.7 -1 2.5"}, "three positive numbers"),
        ({"ElementSpacing": "0.7 nan 2.5"}, "three positive numbers"),
        ({"ElementSpacing": "0.7 ? 2.5"}, "ElementSpacing = 0.7 . 2.5 isn't 3 numbers"),
        ({"Offset": "0 inf 0"}, "origin .* mend it"),
        ({"DimSize": "6 5 0"}, "DimSize = 6 5 0 isn't three whole numbers"),
        ({"DimSize": "6 5 -4"}, "DimSize = 6 5 -4 isn't three whole numbers"),
        ({"DimSize": "6 5 nan"}, "DimSize = 6 5 nan isn't three whole numbers"),
        ({"DimSize": "6 5 inf"}, "DimSize = 6 5 inf isn't three whole numbers"),
        ({"DimSize": "6 5"}, "DimSize = 6 5 isn't 3 numbers"),
        ({"Offset": None, "DimSize": None}, "lacks Offset, DimSize"),
        ({"Origin": "1 2 3"}, "Offset stands there twice, as -30.5 -20 -110.25 and as 1 2 3"),
        ({"ElementType": "MET_LONG_LONG"}, "ElementType MET_LONG_LONG isn't supported; .* MET_CHAR, MET_UCHAR"),
        ({"CompressedData": "Maybe"}, "CompressedData = Maybe is neither True nor False"),
        ({"CompressedData": "True", "CompressedDataSize": "many"}, "CompressedDataSize = many isn't a number"),
        ({"CompressedData": "True", "HeaderSize": "-1"}, "HeaderSize = -1 isn't a number of bytes to skip"),
        ({"HeaderSize": "-2"}, "HeaderSize = -2 isn't a number of bytes to skip"),
        ({"HeaderSize": "1.5"}, "HeaderSize = 1.5 isn't a number of bytes to skip"),
        ({"BinaryData": "False"}, "BinaryData = False isn't supported"),
        ({"NDims": "4"}, "NDims = 4 isn't supported"),
        ({"ElementNumberOfChannels": "3"}, "ElementNumberOfChannels = 3 isn't supported"),
        ({"ElementDataFile": ""}, "ElementDataFile = .* isn't supported"),
        ({"ElementDataFile": "LIST"}, "ElementDataFile = LIST isn't supported"),
        ({"ElementDataFile": "scan%03d.raw 1 4 1"}, "ElementDataFile = scan%03d.raw 1 4 1 isn't supported"),
        ({"ElementDataFile": "../scan.raw"}, "ElementDataFile = ../scan.raw lies outside the header's folder"),
        ({"ElementDataFile": "below/../../scan.raw"}, "lies outside the header's folder"),
        ({"ElementDataFile": "/scans/scan.raw"}, "ElementDataFile = /scans/scan.raw lies outside"),
        ({"ElementDataFile": r"C:\scans\scan.raw"}, "lies outside the header's folder"),
    ],
)
def test_a_bad_header_is_named_in_one_line(tmp_path: Path, changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(UserError, match=message) as mistake:
        open_metaimage(make_scan(tmp_path, **changes))
    assert "scan.mhd" in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x80", bytes(range(256)) * 400])
def test_a_header_that_is_not_text_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scan.mhd").write_bytes(content)
    with pytest.raises(UserError, match="scan.mhd: isn't a MetaImage header"):
        open_metaimage(tmp_path / "scan.mhd")


def test_an_empty_header_is_named(tmp_path: Path) -> None:
    (tmp_path / "scan.mhd").touch()
    with pytest.raises(UserError, match="scan.mhd: the header lacks NDims, TransformMatrix"):
        open_metaimage(tmp_path / "scan.mhd")
