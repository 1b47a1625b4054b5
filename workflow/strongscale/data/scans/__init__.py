"""Scans of a folder: find them by their seriesuid, and open them whatever their kind."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from strongscale.common.errors import UserError
from strongscale.data.scans.dicom import is_dicom, list_series, open_dicom
from strongscale.data.scans.metaimage import open_metaimage
from strongscale.data.scans.nifti import open_nifti
from strongscale.data.scans.scan import Scan, blamed_on

__all__ = ["Scan", "find_scans", "open_scan"]

log = logging.getLogger(__name__)

OPENERS: dict[str, Callable[[Path], Scan]] = {
    ".mhd": open_metaimage,
    ".mha": open_metaimage,
    ".nii": open_nifti,
    ".nii.gz": open_nifti,
}
KINDS = f"{', '.join(OPENERS)} or DICOM files"


def open_scan(path: Path) -> Scan:
    """Open a scan without reading its voxels: a file, or one DICOM series by its folder or one of its files."""
    with blamed_on(path, "can't be read"):
        if not path.exists():
            raise UserError(f"{path}: no such file; copy the scan anew")
        ending = _ending(path)
        if ending is None and not path.is_dir() and not is_dicom(path):
            raise UserError(f"{path}: not a known kind of scan; use {KINDS}")
        if ending and not path.is_file():  # opening a pipe would wait for ever
            raise UserError(f"{path}: not a plain file; put the scan itself there, or remove it")
        return OPENERS[ending](path) if ending else open_dicom(path)


def find_scans(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The scans of a folder by seriesuid, in the order of the seriesuids; and why others can't be used, likewise.

    A file's name without its ending is its seriesuid; DICOM series say their own and may lie in folders below.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ending = _ending(path)
        if ending is not None:
            found[path.name.removesuffix(ending)].append(path)
    for below in _folders(folder) if folder.is_dir() else ():
        series, torn = list_series(below)
        for reason in torn:
            log.warning("%s", reason)
        for seriesuid, headers in series.items():
            found[seriesuid].append(below if len(series) == 1 else min(headers))
    if not found:
        raise UserError(f"{folder}: no scans there; put {KINDS} into it")
    scans = {seriesuid: paths[0] for seriesuid, paths in sorted(found.items()) if len(paths) == 1}
    unusable = {
        seriesuid: f"{', '.join(str(path) for path in paths)}: the same scan {len(paths)} times; keep one of them"
        for seriesuid, paths in sorted(found.items())
        if len(paths) > 1
    }
    return scans, unusable


def _ending(path: Path) -> str | None:
    if path.name.startswith("."):
        return None
    return next((ending for ending in OPENERS if path.name.endswith(ending)), None)


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and those below it; links are followed, but no folder comes twice."""

    def warn(error: OSError) -> None:
        log.warning("%s: can't be looked into (%s); its scans are left out", error.filename, error.strerror)

    seen = set()
    for name, below, _ in os.walk(folder, onerror=warn, followlinks=True):
        place = Path(name).resolve()
        if place in seen:
            below.clear()
            continue
        seen.add(place)
        below[:] = sorted(inner for inner in below if not inner.startswith("."))
        yield Path(name)
