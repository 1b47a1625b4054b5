"""DICOM series: the slices of one scan, a file each, put in order by where they lie in the patient."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from strongscale.common.errors import UserError
from strongscale.data.scans.scan import Scan, blamed_on

if TYPE_CHECKING:
    import pydicom

TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
]
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENDINGS = (".dcm", ".ima", ".dicom")
EVEN_MM, EVEN_FRACTION = 0.01, 0.1  # how much gaps may differ, whichever is more: positions come rounded to 0.1 mm


@dataclass(frozen=True)
class Slice:
    """One slice's header. Axis i runs along a row of pixels, j along a column."""

    path: Path
    shape: tuple[int, int]
    spacing_mm: NDArray[np.float64]
    position_mm: NDArray[np.float64]
    axes: NDArray[np.float64]  # (2, 3): the directions of i and j in the patient
    slope: float
    intercept: float
    unused_bits: int

    def read(self) -> NDArray[Any]:
        """Its intensities (J, I), in HU: whole numbers if they fit, else floats."""
        from pydicom.pixels.utils import pixel_array

        with blamed_on(self.path, "its pixels can't be read"):
            stored = pixel_array(self.path)
        if stored.shape != self.shape[::-1]:
            raise UserError(f"{self.path}: {stored.shape[::-1]} pixels, but its header says {self.shape}; copy it anew")
        # Bits above those that count may hold an overlay; shifting there and back also keeps the sign.
        stored = (stored << self.unused_bits) >> self.unused_bits if self.unused_bits else stored
        if self.slope == 1 and self.intercept.is_integer() and stored.dtype.itemsize <= 2:
            return stored.astype(np.int32) + int(self.intercept)
        return (stored * self.slope + self.intercept).astype(np.float32)


@dataclass(frozen=True)
class SliceVoxels:
    """Voxels of a series; no slices are decoded but those asked for."""

    slices: tuple[Slice, ...]

    def __getitem__(self, box: tuple[slice, slice, slice]) -> Any:
        """The voxels of a box."""
        i, j, k = box
        planes = [plane.read()[j, i] for plane in self.slices[k]]
        return np.stack(planes).transpose(2, 1, 0) if planes else np.empty((i.stop - i.start, j.stop - j.start, 0))


def is_dicom(path: Path) -> bool:
    """Whether a file calls itself DICOM: by its ending, or by its 129th byte if it has none (or a number: a uid)."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix and not path.suffix[1:].isdigit():
        return path.suffix.lower() in ENDINGS
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def list_series(folder: Path) -> "tuple[dict[str, dict[Path, pydicom.Dataset]], list[str]]":
    """The images of a folder (not of those below) by SeriesInstanceUID, with their headers; and what can't be read."""
    series: dict[str, dict[Path, Any]] = defaultdict(dict)
    torn: list[str] = []
    for path in sorted(folder.iterdir()):
        try:
            with blamed_on(path, "can't be read as DICOM", "copy it anew or remove it"):
                if not is_dicom(path):
                    continue
                import pydicom  # where there is no DICOM file it needn't be there

                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS, force=True)
                seriesuid = header.get("SeriesInstanceUID")
                is_image = "Rows" in header or header.get("SOPClassUID") == CT_IMAGE
        except UserError as fault:
            torn.append(str(fault))
            continue
        if seriesuid and is_image:
            series[str(seriesuid)][path] = header
        elif not seriesuid and path.suffix.lower() in ENDINGS:
            torn.append(f"{path}: no SeriesInstanceUID in it; copy it anew or remove it")
    return dict(series), torn


def open_dicom(path: Path) -> Scan:
    """Open a series by its folder, if it is the only one there, or by one of its files; only headers are read."""
    series, torn = list_series(path if path.is_dir() else path.parent)
    if torn:
        raise UserError(torn[0])
    if path.is_dir() and len(series) != 1:
        raise UserError(f"{path}: {len(series)} DICOM series there; name a file of the one to use")
    headers = next((headers for headers in series.values() if path.is_dir() or path in headers), None)
    if headers is None:
        raise UserError(f"{path}: isn't a DICOM image; use a slice of a CT series")
    slices = [_read_slice(file, header) for file, header in headers.items() if not _is_localizer(header)]
    if len(slices) < 2:
        raise UserError(f"{path}: {len(slices)} slices; a scan needs two or more, copy the whole series")
    return _stack(path, slices)


def _is_localizer(header: "pydicom.Dataset") -> bool:
    """Whether a slice is the overview that scanners put before, across and not along the patient."""
    return "LOCALIZER" in (header.get("ImageType") or ())


def _read_slice(path: Path, header: "pydicom.Dataset") -> Slice:
    if (modality := header.get("Modality") or "CT") != "CT":
        raise UserError(f"{path}: modality {modality}, not CT: its intensities aren't HU; use a CT series")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise UserError(f"{path}: several frames in one DICOM file aren't supported; export one file a slice")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise UserError(f"{path}: a colour image; use the CT series itself")
    rows, columns, allocated, stored = (
        int(_numbers(path, header, keyword, 1).item()) for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored")
    )
    if not (0 < stored <= allocated and int(header.get("HighBit", stored - 1)) == stored - 1):
        raise UserError(
            f"{path}: BitsStored {stored} and HighBit {header.get('HighBit')} don't go together; export it anew"
        )
    axes = _numbers(path, header, "ImageOrientationPatient", 6).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise UserError(
            f"{path}: ImageOrientationPatient {axes.ravel()} isn't two axes at right angles; export it anew"
        )
    spacing_mm = _numbers(path, header, "PixelSpacing", 2)[::-1]  # DICOM's order: between rows, then columns
    if (spacing_mm <= 0).any():
        raise UserError(f"{path}: PixelSpacing {spacing_mm[::-1]} mm; two positive numbers are needed, export it anew")
    slope = _numbers(path, header, "RescaleSlope", 1).item()
    if slope == 0:
        raise UserError(f"{path}: RescaleSlope is 0, which leaves no image; export it anew")
    return Slice(
        path=path,
        shape=(columns, rows),
        spacing_mm=spacing_mm,
        position_mm=_numbers(path, header, "ImagePositionPatient", 3),
        axes=axes,
        slope=slope,
        intercept=_numbers(path, header, "RescaleIntercept", 1).item(),
        unused_bits=allocated - stored,
    )


def _numbers(path: Path, header: "pydicom.Dataset", keyword: str, count: int) -> NDArray[np.float64]:
    try:
        value = header.get(keyword)
        numbers = np.array([] if value is None else value, dtype=float).ravel()
    except Exception:  # pydicom converts a value where it is asked for, and may raise anything for a torn one
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        noun = "a number" if count == 1 else f"{count} numbers"
        raise UserError(f"{path}: {keyword} is missing or isn't {noun}; copy the series anew or export it anew")
    return numbers


def _stack(path: Path, slices: list[Slice]) -> Scan:
    """The slices in order along their common normal. Tilted gantries shift them sideways: `direction` is oblique."""
    first = slices[0]
    for other in slices[1:]:
        same = other.shape == first.shape and np.allclose(other.spacing_mm, first.spacing_mm, rtol=1e-3)
        if not (same and np.allclose(other.axes, first.axes, atol=1e-4)):
            raise UserError(
                f"{other.path}: another size, spacing or orientation than {first.path.name}; a series needs slices "
                "alike, export it anew"
            )
    normal = np.cross(*first.axes)
    slices = sorted(slices, key=lambda slice: float(slice.position_mm @ normal))
    positions_mm = np.array([slice.position_mm for slice in slices])
    _check_gaps(slices, positions_mm @ normal)
    step_mm = (positions_mm[-1] - positions_mm[0]) / (len(slices) - 1)
    even_mm = positions_mm[0] + np.arange(len(slices))[:, None] * step_mm
    gap_mm = float(np.linalg.norm(step_mm))
    drifts_mm = np.linalg.norm(positions_mm - even_mm, axis=1)
    if drifts_mm.max() > max(0.1 * gap_mm, 10 * EVEN_MM):
        raise UserError(
            f"{slices[int(drifts_mm.argmax())].path}: {drifts_mm.max():.2f} mm from where even steps of {gap_mm:.4g} mm "
            "would put it; resample the series to even slices"
        )
    return Scan(
        path=path,
        shape=(*first.shape, len(slices)),
        spacing_mm=np.array([*first.spacing_mm, gap_mm]),
        origin_mm=positions_mm[0],
        direction=np.column_stack([*first.axes, step_mm / gap_mm]),
        voxels=SliceVoxels(tuple(slices)),
    )


def _check_gaps(slices: list[Slice], heights_mm: NDArray[np.float64]) -> None:
    """Refuse slices that lie in one place, are missing, or are unevenly spaced; `heights_mm` (K) are sorted."""
    gaps_mm = np.diff(heights_mm)
    usual_mm = float(np.median(gaps_mm))
    for below, above, gap_mm in zip(slices, slices[1:], gaps_mm, strict=False):
        between = f"{below.path} and {above.path.name}"
        if gap_mm < EVEN_MM:
            raise UserError(f"{between}: two slices in the same place; keep one of the two")
        if abs(gap_mm - usual_mm) > max(EVEN_MM, EVEN_FRACTION * usual_mm):
            raise UserError(
                f"{between}: {gap_mm:.4g} mm apart, but the series' slices are {usual_mm:.4g} mm apart; a slice is "
                "missing or too many, copy the series anew"
            )
