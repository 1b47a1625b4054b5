"""MetaImage files (.mhd and .raw), the form of LUNA16: read the header, write a scan."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from strongscale.errors import UserError
from strongscale.files import atomic, write_text

ELEMENT_TYPES = {"MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_FLOAT": "f4"}
SYNONYMS = {
    "Origin": "Offset",
    "Position": "Offset",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}
NUMBERS = {"TransformMatrix": 9, "Offset": 3, "ElementSpacing": 3, "DimSize": 3}
NEEDED = ("NDims", *NUMBERS, "ElementType", "ElementDataFile")


@dataclass(frozen=True)
class Header:
    """What an .mhd file says. Axes are in the order x, y, z of the grid; x runs fastest in the file."""

    raw: Path
    dtype: np.dtype[np.generic]
    shape: tuple[int, int, int]
    spacing_mm: NDArray[np.float64]
    origin_mm: NDArray[np.float64]
    direction: NDArray[np.float64]

    @property
    def num_bytes(self) -> int:
        """Bytes of the voxels, as the header promises them."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def read_header(path: Path) -> Header:
    """Read an .mhd file and check that its .raw is there and whole."""
    values = _read_values(path)
    _refuse_unsupported(path, values)
    kind = ELEMENT_TYPES.get(values["ElementType"])
    if kind is None:
        raise UserError(f"{path}: ElementType {values['ElementType']} isn't supported; use {', '.join(ELEMENT_TYPES)}")
    numbers = {key: _numbers(path, key, values[key], count) for key, count in NUMBERS.items()}
    if (numbers["DimSize"] < 1).any() or (numbers["DimSize"] % 1).any():
        raise UserError(f"{path}: DimSize = {values['DimSize']} isn't three whole numbers; mend the header")
    size_x, size_y, size_z = (int(size) for size in numbers["DimSize"])
    big_endian = values.get("BinaryDataByteOrderMSB", "False").lower() == "true"
    header = Header(
        raw=path.parent / values["ElementDataFile"],
        dtype=np.dtype(kind).newbyteorder(">" if big_endian else "<"),
        shape=(size_x, size_y, size_z),
        spacing_mm=numbers["ElementSpacing"],
        origin_mm=numbers["Offset"],
        direction=numbers["TransformMatrix"].reshape(3, 3).T,  # a row of the file is the direction of one grid axis
    )
    _check_raw(path, header)
    return header


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


def _read_values(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy the scan anew") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: isn't a MetaImage header, which is text; copy the scan anew") from None
    pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    values = {SYNONYMS.get(key.strip(), key.strip()): value.strip() for key, value in pairs}
    missing = [key for key in NEEDED if key not in values]
    if missing:
        raise UserError(f"{path}: the header lacks {', '.join(missing)}; mend it or copy the scan anew")
    return values


def _refuse_unsupported(path: Path, values: dict[str, str]) -> None:
    readable = {
        "NDims": ("3",),
        "BinaryData": ("true",),
        "CompressedData": ("false",),
        "HeaderSize": ("0",),
        "ElementNumberOfChannels": ("1",),
    }
    for key, allowed in readable.items():
        if key in values and values[key].lower() not in allowed:
            raise UserError(
                f"{path}: {key} = {values[key]} isn't supported; write the scan anew with {key} = {allowed[0].title()}"
            )
    if values["ElementDataFile"].split()[0:1] in (["LOCAL"], ["LIST"], []):
        raise UserError(
            f"{path}: ElementDataFile = {values['ElementDataFile']} isn't supported; write the voxels to one .raw file"
        )


def _numbers(path: Path, key: str, text: str, count: int) -> NDArray[np.float64]:
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count:
        raise UserError(f"{path}: {key} = {text} isn't {count} numbers; mend the header")
    return numbers


def _check_raw(path: Path, header: Header) -> None:
    if not header.raw.is_file():
        raise UserError(f"{path}: its voxels, {header.raw.name}, aren't beside it; copy that file too")
    found = header.raw.stat().st_size
    if found < header.num_bytes:
        raise UserError(
            f"{header.raw}: {found} bytes, but {path.name} promises {header.num_bytes}; it was cut short, copy it anew"
        )


def _text(numbers: NDArray[np.float64]) -> str:
    return " ".join(f"{number:.10g}" for number in numbers.ravel())
