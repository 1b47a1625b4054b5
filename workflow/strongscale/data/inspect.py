"""Write one cube of a data set as NIfTI, in its place in the patient, to look at beside its scan."""

import argparse
import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.command import run
from strongscale.data.scans import RAS_TO_LPS
from strongscale.errors import UserError
from strongscale.files import atomic, read_json


def cube_affine(centre_mm: NDArray[np.float64], voxels: int, voxel_mm: float) -> NDArray[np.float64]:
    """The RAS affine (4, 4) of a cube with the axes x, y, z around a point in LPS."""
    affine = np.eye(4)
    affine[:3, :3] = RAS_TO_LPS * voxel_mm
    affine[:3, 3] = RAS_TO_LPS @ (centre_mm - (voxels - 1) / 2 * voxel_mm)
    return affine


def main(arguments: list[str]) -> None:
    """Write one cube of a data set as NIfTI."""
    parser = argparse.ArgumentParser(prog="strongscale.data.inspect", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the data set")
    parser.add_argument("--row", required=True, type=int, help="the cube's row in manifest.csv, from 0")
    parser.add_argument("--output", required=True, type=Path, help="file to write, .nii or .nii.gz")
    options = parser.parse_args(arguments)
    if not options.output.name.endswith((".nii", ".nii.gz")):
        raise UserError(f"{options.output}: unknown ending; end it with .nii or .nii.gz")
    summary = read_json(options.folder / "dataset.json")
    manifest = pd.read_csv(options.folder / "manifest.csv", dtype={"seriesuid": str})
    if not 0 <= options.row < len(manifest):
        raise UserError(f"--row: {options.row} is not in {options.folder}; allowed: 0 to {len(manifest) - 1}")
    cube_ZYX = np.load(options.folder / "cubes.npy", mmap_mode="r", allow_pickle=False)[options.row]
    centre_mm = manifest.loc[options.row, ["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    affine = cube_affine(centre_mm, summary["cube_voxels"], summary["voxel_mm"])
    nifti: Any = nibabel.Nifti1Image  # its methods carry no types
    image = nifti(np.ascontiguousarray(cube_ZYX.T), affine)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    with atomic(options.output) as temporary:
        temporary.write_bytes(gzip.compress(content) if options.output.suffix == ".gz" else content)


if __name__ == "__main__":
    run(main)
