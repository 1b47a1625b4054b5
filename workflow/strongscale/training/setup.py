"""A run before its clock starts: data, strategy, device and world of the cell in a folder."""

import datetime
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from strongscale import models
from strongscale.common import parts, provenance
from strongscale.common.errors import UserError
from strongscale.distributed import world
from strongscale.distributed.world import World
from strongscale.gradients import passes
from strongscale.gradients.engine import Engine
from strongscale.gradients.flat import FlatParameters
from strongscale.gradients.passes import Passes
from strongscale.gradients.reduction import ExactReduction, FastReduction, Reduction
from strongscale.optimizers.base import Optimizer
from strongscale.recovery.checkpoint import Store
from strongscale.recovery.continuation import Continuation
from strongscale.recovery.finished import read_settings
from strongscale.recovery.interrupt import Interrupt
from strongscale.settings.cells import CellSettings
from strongscale.strategies.base import Strategy
from strongscale.timing import stopwatch
from strongscale.timing.clock import Clock, NoClock, WallClock
from strongscale.timing.steps import StepLog
from strongscale.training import samples, suitability
from strongscale.training.epoch_log import EpochLog
from strongscale.training.evaluation import Evaluation
from strongscale.training.heap import keep_freed_memory
from strongscale.training.loop import Trainer
from strongscale.training.samples import Samples

NUM_TRIED = 3


def code_of(cell: CellSettings) -> dict[str, str]:
    """The files that decide the cell's result, each with a digest; a user's own are in the settings."""
    chosen = [*cell.parts, type(optimizer_of(cell)), type(cell.update_rule)]
    named = [str(file) if (file := parts.file_of(part)) else part.__module__ for part in chosen]
    return provenance.code(*named) | cell.files


def optimizer_of(cell: CellSettings) -> Optimizer:
    """The entry's own, or the strategy's, or the study's."""
    return cell.optimizer or cell.create_strategy().optimizer() or cell.training.optimizer


def check_ranks(folder: Path, cell: CellSettings, ranks: World, *, any_ranks: bool) -> None:
    """Refuse more ranks than workers, and on the wall clock another number than was meant."""
    if ranks.size > cell.workers:
        raise UserError(f"{folder}: {ranks.size} ranks for {cell.workers} workers; allowed: at most one rank a worker")
    if cell.clock == "wall" and ranks.size != cell.ranks and not any_ranks:
        raise UserError(
            f"{folder}: {ranks.size} ranks; on the wall clock this run needs {cell.ranks}, as in its cell.json "
            "(or --any-ranks: the same weights, but seconds that count for nothing)"
        )


def check_files(folder: Path, cell: CellSettings) -> None:
    """Refuse a user's own file that isn't the one which the cell was made for."""
    if (found := parts.digests(cell.parts)) != cell.files:
        changed = ", ".join(sorted(dict(found.items() ^ cell.files.items())))
        raise UserError(f"{changed}: changed since {folder / 'cell.json'} was made; run again")


def set_up_torch(threads: int, device: torch.device) -> None:
    """Numbers that come out the same each time, in single precision; memory that is kept."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms, but without importing a compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # or a GPU fills each result first
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it for the same bits each time
        torch.cuda.set_device(device)


def prepare(folder: Path, ranks: World, *, any_ranks: bool = False, interrupt: Interrupt | None = None) -> Trainer:
    """Everything that happens before the clock starts."""
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    cell = read_settings(folder)
    code = code_of(cell)
    code_hash = provenance.code_hash(code)
    check_ranks(folder, cell, ranks, any_ranks=any_ranks)
    check_files(folder, cell)
    device = world.choose_device(cell.training.device, ranks)
    set_up_torch(cell.training.threads, device)
    ranks.connect(device)
    own = samples.read(folder, cell)
    model = create_model(cell, own, device)
    strategy, update, task, flat = cell.create_strategy(), cell.update_rule, cell.task, FlatParameters(model)
    continuation = Continuation(
        world=ranks,
        store=Store(folder, {"settings": cell.hash, "code": code_hash}),
        settings=cell.checkpoints,
        interrupt=interrupt or Interrupt(),
        code=code,
        origin={"started_at": started_at} | describe_origin(ranks, device) | {"code_hash": code_hash},
    )
    clock = create_clock(cell, device, continuation)
    both_ways = passes.create(flat, lambda batch: task.losses(model, batch))
    training, validation = (tuple(tensor.to(device) for tensor in batch) for batch in (own.training, own.validation))
    update.begin(
        Engine(
            training=training,
            flat=flat,
            reduction=create_reduction(cell, strategy, flat, both_ways, ranks),
            optimizer=optimizer_of(cell),
            laps=clock,
        )
    )
    return Trainer(
        cell=cell,
        strategy=strategy,
        update=update,
        model=model,
        flat=flat,
        world=ranks,
        device=device,
        training=training,
        evaluation=Evaluation(
            task=task,
            model=model,
            passes=both_ways,
            validation=validation,
            chunk=cell.training.evaluation_chunk,
            world=ranks,
            clock=clock,
        ),
        null_loss=own.null_loss,
        constant_loss=own.constant_loss,
        clock=clock,
        steps=StepLog(
            workers=cell.workers,
            num_training=len(training[0]),
            num_validation=len(validation[0]),
            evaluation_chunk=cell.training.evaluation_chunk,
            gradient_bytes=update.engine.gradient_bytes,
        ),
        epoch_log=EpochLog(folder / "epochs.csv" if ranks.rank == 0 else None),
        continuation=continuation,
    )


def create_model(cell: CellSettings, own: Samples, device: torch.device) -> nn.Module:
    """The network on its device, with its initial weights; one that can't be trained here is refused."""
    if cell.model is None:
        model, key = samples.create_model(cell.task, cell.seed), f"task: {cell.task.kind!r}"
    else:
        with torch.random.fork_rng(devices=[]), parts.blamed():
            torch.manual_seed(cell.seed)
            model, key = cell.model.create(own.training[0].shape[-1]), f"model.kind: {cell.model.kind!r}"
            models.initialise(model, cell.seed, cell.brightness)
    model.to(device)
    if device.type == "cpu":
        models.lay_out(model)
    with parts.blamed():
        suitability.check(model, cell.task.losses, tuple(tensor[:NUM_TRIED].to(device) for tensor in own.training), key)
    return model


def create_reduction(
    cell: CellSettings, strategy: Strategy, flat: FlatParameters, both_ways: Passes, ranks: World
) -> Reduction:
    """How the cell's gradients are summed."""
    measures = strategy.reads_statistics
    if cell.training.reduction == "exact":
        return ExactReduction(flat, both_ways, ranks, cell.workers, measures, microbatch=cell.training.microbatch)
    return FastReduction(flat, both_ways, ranks, cell.workers, measures)


def create_clock(cell: CellSettings, device: torch.device, continuation: Continuation) -> Clock:
    """The cell's clock."""
    if cell.clock == "emulated":
        return NoClock()
    watch = stopwatch.create(device, continuation.suspension.watch)
    return WallClock(watch, continuation.suspension)


def describe_origin(ranks: World, device: torch.device) -> dict[str, Any]:
    """Machine and versions behind an attempt; a collective call."""
    places = ranks.all_gather((provenance.host_name(), provenance.device_name(device, ranks.local_size)))
    hosts, devices = (sorted(set(names)) for names in zip(*places, strict=True))
    return {
        "ranks": ranks.size,
        "transport": ranks.transport,
        "hosts": hosts,
        "device": " and ".join(devices),
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit() if ranks.rank == 0 else None,
    }
