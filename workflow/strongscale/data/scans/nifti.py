"""NIfTI scans (.nii, .nii.gz), through nibabel, which reads and scales no more than the box it is asked for."""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strongscale.common.errors import UserError
from strongscale.common.files import atomic
from strongscale.data.scans.scan import Scan, blamed_on

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class NiftiVoxels:
    """Voxels of a NIfTI file whose axes after the third, if any, have one entry."""

    proxy: Any

    def __getitem__(self, box: tuple[slice, slice, slice]) -> Any:
        """The voxels of a box."""
        return self.proxy[(*box, *[0] * (self.proxy.ndim - 3))]


def open_nifti(path: Path) -> Scan:
    """Open a NIfTI file without keeping its voxels; a compressed one is read to its end, where its checksum stands."""
    import nibabel  # where there is no NIfTI file it needn't be there

    with blamed_on(path, "can't be read as NIfTI"):
        image: Any = nibabel.load(path)
        _refuse_unsupported(path, image)
        _refuse_zero_spacing(path, image)
    with blamed_on(path, "its voxels can't be read"):
        _check_length(path, image)
    axes_mm = RAS_TO_LPS @ image.affine[:3, :3]
    spacing_mm = np.linalg.norm(axes_mm, axis=0)
    direction = axes_mm / np.where(spacing_mm > 0, spacing_mm, 1)
    voxels = NiftiVoxels(image.dataobj)
    scan = Scan(path, image.shape[:3], spacing_mm, RAS_TO_LPS @ image.affine[:3, 3], direction, voxels)
    scan.require_right_angles()
    return scan


def _refuse_unsupported(path: Path, image: Any) -> None:
    import nibabel

    if not isinstance(image, nibabel.Nifti1Image):  # NIfTI-2 is a kind of it
        raise UserError(f"{path}: can't be read as NIfTI (it is {type(image).__name__}); write the scan anew")
    header: Any = image.header
    proxy: Any = image.dataobj
    if len(image.shape) < 3 or any(size != 1 for size in image.shape[3:]):
        raise UserError(f"{path}: {len(image.shape)} dimensions {image.shape}; a scan of three is needed")
    if proxy.dtype.kind not in "iuf":
        raise UserError(f"{path}: voxels of kind {proxy.dtype}; write the scan anew with one number a voxel")
    if not (header["sform_code"] or header["qform_code"]):
        raise UserError(
            f"{path}: neither sform nor qform says where it lies in the patient (both codes are 0); convert the scan "
            "anew from its DICOM files"
        )
    if not np.isfinite(image.affine).all():
        raise UserError(f"{path}: its affine holds NaN or infinity; convert the scan anew from its DICOM files")
    unit = header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise UserError(f"{path}: its unit of length is {unit}; write the scan anew in mm")


def _refuse_zero_spacing(path: Path, image: Any) -> None:
    """Look at the header as it is in the file: nibabel takes 0 for 1 mm."""
    import nibabel

    with nibabel.openers.ImageOpener(str(path)) as file:
        header = type(image.header).from_fileobj(file, check=False)
    spacing_mm = header["pixdim"][1:4].astype(float)
    if not (np.isfinite(spacing_mm).all() and (spacing_mm != 0).all()):
        raise UserError(f"{path}: pixdim {spacing_mm} mm; three positive numbers are needed, mend it")


def _check_length(path: Path, image: Any) -> None:
    """Refuse a file of another length than its header promises; of a compressed one, the checksums as well.

    Header and voxels are one stream: nothing of it may count before that.
    """
    promised = image.dataobj.offset + math.prod(image.shape) * image.dataobj.dtype.itemsize
    if path.suffix != ".gz":
        found, how = path.stat().st_size, "bytes"
    else:
        found, how = 0, "bytes when decompressed"
        with gzip.open(path) as stream:
            while found <= promised and (piece := stream.read(PIECE_BYTES)):
                found += len(piece)
    if found > promised:
        raise UserError(
            f"{path}: more than {promised} {how}, which its header promises; mend the header or copy the scan anew"
        )
    if found < promised:
        raise UserError(f"{path}: {found} {how}, but its header promises {promised}; it was cut short, copy it anew")


def ras_affine(origin_mm: NDArray[np.float64], axes_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """NIfTI's affine (4, 4) of a grid in LPS; column i of `axes_mm` is a step along grid axis i."""
    affine = np.eye(4)
    affine[:3, :3] = RAS_TO_LPS @ axes_mm
    affine[:3, 3] = RAS_TO_LPS @ origin_mm
    return affine


def write_nifti(path: Path, voxels_ZYX: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write voxels (D, H, W), the axes z, y, x, as NIfTI, whose axes are x, y, z; the same bytes each time."""
    import nibabel

    nifti: Any = nibabel.Nifti1Image  # its methods carry no types
    image = nifti(np.ascontiguousarray(voxels_ZYX.T), affine)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    with atomic(path) as temporary:
        temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
