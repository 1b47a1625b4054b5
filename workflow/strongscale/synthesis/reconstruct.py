"""Two validation nodules and what a trained model makes of them, for the paper's Figure 1.

Shown are a typical one (the median loss) and the median one of the larger half: not the best ones. Or any one cube
and its reconstruction as NIfTI, in their place in the patient, to look at beside the scan.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import nn

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import atomic
from strongscale.data.dataset import central_section
from strongscale.recovery.finished import read_settings
from strongscale.settings.cells import CellSettings
from strongscale.tasks.autoencoding import msle
from strongscale.training.samples import read_nodules


def choose(losses: np.ndarray, diameters_mm: np.ndarray) -> list[int]:
    """A typical nodule and a typical larger one, as positions in the validation set."""
    by_loss = np.argsort(losses, kind="stable")
    larger = by_loss[diameters_mm[by_loss] >= np.median(diameters_mm)]
    larger = larger[larger != by_loss[len(by_loss) // 2]]
    return [int(by_loss[len(by_loss) // 2]), int(larger[len(larger) // 2])]


def trained_model(folder: Path, cell: CellSettings, cube_voxels: int) -> nn.Module:
    """The cell's model with the weights it was trained to."""
    path = folder / "weights.safetensors"
    model = cell.nodule_model.create(cube_voxels)
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train the cell first") from None
    except (safetensors.SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not the weights of this cell's model ({reason}); train the cell again") from None
    return model


@torch.no_grad()
def reconstruct(model: nn.Module, cubes: torch.Tensor, chunk: int) -> torch.Tensor:
    """The reconstruction of each cube (N, W, ..., W), so many at a time."""
    return torch.cat([model(part) for part in cubes.split(chunk)])


def write_pair(folder: Path, row: int, output: Path) -> None:
    """Write the cube of a row of the manifest, and what the cell's model makes of it, as NIfTI."""
    # Here, since reading medical images is no part of the environment that trains.
    from strongscale.data.inspect import affine_of_row
    from strongscale.data.scans.nifti import write_nifti

    cell = read_settings(folder)
    if cell.nodule_model.dimensions != 3:
        raise UserError(f"--nifti: model.dimensions is {cell.nodule_model.dimensions} in {folder}; 3 are needed")
    samples = read_nodules(folder, cell)
    manifest = pd.read_csv(folder / cell.dataset / "manifest.csv", dtype={"seriesuid": str})
    affine = affine_of_row(folder / cell.dataset, manifest, row, samples.training.shape[-1])
    split = manifest["split"]
    position = int((split[:row] == split[row]).sum())
    cube = (samples.training if split[row] == "training" else samples.validation)[position]
    model = trained_model(folder, cell, cube.shape[-1])
    prediction = reconstruct(model, torch.from_numpy(cube[None].copy()), 1)[0].numpy()
    write_nifti(output / "input.nii.gz", cube, affine)
    write_nifti(output / "reconstruction.nii.gz", prediction, affine)


def write_chosen(folder: Path, output: Path) -> None:
    """Write the two nodules of Figure 1 and their reconstructions."""
    cell = read_settings(folder)
    samples = read_nodules(folder, cell)
    cubes = torch.from_numpy(central_section(samples.validation, cell.nodule_model.dimensions).copy())
    model = trained_model(folder, cell, cubes.shape[-1])
    predictions = reconstruct(model, cubes, cell.training.evaluation_chunk)
    losses = msle(predictions, cubes).numpy()
    manifest = pd.read_csv(folder / cell.dataset / "manifest.csv")
    diameters_mm = manifest.loc[manifest["split"] == "validation", "diameter_mm"].to_numpy()
    chosen = choose(losses, diameters_mm)
    with atomic(output) as path:
        np.savez(
            path,
            input=cubes[chosen].numpy(),
            reconstruction=predictions[chosen].numpy(),
            loss=losses[chosen],
            diameter_mm=diameters_mm[chosen],
        )


def main(arguments: list[str]) -> None:
    """Reconstruct nodules with the weights of a cell."""
    parser = argparse.ArgumentParser(prog="strongscale.synthesis.reconstruct", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    parser.add_argument("--output", type=Path, help="npz of two nodules: input, reconstruction, loss, diameter_mm")
    parser.add_argument("--nifti", type=Path, help="folder for input.nii.gz and reconstruction.nii.gz of one cube")
    parser.add_argument("--row", type=int, help="that cube's row in the data set's manifest.csv, from 0")
    options = parser.parse_args(arguments)
    if options.output is None and options.nifti is None:
        raise UserError("nothing to write; give --output FILE, or --nifti FOLDER and --row N")
    if (options.nifti is None) != (options.row is None):
        raise UserError("--nifti FOLDER and --row N belong together; give both or neither")
    if options.nifti is not None:
        write_pair(options.folder, options.row, options.nifti)
    if options.output is not None:
        write_chosen(options.folder, options.output)


if __name__ == "__main__":
    run(main)
