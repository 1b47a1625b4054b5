"""Two validation nodules and what a trained model makes of them, for the paper's Figure 1.

Shown are a typical one (the median loss) and the median one of the larger half: not the best ones.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.torch
import torch

from strongscale import models
from strongscale.command import run
from strongscale.data.dataset import central_section
from strongscale.files import atomic
from strongscale.loss import msle
from strongscale.train import read_samples, read_settings


def choose(losses: np.ndarray, diameters_mm: np.ndarray) -> list[int]:
    """A typical nodule and a typical larger one, as positions in the validation set."""
    by_loss = np.argsort(losses, kind="stable")
    larger = by_loss[diameters_mm[by_loss] >= np.median(diameters_mm)]
    larger = larger[larger != by_loss[len(by_loss) // 2]]
    return [int(by_loss[len(by_loss) // 2]), int(larger[len(larger) // 2])]


def main(arguments: list[str]) -> None:
    """Reconstruct two validation nodules with the weights of a cell."""
    parser = argparse.ArgumentParser(prog="strongscale.reconstruct", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    parser.add_argument("--output", type=Path, required=True, help="npz: input, reconstruction, loss, diameter_mm")
    options = parser.parse_args(arguments)
    cell = read_settings(options.folder)
    samples = read_samples(options.folder, cell)
    cubes = torch.from_numpy(central_section(samples.validation, cell.model.dimensions).copy())
    model = models.create(cell.model, cubes.shape[-1])
    model.load_state_dict(safetensors.torch.load_file(options.folder / "weights.safetensors"))
    with torch.no_grad():
        predictions = torch.cat([model(chunk) for chunk in cubes.split(cell.training.evaluation_chunk)])
        losses = msle(predictions, cubes).numpy()
    manifest = pd.read_csv(options.folder / cell.dataset / "manifest.csv")
    diameters_mm = manifest.loc[manifest["split"] == "validation", "diameter_mm"].to_numpy()
    chosen = choose(losses, diameters_mm)
    with atomic(options.output) as path:
        np.savez(
            path,
            input=cubes[chosen].numpy(),
            reconstruction=predictions[chosen].numpy(),
            loss=losses[chosen],
            diameter_mm=diameters_mm[chosen],
        )


if __name__ == "__main__":
    run(main)
