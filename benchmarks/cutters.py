"""Ways from a scan's file to the cubes (N, 16, 16, 16) of its nodules, of 1 mm voxels in [0, 1], axes z, y, x.

Run as a command it is one contender in a process of its own: `python -m benchmarks.cutters NAME FOLDER`.
"""

import argparse
import csv
import importlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.frame import forget, remember, report

Floats = NDArray[np.float64]
Cubes = NDArray[np.float32]
Cut = tuple[Cubes, Floats]
"""The cubes, and the points (N, 3) in mm around which they really lie."""
Cutter = Callable[[Path, Floats], Cut]
"""From a file and the nodules' centres (N, 3) in mm (x, y, z in LPS)."""

VOXELS = 16
HALF = (VOXELS - 1) / 2  # from a cube's first voxel to its centre, in voxels, which are millimetres
LOW_HU, HIGH_HU = -1000.0, 400.0


@dataclass(frozen=True)
class Contender:
    """One way, and the kind of file that it reads. `prepare` does the imports."""

    prepare: Callable[[], Cutter]
    ending: str
    says: str
    package: str = "numpy"
    """What must be installed."""


def _windowed(cubes_hu: Any) -> Cubes:
    scaled: Cubes = ((np.clip(cubes_hu, LOW_HU, HIGH_HU) - LOW_HU) / (HIGH_HU - LOW_HU)).astype(np.float32)
    return scaled


def ours(smoothing: bool) -> Cutter:
    """This package."""
    from strongscale.data.cutting import cut_cube
    from strongscale.data.scans import open_scan
    from strongscale.settings.datasets import Cubes as Settings

    settings = Settings(voxels=VOXELS, voxel_mm=1.0, window_hu=(LOW_HU, HIGH_HU), smoothing=smoothing)

    def cut(path: Path, centres_mm: Floats) -> Cut:
        scan = open_scan(path)
        return np.array([cut_cube(scan, centre, 1.0, settings).voxels_ZYX for centre in centres_mm]), centres_mm

    return cut


def simpleitk_whole() -> Cutter:
    """Resample the whole scan once, then crop at the nearest voxels."""
    itk: Any = importlib.import_module("SimpleITK")

    def cut(path: Path, centres_mm: Floats) -> Cut:
        image = itk.ReadImage(str(path))
        last = np.array(image.GetSize()) - 1.0
        ends_mm = np.array([image.TransformContinuousIndexToPhysicalPoint(end) for end in ([0.0] * 3, last.tolist())])
        origin_mm = ends_mm.min(axis=0)
        size = np.floor(np.ptp(ends_mm, axis=0)).astype(int) + 1
        resampled = _resample(itk, image, size.tolist(), origin_mm)
        whole = itk.GetArrayViewFromImage(resampled)  # of its memory, which must outlive it
        lows = np.round(centres_mm - HALF - origin_mm).astype(int)
        cubes = [whole[k : k + VOXELS, j : j + VOXELS, i : i + VOXELS] for i, j, k in lows]
        return _windowed(np.array(cubes)), lows + HALF + origin_mm

    return cut


def simpleitk_cubes() -> Cutter:
    """Read the whole scan, resample it straight to each cube's grid."""
    itk: Any = importlib.import_module("SimpleITK")

    def cut(path: Path, centres_mm: Floats) -> Cut:
        image = itk.ReadImage(str(path))
        cubes = [_resample(itk, image, [VOXELS] * 3, centre - HALF) for centre in centres_mm]
        return _windowed(np.array([itk.GetArrayFromImage(cube) for cube in cubes])), centres_mm

    return cut


def simpleitk_boxes() -> Cutter:
    """Read no more than the box around each nodule, resample it to the cube's grid: the same idea as ours."""
    itk: Any = importlib.import_module("SimpleITK")

    def cut(path: Path, centres_mm: Floats) -> Cut:
        reader = itk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size, origin_mm = np.array(reader.GetSize()), np.array(reader.GetOrigin())
        to_voxel = np.linalg.inv(np.array(reader.GetDirection()).reshape(3, 3) * reader.GetSpacing()).T
        cubes = []
        for centre in centres_mm:
            ends = (centre + [[-HALF] * 3, [HALF] * 3] - origin_mm) @ to_voxel
            low = np.clip(np.floor(ends.min(axis=0)), 0, size - 1).astype(int)
            high = np.clip(np.ceil(ends.max(axis=0)) + 1, low + 1, size).astype(int)
            reader.SetExtractIndex(low.tolist())
            reader.SetExtractSize((high - low).tolist())
            cubes.append(itk.GetArrayFromImage(_resample(itk, reader.Execute(), [VOXELS] * 3, centre - HALF)))
        return _windowed(np.array(cubes)), centres_mm

    return cut


def _resample(itk: Any, image: Any, size: list[int], origin_mm: Floats) -> Any:
    identity = itk.Transform(3, itk.sitkIdentity)
    grid = (origin_mm.tolist(), [1.0] * 3, np.eye(3).ravel().tolist())
    return itk.Resample(image, size, identity, itk.sitkLinear, *grid, LOW_HU, itk.sitkFloat32)


def monai_whole() -> Cutter:
    """Load, resample the whole scan once, then crop at the nearest voxels."""
    transforms: Any = importlib.import_module("monai.transforms")
    load = transforms.LoadImage(reader="NibabelReader", image_only=True, ensure_channel_first=True)
    space = transforms.Spacing(pixdim=(1.0, 1.0, 1.0), mode="bilinear", padding_mode="border", dtype=np.float32)
    scale = transforms.ScaleIntensityRange(LOW_HU, HIGH_HU, 0.0, 1.0, clip=True)
    ras_to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])

    def cut(path: Path, centres_mm: Floats) -> Cut:
        whole = space(load(path))
        affine = ras_to_lps @ np.asarray(whole.affine)
        matrix, origin_mm = affine[:3, :3], affine[:3, 3]
        lows = np.round((centres_mm - origin_mm) @ np.linalg.inv(matrix).T - HALF).astype(int)
        cubes_IJK = [
            scale(transforms.SpatialCrop(roi_start=low, roi_end=low + VOXELS)(whole)).numpy()[0] for low in lows
        ]
        turned = tuple(slice(None, None, int(np.sign(step))) for step in matrix.diagonal())
        return np.array([cube[turned].transpose(2, 1, 0) for cube in cubes_IJK]), (lows + HALF) @ matrix.T + origin_mm

    return cut


CONTENDERS = {
    "ours, without smoothing": Contender(
        lambda: ours(smoothing=False), ".mhd", "reads the box around each nodule, samples it once"
    ),
    "ours, as the stage does": Contender(
        lambda: ours(smoothing=True), ".mhd", "the same, smoothed first where the scan's voxels are the finer ones"
    ),
    "SimpleITK, whole volume": Contender(
        simpleitk_whole, ".mhd", "reads all, resamples all to 1 mm, crops and windows the cubes", "simpleitk"
    ),
    "SimpleITK, each cube": Contender(
        simpleitk_cubes, ".mhd", "reads all, resamples straight to each cube's grid: a fairer peer", "simpleitk"
    ),
    "SimpleITK, each box": Contender(
        simpleitk_boxes, ".mhd", "reads the box around each nodule and resamples that: the fairest peer", "simpleitk"
    ),
    "MONAI, whole volume": Contender(
        monai_whole, ".nii", "`LoadImage`, `Spacing` to 1 mm, `SpatialCrop`, `ScaleIntensityRange`", "monai"
    ),
    "ours, compressed": Contender(lambda: ours(smoothing=False), ".zraw", "as the first, from .zraw"),
    "SimpleITK, whole volume, compressed": Contender(
        simpleitk_whole, ".zraw", "as SimpleITK above, from .zraw", "simpleitk"
    ),
    "SimpleITK, each cube, compressed": Contender(
        simpleitk_cubes, ".zraw", "as SimpleITK above, from .zraw", "simpleitk"
    ),
}


def find_nodules(folder: Path) -> dict[str, Floats]:
    """The nodules' centres (N, 3) in mm of each scan of a folder's annotations.csv."""
    centres: dict[str, list[list[float]]] = defaultdict(list)
    with (folder / "annotations.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            centres[row["seriesuid"]].append([float(row[f"coord{axis}"]) for axis in "XYZ"])
    return {seriesuid: np.array(points) for seriesuid, points in centres.items()}


def scan_path(folder: Path, seriesuid: str, ending: str) -> Path:
    """Where a scan lies, in each of its forms."""
    return folder / ending.strip(".") / f"{seriesuid}{'.mhd' if ending == '.zraw' else ending}"


def main() -> None:
    """Cut all cubes of a folder's scans in one way, measured; save them where asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.cutters", description=main.__doc__)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("folder", type=Path, help="annotations.csv, and a folder for each form of the scans")
    parser.add_argument(
        "--cold", action="store_true", help="drop the files from the system's cache before, else read them into it"
    )
    parser.add_argument("--save", type=Path, help="the cubes and where they lie, .npz")
    options = parser.parse_args()
    contender = CONTENDERS[options.contender]
    cutter = contender.prepare()
    nodules = find_nodules(options.folder)
    paths = {seriesuid: scan_path(options.folder, seriesuid, contender.ending) for seriesuid in nodules}
    for path in paths.values():
        for file in path.parent.glob(f"{path.stem}.*"):
            (forget if options.cold else remember)(file)
    cuts: list[Cut] = []
    report(lambda: cuts.extend(cutter(path, nodules[seriesuid]) for seriesuid, path in paths.items()))
    if options.save:
        cubes, centres_mm = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
        np.savez(options.save, cubes=cubes, centres_mm=centres_mm, asked_mm=np.concatenate(list(nodules.values())))


if __name__ == "__main__":
    main()
