"""Real ranks on this machine's cores: our step against DistributedDataParallel, and what communication takes of it."""

import argparse
import copy
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks import frame
from benchmarks.training import RATE, SAME, SEED, TINY_MODEL, TINY_VOXELS, VOXELS, write_dataset
from strongscale.common.command import run
from strongscale.common.files import write_json
from strongscale.common.schema import plain
from strongscale.distributed import world
from strongscale.distributed.world import MPIWorld
from strongscale.gradients.passes import Batch
from strongscale.jobs import launchers
from strongscale.models.base import Model
from strongscale.models.deepdensity import DeepDensity
from strongscale.models.density.network import DeepDensityNetwork
from strongscale.settings.cells import Cell
from strongscale.settings.config import StrategyEntry, Study, Training
from strongscale.timing.seconds import Seconds
from strongscale.training import prepare, setup
from strongscale.training.heap import LARGEST_KEPT, keep_freed_memory
from strongscale.training.loop import Trainer

BATCHES, QUICK_BATCHES = (32, 8, 2), (2,)
WARM_UP = 3
PACKAGES = ("torch", "mpi4py", "openmpi")
OURS, EXACT, OVERLAPPED = "ours", "ours, exact", "ours, overlapped"
BUCKETS, BUCKET = "DDP with gloo, buckets of 1 MB", "DDP with gloo, one bucket"
BUCKET_MB = {BUCKETS: 1, BUCKET: 100}

SAYS = {
    OURS: "`Trainer.step_once` as in every run: the backward pass, then one MPI all-reduce of the flat gradient, then Adam",
    EXACT: "the same with `reduction: exact` (micro-batches of 4, or of a rank's whole share where that is less)",
    OVERLAPPED: "*ours*, but the decoder's gradients, which are ready first and are nearly all of the bytes, set out in an "
    "`Iallreduce` while the convolutions' backward pass goes on. Not part of the package: written for this page",
    BUCKETS: "our model and loss in `DistributedDataParallel` over gloo, which sends gradients in buckets as they become ready; "
    "fused Adam over the list of parameters",
    BUCKET: "the same with one bucket for all gradients, so that nothing is sent before the backward pass has ended",
}
CAVEATS = (
    "Ranks of one machine: gradients travel through its memory, not through a network.",
    "*Communication* of ours is the time inside the all-reduce as rank 0 lives it, waiting for the other ranks included; "
    "that of DDP, which sends while it computes, is its step less the same step under `no_sync`.",
    "Each turn is a new set of processes; the first steps of each aren't counted.",
)

Step = Callable[[], object]


class Losses(nn.Module):
    """Our model and its mean loss as one module, for DDP."""

    def __init__(self, model: DeepDensityNetwork):
        super().__init__()
        self.model = model

    def forward(self, cubes: Tensor) -> Tensor:
        """The mean loss of these cubes."""
        return self.model.losses(cubes).mean()


def write_cells(folder: Path, ranks: int, batch: int, model: Model, samples: Path) -> None:
    """The cell.json of a strong run of so many workers, for each way of adding up."""
    for reduction in ("fast", "exact"):
        settings = Training(
            learning_rate=RATE,
            target=None,
            batch_size=batch,
            reduction=reduction,
            microbatch=min(4, batch // ranks),
            device="cpu",
        )
        study = Study(dataset="random", strategies={"strong": StrategyEntry()}, model=model, training=settings)
        own = folder / reduction
        own.mkdir(parents=True)
        cell = prepare.resolve(study, Cell("benchmark", "strong", ranks, SEED), folder=own, dataset=samples)
        write_json(own / "cell.json", plain(cell))


# --- in the ranks


def overlap(trainer: Trainer) -> None:
    """Send the decoder's gradients as soon as they are there."""
    assert isinstance(trainer.model, DeepDensityNetwork)
    ranks = trainer.world
    assert isinstance(ranks, MPIWorld)
    comm, in_place = ranks._comm, ranks._mpi.IN_PLACE
    weight, bias = trainer.model.decoder.weight, trainer.model.decoder.bias
    gradient = trainer.flat.gradient.numpy()
    begin = trainer.flat.gradient.numel() - weight.numel() - bias.numel()
    assert weight.grad is not None and weight.grad.data_ptr() == trainer.flat.gradient[begin:].data_ptr()
    waiting, requests = set(), []

    def ready(parameter: Tensor) -> None:
        waiting.discard(id(parameter))
        if not waiting:
            requests.append(comm.Iallreduce(in_place, gradient[begin:]))

    for parameter in (weight, bias):
        parameter.register_post_accumulate_grad_hook(ready)

    def start(num_samples: int) -> None:
        trainer.flat.gradient.zero_()
        waiting.update((id(weight), id(bias)))

    def add(samples: Batch, worker: int) -> Tensor:
        losses = trainer.update.engine.reduction.passes.losses_of(samples)
        losses.sum().backward()
        return losses.detach()

    def finish() -> Tensor:
        comm.Allreduce(in_place, gradient[:begin])
        requests.pop().Wait()
        return trainer.flat.gradient

    for method in (start, add, finish):
        setattr(trainer.update.engine.reduction, method.__name__, method)


def our_step(folder: Path, name: str, ranks: world.World) -> tuple[Step, Callable[[], float]]:
    """A step, and the seconds spent communicating so far."""
    trainer = setup.prepare(folder / ("exact" if name == EXACT else "fast"), ranks)
    if name == OVERLAPPED:
        trainer.step_once()
        expected = trainer.flat.gradient.clone()
        overlap(trainer)
        trainer.step_once()
        check_same(trainer.flat.gradient, expected)
    return trainer.step_once, lambda: _seconds(trainer).communication


def _seconds(trainer: Trainer) -> Seconds:
    """On the wall clock."""
    seconds = trainer.clock.now()
    assert seconds is not None
    return seconds


def ddp_steps(folder: Path, name: str, ranks: world.World, batch: int) -> tuple[Step, Step]:
    """A step, and the same step without any gradient sent."""
    trainer = setup.prepare(folder / "fast", ranks)
    keep_freed_memory(2 * LARGEST_KEPT)  # as usual
    assert isinstance(trainer.model, DeepDensityNetwork)
    size = batch // ranks.size
    share = trainer.training[0][ranks.rank * size :][:size].clone()
    losses = Losses(copy.deepcopy(trainer.model).requires_grad_())
    torch.use_deterministic_algorithms(False)
    model = DistributedDataParallel(losses, bucket_cap_mb=BUCKET_MB[name], gradient_as_bucket_view=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        model(share).backward()
        optimizer.step()

    def step_alone() -> None:
        with model.no_sync():
            step()

    trainer.step_once()
    step()
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    ours = [gradient.flatten() for gradient in trainer.flat.split(trainer.flat.gradient)]
    check_same(torch.cat(gradients), torch.cat(ours))
    return step, step_alone


def check_same(gradient: Tensor, expected: Tensor) -> None:
    """Contenders must do the same work."""
    difference = float((gradient - expected).norm() / expected.norm())
    if not difference < SAME:
        raise RuntimeError(f"the gradients differ by {difference:.1e}")


def milliseconds(step: Step, num_steps: int, ranks: world.World) -> float:
    """The mean of some steps, after a few that don't count."""
    for _ in range(WARM_UP):
        step()
    ranks.barrier()
    start_s = time.perf_counter()
    for _ in range(num_steps):
        step()
    ranks.barrier()
    return 1000 * (time.perf_counter() - start_s) / num_steps


def be_a_rank(folder: Path, name: str, batch: int, num_steps: int) -> None:
    """One rank of one contender; rank 0 tells its figures."""
    ranks = world.create()
    if name in BUCKET_MB:
        meeting = f"file://{folder}/meeting"
        distributed.init_process_group("gloo", init_method=meeting, rank=ranks.rank, world_size=ranks.size)
        step, step_alone = ddp_steps(folder, name, ranks, batch)
        alone_ms = milliseconds(step_alone, num_steps, ranks)
        step_ms = milliseconds(step, num_steps, ranks)
        communication_ms = step_ms - alone_ms
        distributed.destroy_process_group()
    else:
        step, communicated_s = our_step(folder, name, ranks)
        milliseconds(step, WARM_UP, ranks)
        before_s = communicated_s()
        step_ms = milliseconds(step, num_steps, ranks)
        communication_ms = 1000 * (communicated_s() - before_s) / (num_steps + WARM_UP)
    if ranks.rank == 0:
        figures = {f"batch_{batch}_ms": step_ms}
        if ranks.size > 1:
            figures[f"batch_{batch}_communication_ms"] = communication_ms
        sys.stdout.write(json.dumps(figures) + "\n")


# --- around them


def turn(folder: Path, name: str, ranks: int, *, batches: tuple[int, ...], quick: bool, samples: Path) -> frame.Figures:
    """All batch sizes of one contender on so many ranks, each in processes of its own."""
    figures: dict[str, float] = {}
    for batch in batches:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            write_cells(Path(own), ranks, batch, TINY_MODEL if quick else DeepDensity(), samples)
            num_steps = 2 if quick else max(20, 320 // batch)
            arguments = ["--rank-of", name, "--folder", own, "--batch", str(batch), "--steps", str(num_steps)]
            launcher = launchers.choose(os.environ, None)
            command = launchers.command_line(launcher, ranks, os.environ, "benchmarks.ranks", *arguments)
            with_package = f"PYTHONPATH={os.pathsep.join([launchers.PACKAGE, str(Path.cwd())])}"
            command = [with_package if word.startswith("PYTHONPATH=") else word for word in command]
            figures |= {key: value for key, value in frame.run_alone(command).items() if key.startswith("batch")}
    return figures


def page(names: list[str], command: str) -> frame.Page:
    """What was compared and how."""
    said = "\n".join(f"- *{name}*: {SAYS[name]}." for name in (OURS, EXACT, OVERLAPPED, BUCKETS, BUCKET))
    return frame.Page(
        title="Real ranks on one machine",
        command=command,
        compared="One training step of the whole model on 16³ cubes, the minibatch split over ranks (strong scaling), a core a "
        f"rank.\n\n{said}",
        how="Contenders take turns, each time in new processes that mpirun starts; the first round is thrown away. A figure is "
        f"the mean of the steps after {WARM_UP} that aren't counted. On one rank nothing is sent. Before that, the gradients of "
        f"*{OVERLAPPED}* and of DDP were compared with ours (allowed: {SAME:.0e}, relative). Ratios are to *{names[0]}*.",
        caveats=CAVEATS,
    )


def main(arguments: list[str]) -> None:
    """Measure, and write ranks.md and ranks.csv."""
    parser = frame.parser("ranks", main.__doc__, repeats=5)
    for name in ("--rank-of", "--folder", "--batch", "--steps"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rank_of:
        logging.getLogger().setLevel(logging.WARNING)
        be_a_rank(Path(options.folder), options.rank_of, int(options.batch), int(options.steps))
        return
    batches = QUICK_BATCHES if options.quick else BATCHES
    most = 2 if options.quick else len(os.sched_getaffinity(0))
    numbers = [ranks for ranks in (2, 4, 8, 16) if ranks <= most]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "samples", max(batches), 1, TINY_VOXELS if options.quick else VOXELS)
        one = partial(turn, folder, batches=batches, quick=options.quick, samples=folder / "samples")
        contenders = {f"{OURS}, 1 rank": partial(one, OURS, 1)}
        contenders |= {
            f"{name}, {ranks} ranks": partial(one, name, ranks)
            for ranks in numbers
            for name in (OURS, EXACT, OVERLAPPED, BUCKETS, BUCKET)
        }
        facts = frame.machine(PACKAGES)
        summaries = frame.summarise(frame.take_turns(contenders, options.repeats))
    command = f"python -m benchmarks.ranks --repeats {options.repeats}" + " --quick" * options.quick
    output = frame.folder_of(options)
    frame.write(output, "ranks", page(list(contenders), command), summaries, facts)


if __name__ == "__main__":
    run(main)
