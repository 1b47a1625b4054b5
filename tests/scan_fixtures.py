"""Tiny scans in every form, made on the fly."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from strongscale.data.scans import Scan
from strongscale.data.scans.metaimage import write_scan

FORMS = [".mhd", ".zraw", ".mha", ".nii", ".nii.gz", "dicom"]


def write_dicom(
    folder: Path, scan: Scan, series: str = "1.2.3", study: str = "1.2", compressed: str | None = None, **changes: Any
) -> Path:
    """The scan as a folder of slices, in an order of names that isn't theirs; `changes` are the same in each slice."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(scan.shape[2]):
        header = pydicom.Dataset()
        header.file_meta = pydicom.dataset.FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
        header.StudyInstanceUID, header.SeriesInstanceUID, header.Modality = study, series, "CT"
        header.ImageOrientationPatient = [round(float(number), 9) for number in scan.direction[:, :2].T.ravel()]
        header.ImagePositionPatient = [round(float(number), 6) for number in scan.voxel_to_world([0, 0, k])]
        header.PixelSpacing = [float(scan.spacing_mm[1]), float(scan.spacing_mm[0])]
        header.SliceThickness = 99.0  # says nothing about where slices lie
        header.Columns, header.Rows = scan.shape[:2]
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
        header.RescaleSlope, header.RescaleIntercept = 1, 0
        header.PixelData = np.ascontiguousarray(scan.voxels[:, :, k].T, dtype="<i2").tobytes()
        for keyword, value in changes.items():
            setattr(header, keyword, value)
        if compressed:
            header.compress(compressed, generate_instance_uid=False)
        header.save_as(folder / f"{k * 7 % 10} {k}.dcm", enforce_file_format=True)
    return folder


def write_form(folder: Path, scan: Scan, form: str) -> Path:
    """The scan in one of `FORMS`; the path to open. `scan.voxels` are 16-bit numbers in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    if form == "dicom":
        return write_dicom(folder / "series", scan)
    voxels_ZYX: NDArray[np.int16] = np.asarray(scan.voxels).transpose(2, 1, 0)
    path = folder / f"scan{'.mhd' if form == '.zraw' else form}"
    if form == ".mhd":
        write_scan(path, voxels_ZYX, scan.spacing_mm, scan.origin_mm, scan.direction)
        return path
    image = SimpleITK.GetImageFromArray(voxels_ZYX)
    image.SetSpacing(scan.spacing_mm.tolist())
    image.SetOrigin(scan.origin_mm.tolist())
    image.SetDirection(scan.direction.ravel().tolist())
    SimpleITK.WriteImage(image, str(path), form in (".zraw", ".mha"))
    return path


def edit_slice(path: Path, **changes: Any) -> None:
    """Change a slice's header; None removes an entry."""
    header = pydicom.dcmread(path)
    for keyword, value in changes.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    header.save_as(path)
