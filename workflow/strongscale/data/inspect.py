"""Write one cube of a data set as NIfTI, in its place in the patient, to look at beside its scan."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.data.scans.nifti import ras_affine, write_nifti


def cube_affine(centre_mm: NDArray[np.float64], voxels: int, voxel_mm: float) -> NDArray[np.float64]:
    """The RAS affine (4, 4) of a cube with the axes x, y, z around a point in LPS."""
    return ras_affine(centre_mm - (voxels - 1) / 2 * voxel_mm, np.eye(3) * voxel_mm)


def voxel_sizes_mm(folder: Path, manifest: pd.DataFrame) -> NDArray[np.float64]:
    """The side of a voxel of each cube (N,): its own where the manifest says it, else the data set's."""
    if "voxel_mm" in manifest:
        return manifest["voxel_mm"].to_numpy(dtype=float)
    return np.full(len(manifest), float(read_json(folder / "dataset.json")["voxel_mm"]))


def affine_of_row(folder: Path, manifest: pd.DataFrame, row: int, voxels: int) -> NDArray[np.float64]:
    """The RAS affine (4, 4) that puts the cube of a row of the manifest in its place in the patient."""
    if not 0 <= row < len(manifest):
        raise UserError(f"--row: {row} is not in {folder}; allowed: 0 to {len(manifest) - 1}")
    centre_mm = manifest.loc[row, ["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    return cube_affine(centre_mm, voxels, float(voxel_sizes_mm(folder, manifest)[row]))


def main(arguments: list[str]) -> None:
    """Write one cube of a data set as NIfTI."""
    parser = argparse.ArgumentParser(prog="strongscale.data.inspect", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the data set")
    parser.add_argument("--row", required=True, type=int, help="the cube's row in manifest.csv, from 0")
    parser.add_argument("--output", required=True, type=Path, help="file to write, .nii or .nii.gz")
    options = parser.parse_args(arguments)
    if not options.output.name.endswith((".nii", ".nii.gz")):
        raise UserError(f"{options.output}: unknown ending; end it with .nii or .nii.gz")
    manifest = pd.read_csv(options.folder / "manifest.csv", dtype={"seriesuid": str})
    cubes_NDHW = np.load(options.folder / "cubes.npy", mmap_mode="r", allow_pickle=False)
    affine = affine_of_row(options.folder, manifest, options.row, cubes_NDHW.shape[-1])
    write_nifti(options.output, cubes_NDHW[options.row], affine)


if __name__ == "__main__":
    run(main)
