"""Damaged scans: whatever is wrong with one costs its own nodules, in one line that names it, and nothing else."""

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scan_fixtures import write_form

from strongscale.common.errors import UserError
from strongscale.data import cubes, scans
from strongscale.data.scans import Scan, open_scan
from strongscale.settings.datasets import WHOLE, Cubes

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
SETTINGS = Cubes(voxels=4, minimum_readers=3)
VOXELS = np.random.default_rng(0).integers(-1000, 400, (20, 18, 24)).astype(np.int16)
SMALL = Scan(Path("small"), VOXELS.shape, np.ones(3), np.zeros(3), np.eye(3), VOXELS)


def cut(folder: Path, seriesuid: str = "scan") -> list[Any]:
    """What becomes of a nodule of a folder's one scan."""
    (folder / "annotations.csv").write_text(f"{HEADER}{seriesuid},9,9,4,5\n")
    return list(cubes.cut_part(folder, WHOLE, range(1), SETTINGS))


def flip(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


@pytest.mark.parametrize(("form", "name"), [(".nii.gz", "scan.nii.gz"), (".zraw", "scan.zraw"), (".mha", "scan.mha")])
def test_one_flipped_bit_of_a_compressed_scan_is_refused_or_changes_nothing(
    tmp_path: Path, form: str, name: str
) -> None:
    write_form(tmp_path, SMALL, form)
    content = (tmp_path / name).read_bytes()
    ((_, whole),) = cut(tmp_path)
    first = content.index(b"LOCAL\n") + 6 if form == ".mha" else 0
    refused = 0
    for position in [*range(first, first + 12), *np.linspace(first + 12, len(content) - 1, 60).astype(int).tolist()]:
        (tmp_path / name).write_bytes(content)
        flip(tmp_path / name, position, position % 8)
        ((row, cube),) = cut(tmp_path)
        assert cube is None or np.array_equal(cube.voxels_ZYX, whole.voxels_ZYX), position
        if cube is None:
            refused += 1
            assert row["reason"] == "scan unreadable"
            assert "scan." in row["detail"]
    assert refused >= 55


def test_a_compressed_nifti_is_checked_once_and_not_once_a_nodule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_form(tmp_path, SMALL, ".nii.gz")
    opened = open_scan(path)
    monkeypatch.setattr(gzip, "open", None)
    assert np.array_equal(opened.read_box((0, 0, 0), (3, 3, 3)), VOXELS[:3, :3, :3])


@pytest.mark.parametrize("content", [b"\0", bytes(1 << 22)])
def test_a_compressed_nifti_with_more_than_its_header_promises_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write_form(tmp_path, SMALL, ".nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + content))
    with pytest.raises(UserError, match=r"scan\.nii\.gz: more than 17632 bytes when decompressed"):
        open_scan(path)


def test_a_compressed_nifti_of_several_members_is_read(tmp_path: Path) -> None:
    path = write_form(tmp_path, SMALL, ".nii.gz")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    assert np.array_equal(open_scan(path).read_box((0, 0, 0), SMALL.shape), VOXELS)


def test_a_nifti_with_more_than_its_header_promises_is_refused(tmp_path: Path) -> None:
    path = write_form(tmp_path, SMALL, ".nii")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"scan\.nii: more than 17632 bytes, which its header promises"):
        open_scan(path)


# --- what readers raise


def test_whatever_a_reader_raises_costs_that_scan_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_form(tmp_path, SMALL, ".mhd")
    for fault in (
        KeyError("x"),
        OverflowError("too\nlarge"),
        MemoryError(),
        RecursionError("deep"),
        struct.error("short"),
    ):
        monkeypatch.setitem(scans.OPENERS, ".mhd", raiser(fault))
        ((row, cube),) = cut(tmp_path)
        assert cube is None
        assert type(fault).__name__ in row["detail"]
        assert str(tmp_path / "scan.mhd") in row["detail"]
        assert "\n" not in row["detail"]


def test_our_own_mistake_keeps_its_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_form(tmp_path, SMALL, ".mhd")
    monkeypatch.setitem(scans.OPENERS, ".mhd", raiser(AssertionError("never so")))
    ((_, cube),) = cut(tmp_path)
    assert cube is None
    assert "Traceback" in caplog.text
    caplog.clear()
    monkeypatch.setitem(scans.OPENERS, ".mhd", raiser(KeyError("x")))
    cut(tmp_path)
    assert "Traceback" not in caplog.text


def raiser(fault: Exception) -> Any:
    """Opens a scan as a reader does that meets something unforeseen."""

    def open_it(path: Path) -> Scan:
        raise fault

    return open_it


WORDS = [b"0", b"-1", b"1e9", b"1e-30", b"nan", b"inf", b"99999999999999999999", b"1e400", b"x", b"", b"3 3", b"\xff"]


def damages(content: bytes, num_header_bytes: int, count: int, text: bool) -> Iterator[bytes]:
    """So many damaged versions of a file, most of them in its header: bits, bytes, extremes, lengths, and words."""
    random = np.random.default_rng(len(content))
    for number in range(count):
        damaged = bytearray(content)
        place = int(random.integers(0, num_header_bytes))
        kind = number % (5 if text else 4)
        if kind == 0:
            damaged[place] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            damaged[place : place + 4] = random.bytes(4)
        elif kind == 2:
            damaged[place : place + 4] = [b"\xff\xff\xff\x7f", b"\0\0\0\x80", bytes(4), b"\0\0\xc0\x7f"][
                number // 4 % 4
            ]
        elif kind == 3:
            damaged = damaged[:place] + (damaged[place + int(random.integers(1, 9)) :] if number % 8 else b"")
        else:
            values = [line.partition(b" = ")[2] for line in content[:num_header_bytes].splitlines()]
            numbers = [word for value in values for word in value.split()]
            word = numbers[int(random.integers(0, len(numbers)))]
            damaged = bytearray(content.replace(word, WORDS[int(random.integers(0, len(WORDS)))], 1))
        yield bytes(damaged)


@pytest.mark.parametrize("form", [".mhd", ".zraw", ".mha", ".nii", ".nii.gz", "dicom"])
def test_no_damage_of_a_header_ends_the_cutting(tmp_path: Path, form: str) -> None:
    few = Scan(SMALL.path, (20, 18, 8), SMALL.spacing_mm, SMALL.origin_mm, SMALL.direction, VOXELS[:, :, :8])
    path = write_form(tmp_path, few, form)
    if form == "dicom":
        path = min(path.iterdir())
    packed = form == ".nii.gz"
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    num_header_bytes = {".nii": 352, ".nii.gz": 352, "dicom": 900}.get(form, 0)
    num_header_bytes = num_header_bytes or content.index(b"\n", content.index(b"ElementDataFile")) + 1
    outcomes = set()
    for damaged in damages(content, num_header_bytes, 60, text=form in (".mhd", ".zraw", ".mha")):
        path.write_bytes(gzip.compress(damaged, 1) if packed else damaged)
        try:
            told = cut(tmp_path, "1.2.3" if form == "dicom" else "scan")
        except UserError as fault:  # no scan is left in the folder
            assert "no scans there" in str(fault)
            continue
        for row, cube in told:
            assert (cube is None) == (row["state"] == "dropped")
            assert "\n" not in row.get("detail", "")
        outcomes |= {row["state"] for row, _ in told}
    assert "dropped" in outcomes
