"""The settings of data sets: where scans come from, and how nodules become cubes."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_0, AT_LEAST_1, POSITIVE, SEED, Between, NonEmpty, later

WHOLE = "all"  # the name of the one subset of a folder that has none

Extent = Annotated[float, Between(low=40)]


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """Artificial scans in LUNA16's form on disk, for studies without the real ones."""

    scans: Annotated[int, AT_LEAST_1, "number of CT scans to make"] = 64
    nodules: Annotated[int, AT_LEAST_1, "nodules in all scans together, of at least 3 mm"] = 640
    subsets: Annotated[int, Between(low=1, high=10), "number of subset folders the scans are spread over"] = 2
    size_mm: Annotated[tuple[Extent, Extent, Extent], "extent of a scan along the patient's x, y, z"] = (
        140.0,
        120.0,
        120.0,
    )
    seed: Annotated[int, SEED, "the scans depend on this number alone"] = 1

    def __post_init__(self) -> None:
        if self.subsets > self.scans:
            raise UserError(f"subsets: {self.subsets} is not allowed; allowed: at most one a scan, {self.scans}")


@dataclass(frozen=True, kw_only=True)
class Cubes:
    """How a nodule becomes a cube."""

    voxels: Annotated[int, Between(low=4, high=128), "voxels along each side"] = 16
    voxel_mm: Annotated[float, POSITIVE, "side of an isotropic voxel"] = 1.0
    diameters: Annotated[
        Annotated[float, Between(low=1)] | None,
        "scale the cube to its nodule: its side in diameters, in place of voxel_mm; null: all cubes have one size",
    ] = None
    smoothing: Annotated[
        bool, "smooth the scan where its voxels are smaller than the cube's, so that fine detail doesn't alias"
    ] = True
    window_hu: Annotated[tuple[float, float], "the intensities that become 0 and 1; beyond them is clipped"] = (
        -1000.0,
        400.0,
    )
    padding: Annotated[
        Literal["air", "nearest"], "what lies beyond a scan's border: air, or what lies nearest in the scan"
    ] = later("air")
    masks: Annotated[
        bool, "cut the nodules' masks too, from masks/<seriesuid>.nii.gz in the scans' folder: for task: segmentation"
    ] = later(False)
    minimum_readers: Annotated[
        Literal[1, 3], "readers who must agree: 3 takes annotations.csv, 1 annotations_excluded.csv too"
    ] = 1
    minimum_diameter_mm: Annotated[float, AT_LEAST_0, "smaller nodules are left out"] = 3.0

    def __post_init__(self) -> None:
        low, high = self.window_hu
        if low >= high:
            raise UserError(f"window_hu: [{low:g}, {high:g}] is not allowed; allowed: the lower intensity first")

    def voxel_mm_of(self, diameter_mm: float) -> float:
        """The side of the voxels of one nodule's cube."""
        return self.voxel_mm if self.diameters is None else self.diameters * diameter_mm / self.voxels


Count = Annotated[int, AT_LEAST_0]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Counts that somebody knows of the annotations: a difference is said on the data set's quality page."""

    annotations: Annotated[Count | None, "rows of annotations.csv"] = None
    annotated_scans: Annotated[Count | None, "scans that they name"] = None
    above_16_mm: Annotated[Count | None, "those of more than 16 mm"] = None
    excluded: Annotated[Count | None, "rows of annotations_excluded.csv with a diameter of at least 3 mm"] = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Where scans come from, and how they become one data set. Exactly one of `folder` and `phantom` is given."""

    folder: Annotated[str | None, "folder in LUNA16's form: subset0, subset1, ..., annotations.csv"] = None
    download: Annotated[
        Literal["luna16", "lidc"] | None,
        "fetch what `folder` lacks: LUNA16's scans, or crops around 994 nodules of LIDC-IDRI with their masks",
    ] = None
    subsets: Annotated[
        Annotated[tuple[Annotated[int, AT_LEAST_0], ...], NonEmpty()] | None,
        "which subset folders to take (of `folder`); null: the scans lie in `folder` itself",
    ] = tuple(range(10))
    partial: Annotated[bool, "annotations of scans that aren't in these subsets are left out, and not lost"] = False
    jobs_per_subset: Annotated[
        int, AT_LEAST_1, "jobs among which the scans of a subset are dealt out; a later change cuts and trains anew"
    ] = 1
    tolerated_losses: Annotated[
        int, AT_LEAST_0, "nodules that faults of the data may cost; with more the data set isn't made"
    ] = 0
    expected: Annotated[Expected, "counts to compare with"] = field(default_factory=Expected)
    phantom: Annotated[Phantom | None, "make artificial scans"] = None
    cubes: Annotated[Cubes, "how a nodule becomes a cube"] = field(default_factory=Cubes)
    num_validation: Annotated[int, AT_LEAST_1, "validation samples, exactly; the rest is for training"] = 256
    split_seed: Annotated[int, SEED, "the split by patient or scan depends on this number alone"] = 1

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.phantom is None):
            raise UserError(
                "folder, phantom: exactly one of the two is needed: a folder of scans, or phantom scans to make"
            )
        if self.download and self.folder is None:
            raise UserError("download: needs a folder to put the scans into; set folder too")
        if self.download == "luna16" and (self.subsets is None or max(self.subsets) > 9):
            raise UserError("subsets: LUNA16 has subset0 to subset9; allowed with download: numbers from 0 to 9")
        if self.download == "luna16" and self.cubes.masks:
            raise UserError(
                "cubes.masks: true is not allowed with download: luna16, which has no masks; allowed: false"
            )
        if self.download == "lidc":
            self._refuse_beyond_lidc()

    def _refuse_beyond_lidc(self) -> None:
        """Those crops are one folder and one list, made by four readers together."""
        if self.subsets != (0,):
            raise UserError("subsets: the crops of LIDC-IDRI are one folder; allowed with download: lidc: [0]")
        if self.cubes.minimum_readers != 3:
            raise UserError(
                "cubes.minimum_readers: 1 is not allowed with download: lidc, which has no annotations_excluded.csv; "
                "allowed: 3"
            )

    @property
    def subset_names(self) -> list[str]:
        """The subset folders this data set is made of."""
        if self.phantom:
            return [f"subset{number}" for number in range(self.phantom.subsets)]
        return [WHOLE] if self.subsets is None else [f"subset{number}" for number in self.subsets]
