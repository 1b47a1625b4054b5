"""MetaImage files, the form of LUNA16: .mhd beside .raw or .zraw, or .mha with the voxels inside."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strongscale.common.errors import UserError
from strongscale.common.files import atomic, write_text
from strongscale.data.scans.compressed import CompressedVoxels
from strongscale.data.scans.scan import Scan, Voxels

ELEMENT_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
SYNONYMS = {
    "Origin": "Offset",
    "Position": "Offset",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
NUMBERS = {"TransformMatrix": 9, "Offset": 3, "ElementSpacing": 3, "DimSize": 3}
NEEDED = ("NDims", *NUMBERS, "ElementType", "ElementDataFile")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
MAX_HEADER_BYTES = 1 << 16
MAX_RATIO = 1100  # zlib's best is about 1030


@dataclass(frozen=True)
class MappedVoxels:
    """Voxels of a plain file, mapped; the system is told of a box before it is read, row by row, from a slow disk."""

    whole: np.memmap[Any, Any]
    path: Path

    def __getitem__(self, box: tuple[slice, slice, slice], /) -> NDArray[Any]:
        """The voxels of a box."""
        if all(isinstance(part, slice) for part in box):
            self._announce(*box[1:])
        part: NDArray[Any] = self.whole[box]
        return part

    def _announce(self, rows: slice, slices: slice) -> None:
        if not hasattr(os, "posix_fadvise"):
            return
        size_i, size_j, size_k = self.whole.shape
        row_bytes = size_i * self.whole.itemsize
        first, beyond, _ = rows.indices(size_j)
        length = (beyond - first) * row_bytes
        with self.path.open("rb") as file:
            for k in range(*slices.indices(size_k)):
                position = int(self.whole.offset) + (k * size_j + first) * row_bytes
                os.posix_fadvise(file.fileno(), position, length, os.POSIX_FADV_WILLNEED)


def open_metaimage(path: Path) -> Scan:
    """Open an .mhd or .mha file without reading its voxels, and check that they are there and whole."""
    values, num_header_bytes = _read_values(path)
    _refuse_unsupported(path, values)
    numbers = {key: _numbers(path, key, values[key], count) for key, count in NUMBERS.items()}
    if (numbers["DimSize"] < 1).any() or not all(size.is_integer() for size in numbers["DimSize"].tolist()):
        raise UserError(f"{path}: DimSize = {values['DimSize']} isn't three whole numbers; mend the header")
    size_i, size_j, size_k = (int(size) for size in numbers["DimSize"])
    big_endian = _boolean(path, values, "BinaryDataByteOrderMSB")
    dtype = np.dtype(ELEMENT_TYPES[values["ElementType"]]).newbyteorder(">" if big_endian else "<")
    scan = Scan(
        path=path,
        shape=(size_i, size_j, size_k),
        spacing_mm=numbers["ElementSpacing"],
        origin_mm=numbers["Offset"],
        direction=numbers["TransformMatrix"].reshape(3, 3).T,  # a row of the file is the direction of one grid axis
        voxels=_find_voxels(path, values, num_header_bytes, dtype, (size_i, size_j, size_k)),
    )
    scan.require_right_angles()
    return scan


def write_scan(
    path: Path,
    voxels_ZYX: NDArray[np.int16],
    spacing_mm: NDArray[np.float64],
    origin_mm: NDArray[np.float64],
    direction: NDArray[np.float64],
) -> None:
    """Write `path` (.mhd) and its .raw; the header comes last, so that a header means a whole scan.

    `spacing_mm` and `origin_mm` are in the order x, y, z; column i of `direction` is the direction of grid axis i.
    """
    raw = path.with_suffix(".raw")
    with atomic(raw) as temporary:
        voxels_ZYX.astype("<i2").tofile(temporary)
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": _text(direction.T),
        "Offset": _text(origin_mm),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": _text(spacing_mm),
        "DimSize": " ".join(str(size) for size in voxels_ZYX.shape[::-1]),
        "ElementType": "MET_SHORT",
        "ElementDataFile": raw.name,
    }
    write_text(path, "".join(f"{key} = {value}\n" for key, value in lines.items()))


def _read_values(path: Path) -> tuple[dict[str, str], int]:
    """The header's entries, and how many bytes it takes: up to and with the line of ElementDataFile, its last."""
    with path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES)
    last = re.search(rb"^[ \t]*ElementDataFile[ \t]*=[^\n]*\n?", start, re.MULTILINE)
    num_header_bytes = last.end() if last else len(start)
    try:
        text = start[:num_header_bytes].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: isn't a MetaImage header, which is text; copy the scan anew") from None
    values: dict[str, str] = {}
    for key, value in _pairs(text):
        if values.get(key, value) != value:
            raise UserError(f"{path}: {key} stands there twice, as {values[key]} and as {value}; mend the header")
        values[key] = value
    missing = [key for key in NEEDED if key not in values]
    if missing:
        raise UserError(f"{path}: the header lacks {', '.join(missing)}; mend it or copy the scan anew")
    return values, num_header_bytes


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            yield SYNONYMS.get(key.strip(), key.strip()), value.strip()


def _refuse_unsupported(path: Path, values: dict[str, str]) -> None:
    if values["ElementType"] not in ELEMENT_TYPES:
        raise UserError(
            f"{path}: ElementType {values['ElementType']} isn't supported; write the scan anew with one of "
            f"{', '.join(ELEMENT_TYPES)}"
        )
    readable = {"NDims": ("3",), "BinaryData": ("true", "1"), "ElementNumberOfChannels": ("1",)}
    for key, allowed in readable.items():
        if key in values and values[key].lower() not in allowed:
            raise UserError(
                f"{path}: {key} = {values[key]} isn't supported; write the scan anew with {key} = {allowed[0].title()}"
            )
    name = values["ElementDataFile"]
    if not name or name.split()[0] == "LIST" or "%" in name:
        raise UserError(f"{path}: ElementDataFile = {name} isn't supported; write the voxels to one file")
    for kind in (PurePosixPath(name), PureWindowsPath(name)):
        if kind.is_absolute() or kind.drive or ".." in kind.parts:
            raise UserError(
                f"{path}: ElementDataFile = {name} lies outside the header's folder; put it beside the header"
            )


def _find_voxels(
    path: Path, values: dict[str, str], num_header_bytes: int, dtype: np.dtype[np.generic], shape: tuple[int, int, int]
) -> Voxels:
    local = values["ElementDataFile"].lower() == "local"
    data = path if local else path.parent / values["ElementDataFile"]
    if not data.is_file():
        raise UserError(f"{path}: its voxels, {values['ElementDataFile']}, aren't beside it; copy that file too")
    promised = math.prod(shape) * dtype.itemsize
    found = data.stat().st_size
    skipped = _numbers(path, "HeaderSize", values.get("HeaderSize", "0"), 1).item()
    compressed = _boolean(path, values, "CompressedData")
    if not skipped.is_integer() or skipped < -1 or (skipped == -1 and compressed):
        raise UserError(f"{path}: HeaderSize = {values['HeaderSize']} isn't a number of bytes to skip; mend the header")
    # -1: the voxels are what the file ends with
    offset = found - promised if skipped == -1 else int(skipped) or (num_header_bytes if local else 0)
    if compressed:
        _check_compressed_size(path, values, data, found - offset)
        if promised > MAX_RATIO * (found - offset):
            raise UserError(
                f"{data}: {found - offset} compressed bytes can't hold the {promised} that {path.name} promises; "
                "copy both anew"
            )
        return CompressedVoxels(data, offset, dtype, shape)
    held = found - max(offset, 0)
    if held < promised:
        raise UserError(f"{data}: {held} bytes, but {path.name} promises {promised}; it was cut short, copy it anew")
    if held > promised and not skipped:
        raise UserError(
            f"{data}: {held} bytes, but {path.name} promises {promised}; mend the header's DimSize or ElementType"
        )
    return MappedVoxels(np.memmap(data, dtype=dtype, mode="r", offset=offset, shape=shape, order="F"), data)


def _check_compressed_size(path: Path, values: dict[str, str], data: Path, held: int) -> None:
    text = values.get("CompressedDataSize")
    if text is None:
        return
    promised = _numbers(path, "CompressedDataSize", text, 1).item()
    tolerance = 1e-5 if "e" in text.lower() else 0.0  # older programs wrote it with six digits, as 1.26380e+07
    if not math.isclose(held, promised, rel_tol=tolerance):
        raise UserError(
            f"{data}: {held} compressed bytes, but {path.name} promises {text}; it was cut short or isn't this "
            "header's, copy both anew"
        )


def _boolean(path: Path, values: dict[str, str], key: str) -> bool:
    text = values.get(key, "False")
    if text.lower() not in BOOLEANS:
        raise UserError(f"{path}: {key} = {text} is neither True nor False; mend the header")
    return BOOLEANS[text.lower()]


def _numbers(path: Path, key: str, text: str, count: int) -> NDArray[np.float64]:
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count:
        noun = "a number" if count == 1 else f"{count} numbers"
        raise UserError(f"{path}: {key} = {text} isn't {noun}; mend the header")
    return numbers


def _text(numbers: NDArray[np.float64]) -> str:
    return " ".join(f"{number:.10g}" for number in numbers.ravel())
