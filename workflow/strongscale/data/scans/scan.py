"""A scan as a window onto files: where its voxels lie in the patient, and a box of them at a time.

World coordinates are millimetres in LPS: x to the patient's left, y to the back, z to the head. Everything about the
grid is in the order of its own axes i, j, k, of which i runs fastest in the file.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from strongscale.common.errors import UserError

log = logging.getLogger(__name__)

LONGEST_REASON = 200
SPACINGS_MM = (0.01, 100.0)  # what could be a CT's
UNIT = 1e-3  # how far from 1 an axis's length may be: directions come rounded to three digits
RIGHT_ANGLE = 1e-2  # how far from 0 the cosine of two axes may be
MOST_LEAN = 0.6  # of slices against their stack: the cosine where a gantry is tilted as far as it goes


@contextlib.contextmanager
def blamed_on(path: Path, what: str, remedy: str = "copy it anew") -> Iterator[None]:
    """Whatever is raised while a file is read becomes one line that names it: it costs that scan, and no other.

    Damaged headers make readers raise nearly everything there is. Only an assertion may be our own mistake as well: its
    traceback stays in the log.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as fault:
        log.log(logging.ERROR if isinstance(fault, AssertionError) else logging.DEBUG, "%s", path, exc_info=True)
        reason = ": ".join(filter(None, [type(fault).__name__, " ".join(str(fault).split())[:LONGEST_REASON]]))
        raise UserError(f"{path}: {what} ({reason}); {remedy}") from None


class Voxels(Protocol):
    """Voxels of a file, indexed (i, j, k), read where they are sliced."""

    def __getitem__(self, box: tuple[slice, slice, slice], /) -> Any:
        """The voxels of a box, whose slices have a start and a stop inside the scan."""


@dataclass(frozen=True)
class Scan:
    """One CT scan. Column i of `direction` is the direction of grid axis i in the patient."""

    path: Path
    shape: tuple[int, int, int]
    spacing_mm: NDArray[np.float64]
    origin_mm: NDArray[np.float64]
    direction: NDArray[np.float64]
    voxels: Voxels

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise UserError(f"{self.path}: {self.shape} voxels; at least one along each axis is needed, mend it")
        if not (np.isfinite(self.spacing_mm).all() and (self.spacing_mm > 0).all()):
            raise UserError(f"{self.path}: spacing {self.spacing_mm} mm; three positive numbers are needed, mend it")
        low, high = SPACINGS_MM
        if (self.spacing_mm < low).any() or (self.spacing_mm > high).any():
            raise UserError(f"{self.path}: spacing {self.spacing_mm} mm; a CT has {low:g} to {high:g} mm, mend it")
        if not np.isfinite(self.origin_mm).all():
            raise UserError(f"{self.path}: origin {self.origin_mm} mm; three numbers are needed, mend it")
        if not (np.isfinite(self.direction).all() and abs(np.linalg.det(self.direction)) > 1e-6):
            raise UserError(
                f"{self.path}: the direction matrix {self._axes()} is singular; three independent axes are needed, mend it"
            )
        cosines = self.direction.T @ self.direction
        if (abs(np.sqrt(cosines.diagonal()) - 1) > UNIT).any():
            raise UserError(f"{self.path}: the axes of the direction matrix {self._axes()} aren't of length 1; mend it")
        if abs(cosines[0, 1]) > RIGHT_ANGLE or abs(cosines[:2, 2]).max() > MOST_LEAN:
            raise UserError(f"{self.path}: the axes {self._axes()} of its voxels are askew; mend them")

    def _axes(self) -> str:
        return "[" + " ".join(f"{number:.6g}" for number in self.direction.T.ravel()) + "]"

    def require_right_angles(self) -> None:
        """Refuse a sheared grid: a tilted gantry's, which only DICOM tells apart from a damaged header."""
        cosines = self.direction.T @ self.direction
        if abs(cosines - np.diag(cosines.diagonal())).max() > RIGHT_ANGLE:
            raise UserError(
                f"{self.path}: the axes {self._axes()} of its voxels aren't at right angles; resample the scan, or use "
                "its DICOM files"
            )

    def voxel_to_world(self, indices: ArrayLike) -> NDArray[np.float64]:
        """World coordinates (..., 3) in mm of voxel coordinates (..., 3) in the order i, j, k."""
        return np.asarray(indices, dtype=float) * self.spacing_mm @ self.direction.T + self.origin_mm

    def world_to_voxel(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel coordinates (..., 3) in the order i, j, k of world coordinates (..., 3) in mm."""
        shifted_mm = np.asarray(points_mm, dtype=float) - self.origin_mm
        return shifted_mm @ np.linalg.inv(self.direction).T / self.spacing_mm

    def read_box(self, low: Sequence[int], high: Sequence[int]) -> NDArray[Any]:
        """The voxels from `low` up to but not including `high`, both (i, j, k) inside the scan; no others are kept."""
        i, j, k = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
        with blamed_on(self.path, "its voxels can't be read"):
            return np.array(self.voxels[i, j, k])
