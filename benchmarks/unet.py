"""The U-Net's step: this package's own against MONAI's U-Net and loss, with PyTorch's optimizer."""

import argparse
import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from benchmarks import frame
from benchmarks.training import RATE, SEED, Step, measure, our_step
from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.common.schema import plain
from strongscale.data.dataset import digest
from strongscale.distributed.world import World
from strongscale.settings.cells import Cell
from strongscale.settings.config import SEQUENTIAL, Study, Training
from strongscale.tasks.masks.losses import soft_dice_and_cross_entropy
from strongscale.tasks.segmentation import Segmentation
from strongscale.training import prepare, samples, setup
from strongscale.training.loop import Trainer

OURS, EXACT, MONAI = "ours", "ours, exact", "MONAI"
LEVELS = 5  # those of MONAI's, which has no other number
BATCHES, QUICK_BATCHES = (32, 8, 4), (2, 1)
SAME = 1e-5
PACKAGES = ("torch", "numpy", "monai")

SAYS = {
    OURS: "`Trainer.step_once`, as in every run: our U-Net, the sample's loss, all parameters and all gradients in one buffer "
    "each, fused Adam (at a rate of 0), bookkeeping of the clock and losses",
    EXACT: "the same with `reduction: exact`: micro-batches of 4, gradients added in a fixed tree",
    MONAI: "`BasicUNet` with as many filters, group normalisation and ReLU as ours, `DiceLoss` and PyTorch's cross-entropy, "
    "`torch.optim.Adam` over the list of parameters",
}
CAVEATS = (
    "The two networks are the same but for MONAI's last transposed convolution, which keeps twice the filters that ours has.",
    "MONAI's U-Net always has five levels; the studies here take three, which is less work.",
    "One rank on one CPU thread: no gradient travels.",
    "The slices are random numbers: time doesn't depend on what they show.",
)


def write_nodules(folder: Path, count: int, voxels: int) -> Path:
    """A data set of random cubes, each with a box as its mask, that has a slice or more for every sample wanted."""
    cubes = np.random.default_rng(SEED).random((count, voxels, voxels, voxels), dtype=np.float32)
    masks = np.zeros(cubes.shape, np.uint8)
    masks[:, :, voxels // 4 : voxels // 2, voxels // 4 : voxels // 2] = 1
    split = ["training"] * (count - 1) + ["validation"]
    folder.mkdir(parents=True)
    np.save(folder / "cubes.npy", cubes)
    np.save(folder / "masks.npy", masks)
    pd.DataFrame({"split": split}).to_csv(folder / "manifest.csv", index=False)
    write_json(folder / "dataset.json", {"hash": digest(cubes, split, masks), "provenance": "random"})
    return folder


def trainers(folder: Path, task: Segmentation, voxels: int, batch: int) -> dict[str, Trainer]:
    """Our fast and our exact trainer, as a run has them."""
    made, found = folder / "samples", {}
    samples.make(task, made, write_nodules(folder / "nodules", 1 + -(-batch // voxels), voxels))
    for name, reduction in ((OURS, "fast"), (EXACT, "exact")):
        settings = {"learning_rate": RATE, "target": None, "reduction": reduction, "device": "cpu"}
        study = Study(dataset="random", task=task, strategies={}, training=Training(**settings))  # type: ignore[arg-type]
        place = folder / reduction
        cell = prepare.resolve(study, Cell("benchmark", SEQUENTIAL, 1, SEED), folder=place, dataset=made)
        place.mkdir()
        write_json(place / "cell.json", plain(cell))
        found[name] = setup.prepare(place, World())
    torch.use_deterministic_algorithms(False)
    return found


def monai_network(filters: int) -> nn.Module:
    """MONAI's U-Net of the same widths, normalisation and activation."""
    nets: Any = importlib.import_module("monai.networks.nets")
    widths = [filters * 2**level for level in range(LEVELS)]
    norm = ("group", {"num_groups": min(8, filters)})
    network: nn.Module = nets.BasicUNet(2, 1, 1, (*widths, filters), act=("relu", {}), norm=norm, bias=False)
    return network


def monai_losses(logits: Tensor, masks: Tensor) -> Tensor:
    """The same loss of each sample, by MONAI's soft Dice and PyTorch's cross-entropy."""
    theirs: Any = importlib.import_module("monai.losses")
    truth = masks.to(logits.dtype)
    dice = theirs.DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0, reduction="none")(logits, truth)
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    losses: Tensor = dice.flatten(1).mean(1) + cross_entropy.flatten(1).mean(1)
    return losses


def monai_step(network: nn.Module, images: Tensor, masks: Tensor) -> Step:
    """A step by MONAI's network and loss."""
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def step(batch: int) -> None:
        optimizer.zero_grad()
        monai_losses(network(images[:batch]), masks[:batch]).mean().backward()
        optimizer.step()

    return step


def difference(trainer: Trainer) -> float:
    """How much the two losses of the same answers differ, relative to ours; an error where that is more than rounding."""
    images, masks, _ = trainer.training
    with torch.no_grad():
        logits = trainer.model(images)
        ours, theirs = soft_dice_and_cross_entropy(logits, masks), monai_losses(logits, masks)
    found = float(((ours - theirs) / ours).abs().max())
    if found > SAME:
        raise RuntimeError(f"MONAI's loss isn't ours: {found:.1e} aside")
    return found


def page(found: float, task: Segmentation, voxels: int, sizes: Mapping[str, int], command: str) -> frame.Page:
    """What was compared and how."""
    said = "\n".join(f"- *{name}*: {words}." for name, words in SAYS.items())
    return frame.Page(
        title="The U-Net's step, on one CPU thread",
        command=command,
        compared=f"One step of training, from slices of {voxels}² pixels to changed weights, of a U-Net of {LEVELS} levels and "
        f"{task.filters} filters at the first ({sizes[OURS]} parameters, MONAI's {sizes[MONAI]}).\n\n{said}",
        how="Contenders take turns in one process, at one batch size after another; the first round is thrown away. A turn is "
        "the mean of as many steps as make one batch of the largest size, after one that isn't counted. Before that, both losses "
        f"were given the same answers: they differed by at most {found:.1e}, relative to ours (allowed: {SAME:.0e}).",
        caveats=CAVEATS,
    )


def compare(folder: Path, output: Path, options: argparse.Namespace) -> None:
    """Measure, and write the page and the table."""
    voxels, batches = (16, QUICK_BATCHES) if options.quick else (32, BATCHES)
    task = Segmentation(filters=2 if options.quick else 8, levels=LEVELS)
    facts, found = frame.machine(PACKAGES), trainers(folder, task, voxels, batches[0])
    images, masks, _ = found[OURS].training
    torch.manual_seed(SEED)
    network = monai_network(task.filters)
    steps = {name: our_step(trainer) for name, trainer in found.items()} | {MONAI: monai_step(network, images, masks)}
    networks = {OURS: found[OURS].model, MONAI: network}
    sizes = {name: sum(one.numel() for one in model.parameters()) for name, model in networks.items()}
    said = difference(found[OURS])
    summaries = measure(steps, batches, options.repeats, torch.device("cpu"))
    command = f"python -m benchmarks.unet --repeats {options.repeats}" + " --quick" * options.quick
    frame.write(output, "unet", page(said, task, voxels, sizes, command), summaries, facts)


def main(arguments: list[str]) -> None:
    """Measure, and write unet.md and unet.csv."""
    options = frame.parser("unet", main.__doc__, repeats=21).parse_args(arguments)
    if not frame.installed("monai"):
        raise UserError("monai: not installed; pip install --no-deps --requirement envs/bench.txt")
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), frame.folder_of(options), options)


if __name__ == "__main__":
    run(main)
