"""The training step: this package's own against the same model in plain PyTorch, and against its convolutions alone."""

import argparse
import copy
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks import frame
from benchmarks.plain_density import PlainDensity, plain_loss
from strongscale.common.command import run
from strongscale.common.files import write_json
from strongscale.common.schema import plain
from strongscale.data import dataset
from strongscale.distributed.world import World
from strongscale.models.base import Model
from strongscale.models.deepdensity import DeepDensity
from strongscale.models.density.network import DeepDensityNetwork
from strongscale.settings.cells import Cell
from strongscale.settings.config import SEQUENTIAL, Study, Training
from strongscale.settings.datasets import Dataset, Phantom
from strongscale.training import prepare, setup
from strongscale.training.heap import LARGEST_KEPT, keep_freed_memory
from strongscale.training.loop import Trainer

BATCHES, QUICK_BATCHES = (32, 16, 8, 4, 2, 1), (2, 1)
VOXELS = 16
TINY_MODEL, TINY_VOXELS = DeepDensity(components=4, filters=(4, 4), kernels=(3, 3)), 8
QUICK_TRAINING, QUICK_VALIDATION = 512, 128  # cubes of the study `quick`, whose memory is measured
OURS, EXACT = "ours", "ours, exact"
PLAIN, COMPILED = "plain PyTorch", "plain PyTorch, compiled"
FLOOR, PLAIN_FLOOR = "the convolutions alone", "the convolutions alone, plain PyTorch"
IMPORT, START = "`import torch`", "a run of one step"
AIM_FLOOR, AIM_PLAIN = 1.35, 12.0
SAME = 1e-4
RATE = 0.001
SEED = 1
PACKAGES = ("torch", "numpy")
DEVICES = ("cpu", "cuda")

Step = Callable[[int], object]
"""One training step on so many samples."""

SAYS = {
    OURS: "`Trainer.step_once`, as in every run: the loss and its gradient from one kernel, all parameters and all "
    "gradients in one buffer each, fused Adam (at a rate of 0), freed memory kept, bookkeeping of the clock and losses",
    EXACT: "the same with `reduction: exact`: micro-batches of 4, gradients added in a fixed tree",
    PLAIN: "the same layers, in PyTorch's own order in memory, `MixtureSameFamily(Categorical, MultivariateNormal(scale_tril))` evaluated on the voxels "
    "(without its checks of arguments), mean squared difference of logarithms, `torch.optim.Adam` over the list of "
    "parameters, in `DistributedDataParallel` of one rank, in a process that keeps no more freed memory than usual",
    COMPILED: "that, through `torch.compile` with fixed shapes; its compiling isn't counted",
    FLOOR: "forward and backward of our three convolutions, in our order in memory, freed memory kept, to the sum of what they "
    "give: no dense layer, decoder, loss or optimizer. The floor: nobody's step can be faster without other convolutions",
    PLAIN_FLOOR: "the same with weights in PyTorch's own order, in a usual process",
}
CAVEATS = (
    "One rank: no gradient travels, so these steps leave out what many workers add.",
    "The plain way isn't the best that could be written, it is what the library offers for such a mixture. Its cost is "
    "the decoder's, which ours computes otherwise; the convolutions are the same code in all contenders, but for the order of "
    "their weights in memory.",
    "Each turn begins with one step that isn't counted. A step's time on a busy machine is longer; the ratios move less.",
    "The cubes are random numbers: time doesn't depend on what they show.",
)


def plain_step(model: Callable[[Tensor], Tensor], parameters: Iterable[Tensor], cubes: Tensor) -> Step:
    """A step of the plain way; `model` may be wrapped or compiled."""
    optimizer = torch.optim.Adam(parameters, lr=RATE)

    def step(batch: int) -> None:
        optimizer.zero_grad()
        plain_loss(model(cubes[:batch]), cubes[:batch]).backward()
        optimizer.step()

    return step


def as_usual(step: Step) -> Step:
    """That step in a process that keeps no more freed memory than glibc does by itself, once it has met large blocks."""

    def usual(batch: int) -> None:
        keep_freed_memory(2 * LARGEST_KEPT)
        step(batch)
        keep_freed_memory()

    return usual


def our_step(trainer: Trainer) -> Step:
    """A step of the package's own loop."""

    def step(batch: int) -> None:
        trainer.cell = replace(trainer.cell, training=replace(trainer.cell.training, batch_size=batch))
        # as in a run; it is global, so the others' steps turn it off
        torch.use_deterministic_algorithms(True, warn_only=True)
        trainer.step_once()
        torch.use_deterministic_algorithms(False)

    return step


def floor_step(convolutions: nn.Module, cubes: Tensor) -> Step:
    """The convolutions, forward and backward."""
    encoder = copy.deepcopy(convolutions)

    def step(batch: int) -> None:
        encoder.zero_grad()
        encoder(cubes[:batch].unsqueeze(1)).sum().backward()

    return step


def write_dataset(folder: Path, num_training: int, num_validation: int, voxels: int) -> None:
    """A data set of random cubes."""
    count = num_training + num_validation
    cubes = np.random.default_rng(SEED).random((count, voxels, voxels, voxels), dtype=np.float32)
    splits = ["training"] * num_training + ["validation"] * num_validation
    names = [f"scan{index}" for index in range(count)]
    table = pd.DataFrame({"seriesuid": names, "diameter_mm": 6.0, "split": splits, "state": "cube"})
    folder.mkdir(parents=True)
    np.save(folder / "cubes.npy", cubes)
    table.to_csv(folder / "manifest.csv", index=False)
    settings = Dataset(phantom=Phantom(), num_validation=num_validation)
    write_json(folder / "dataset.json", dataset.summarise(cubes, table, settings))


def write_cell(folder: Path, samples: Path, model: Model, **training: object) -> Path:
    """The cell.json of a sequential run of one epoch; the folder."""
    settings: dict[str, object] = {"learning_rate": RATE, "target": None, "max_epochs": 1, "device": "cpu"} | training
    study = Study(dataset="random", strategies={}, model=model, training=Training(**settings))  # type: ignore[arg-type]
    cell = prepare.resolve(study, Cell("benchmark", SEQUENTIAL, 1, SEED), folder=folder, dataset=samples)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "cell.json", plain(cell))
    return folder


def trainers(folder: Path, model: Model, voxels: int, batch: int, device: str) -> tuple[Trainer, Trainer]:
    """Our fast and our exact trainer, as a run has them."""
    samples = folder / f"samples{voxels}"
    write_dataset(samples, batch, 1, voxels)
    fast, exact = (
        setup.prepare(write_cell(folder / name, samples, model, reduction=name, microbatch=4, device=device), World())
        for name in ("fast", "exact")
    )
    torch.use_deterministic_algorithms(False)
    return fast, exact


def differences(trainer: Trainer, model: PlainDensity, batch: int) -> tuple[float, float]:
    """How much the plain loss and gradient of the same weights differ from ours, relative to ours."""
    cubes = trainer.training[0][:batch]
    assert isinstance(trainer.model, DeepDensityNetwork)
    our_loss = float(trainer.model.losses(cubes).detach().mean())
    our_step(trainer)(batch)  # at a rate of 0: the weights stay
    model.zero_grad()
    loss = plain_loss(model(cubes), cubes)
    loss.backward()
    ours = torch.cat([gradient.flatten() for gradient in trainer.flat.split(trainer.flat.gradient)])
    gradient = float((model.flat_gradient() - ours).norm() / ours.norm())
    model.zero_grad()
    return abs(float(loss.detach()) - our_loss) / our_loss, gradient


def create_steps(fast: Trainer, exact: Trainer, model: PlainDensity) -> dict[str, Step]:
    """All contenders that may run here; ours first."""
    assert isinstance(fast.model, DeepDensityNetwork)
    eager, compiled = (DistributedDataParallel(copy.deepcopy(model)) for _ in range(2))
    return {
        OURS: our_step(fast),
        EXACT: our_step(exact),
        PLAIN: as_usual(plain_step(eager, eager.parameters(), fast.training[0])),
        COMPILED: as_usual(plain_step(torch.compile(compiled, dynamic=False), compiled.parameters(), fast.training[0])),
        FLOOR: floor_step(fast.model.encoder, fast.training[0]),
        PLAIN_FLOOR: as_usual(floor_step(model.encoder, fast.training[0])),
    }


def drop_what_fails(steps: dict[str, Step], batch: int) -> str:
    """Leave out the compiled contender where it doesn't work; the reason, or nothing."""
    try:
        steps[COMPILED](batch)
    except Exception as error:  # no compiler, or one that doesn't know this machine: told on the page
        del steps[COMPILED]
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def step_turn(step: Step, batch: int, num_steps: int, device: torch.device) -> frame.Figures:
    """The mean milliseconds of some steps, after one that doesn't count."""
    step(batch)
    _wait(device)
    start_s = time.perf_counter()
    for _ in range(num_steps):
        step(batch)
    _wait(device)
    return {f"batch_{batch}_ms": 1000 * (time.perf_counter() - start_s) / num_steps}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(
    steps: Mapping[str, Step], batches: Sequence[int], repeats: int, device: torch.device
) -> list[frame.Summary]:
    """Every batch size in turn, contenders taking turns at each; equally many samples a turn."""
    whole: dict[str, list[dict[str, float]]] = {name: [{} for _ in range(repeats)] for name in steps}
    samples = batches[0] * (10 if device.type == "cuda" else 1)
    for batch in batches:
        num_steps = samples // batch
        turns = frame.take_turns(
            {name: partial(step_turn, step, batch, num_steps, device) for name, step in steps.items()}, repeats
        )
        for name, rounds in turns.items():
            for row, figures in zip(whole[name], rounds, strict=True):
                row.update(figures)
    return frame.summarise(whole)


def measure_start(folder: Path, repeats: int) -> list[frame.Summary]:
    """A run of one step from the start of its process to the end, against importing PyTorch alone."""
    write_dataset(folder / "tiny", 4, 1, TINY_VOXELS)

    def start() -> frame.Figures:
        cell = write_cell(folder / "started", folder / "tiny", TINY_MODEL, batch_size=4)
        figures = frame.run_alone([sys.executable, "-m", "strongscale.training", str(cell)])
        shutil.rmtree(cell)  # the next run must not find it done
        return figures

    contenders = {IMPORT: lambda: frame.run_alone([sys.executable, "-c", "import torch"]), START: start}
    return frame.summarise(frame.take_turns(contenders, repeats))


def measure_epoch(folder: Path, num_training: int, num_validation: int) -> tuple[float, float]:
    """A run of an epoch on as many cubes as the study `quick` has: its most memory (MB), and what part of its seconds
    `epochs.csv` gives to compute, communication and evaluation."""
    write_dataset(folder / "many", num_training, num_validation, VOXELS)
    cell = write_cell(folder / "remembered", folder / "many", DeepDensity(), reduction="exact")
    peak_mb = frame.run_alone([sys.executable, "-m", "strongscale.training", str(cell)])["peak_memory_mb"]
    (epoch,) = pd.read_csv(cell / "epochs.csv").to_dict("records")
    return peak_mb, sum(epoch[f"{part}_s"] for part in ("compute", "communication", "evaluation")) / epoch["time_s"]


def verdict(summaries: Sequence[frame.Summary], batch: int) -> str:
    """What was aimed at, and what was found, each a line; ratios of medians within a round."""
    found = {one.contender: one.ratios[1] for one in summaries if one.figure == f"batch_{batch}_ms" and one.ratios}
    faster = found[PLAIN]
    lines = [
        *(
            [
                f"at most {AIM_FLOOR} times *{floor}*",
                f"{1 / found[floor]:.2f} times",
                _said(1 / found[floor] <= AIM_FLOOR),
            ]
            for floor in (FLOOR, PLAIN_FLOOR)
        ),
        [
            f"at least {AIM_PLAIN:.0f} times faster than *{PLAIN}*",
            f"{frame.short(faster)} times",
            _said(faster >= AIM_PLAIN),
        ],
    ]
    return frame.markdown_table([f"aim of *{OURS}* at batch {batch}", "found", ""], lines)


def _said(reached: bool) -> str:
    return "reached" if reached else "**not reached**"


def start_section(summaries: Sequence[frame.Summary], epoch: tuple[float, float], num_cubes: int) -> str:
    """Start-up, memory, and what an epoch's seconds are, as Markdown."""
    by_place = {(one.contender, one.figure): one for one in summaries}
    rows = []
    for name in (IMPORT, START):
        time_s, peak_mb = by_place[name, "process_s"], by_place[name, "peak_memory_mb"]
        assert time_s.ratios
        numbers = (time_s.quartiles[1], time_s.ratios[1], peak_mb.quartiles[1])
        rows.append([name, *(frame.short(number) for number in numbers)])
    table = frame.markdown_table(["process", "seconds", f"times {IMPORT}", "peak memory, MB"], rows)
    return (
        f"## Start and memory\n\nMedians of {summaries[0].repeats} rounds, from the start of a process to its end. *{START}*: "
        "`python -m strongscale.training` on 4 cubes with a tiny model: start, imports, reading, one step, an evaluation and "
        f"writing the result, so its first step comes earlier.\n\n{table}\n\nAn epoch on {num_cubes} cubes of {VOXELS}³ voxels (the study `quick` has 640), "
        f"with the whole model and `reduction: exact`, took {frame.short(epoch[0])} MB at its peak. Of its seconds on the wall clock, {100 * epoch[1]:.1f} % were "
        "compute, communication or evaluation in `epochs.csv`; the rest is the order of samples, the hash of the weights and files."
    )


def page(names: Sequence[str], skipped: str, found: tuple[float, float], command: str, trainer: Trainer) -> frame.Page:
    """What was compared and how."""
    said = "\n".join(f"- *{name}*: {SAYS[name]}." for name in names)
    said += f"\n- *{COMPILED}* was left out: it doesn't work here ({skipped})." if skipped else ""
    assert isinstance(trainer.cell.model, DeepDensity)
    model, width = trainer.cell.model, trainer.training[0].shape[-1]
    where = (
        "on one CPU thread"
        if trainer.device.type == "cpu"
        else f"on {torch.cuda.get_device_name()}, float32 without TF32"
    )
    return frame.Page(
        title=f"The training step, {where}",
        command=command,
        compared=f"One step of training, from cubes of {width}³ voxels to changed weights, of the autoencoder with a mixture "
        f"of {model.components} normal densities, {where}. Its aim: within {AIM_FLOOR} times the convolutions alone at a batch of 32, "
        f"and at least {AIM_PLAIN:.0f} times faster than the plain way.\n\n{said}",
        how="Contenders take turns in one process, at one batch size after another; the first round is thrown away. A turn is "
        "the mean of as many steps as make one batch of the largest size (ten on a GPU), after one that isn't counted. Before that, *ours* and "
        f"*{PLAIN}* were given the same weights and cubes: the loss differed by {found[0]:.1e}, the gradient by "
        f"{found[1]:.1e}, relative to ours (allowed: {SAME:.0e}).",
        caveats=CAVEATS,
    )


def measure_on(device: str, folder: Path, output: Path, options: argparse.Namespace) -> None:
    """The page and the table of one device."""
    facts = frame.machine(PACKAGES)
    batches = QUICK_BATCHES if options.quick else BATCHES
    model, voxels = (TINY_MODEL, TINY_VOXELS) if options.quick else (DeepDensity(), VOXELS)
    fast, exact = trainers(folder, model, voxels, batches[0], device)
    assert isinstance(fast.model, DeepDensityNetwork)
    plain_model = PlainDensity(fast.model).to(fast.device)
    found = differences(fast, plain_model, batches[0])
    if max(found) > SAME:
        raise RuntimeError(
            f"the plain way doesn't compute the same: loss {found[0]:.1e}, gradient {found[1]:.1e} aside"
        )
    steps = create_steps(fast, exact, plain_model)
    skipped = drop_what_fails(steps, batches[0])
    summaries = measure(steps, batches, options.repeats, fast.device)
    counts = (8, 4) if options.quick else (QUICK_TRAINING, QUICK_VALIDATION)
    extra = f"## Aims\n\n{verdict(summaries, batches[0])}"
    if device == "cpu":
        start = measure_start(folder, options.repeats)
        extra += "\n\n" + start_section(start, measure_epoch(folder, *counts), sum(counts))
    command = f"python -m benchmarks.training --repeats {options.repeats}" + " --quick" * options.quick
    text = replace(page(list(steps), skipped, found, command, fast), extra=extra)
    frame.write(output, "training" if device == "cpu" else f"training_{device}", text, summaries, facts)


def main(arguments: list[str]) -> None:
    """Measure, and write training.md and training.csv, and training_cuda.* where there is a GPU."""
    parser = frame.parser("training", main.__doc__, repeats=21)
    parser.add_argument(
        "--devices", nargs="+", choices=DEVICES, default=DEVICES, help="to measure, where they are there"
    )
    options = parser.parse_args(arguments)
    output = frame.folder_of(options)
    for device in options.devices:
        if device == "cuda" and not torch.cuda.is_available():
            continue
        backend = "gloo" if device == "cpu" else "nccl"
        with tempfile.TemporaryDirectory() as folder:
            meeting = f"file://{folder}/meeting"
            distributed.init_process_group(backend, init_method=meeting, rank=0, world_size=1)
            measure_on(device, Path(folder), output, options)
            distributed.destroy_process_group()


if __name__ == "__main__":
    run(main)
