"""A run before its clock starts: data, strategy, device and world of the cell in a folder."""

import datetime
import os
from pathlib import Path
from typing import Any

import torch

from strongscale.common import provenance
from strongscale.common.errors import UserError
from strongscale.common.schema import build
from strongscale.data.dataset import Samples, central_section, load
from strongscale.distributed import world
from strongscale.distributed.world import World
from strongscale.recovery.checkpoint import Store
from strongscale.recovery.continuation import Continuation
from strongscale.recovery.finished import read_settings
from strongscale.recovery.interrupt import Interrupt
from strongscale.settings.cells import CellSettings
from strongscale.settings.config import SEQUENTIAL
from strongscale.strategies import named
from strongscale.strategies.base import Strategy
from strongscale.training.epoch_log import Journal
from strongscale.training.heap import keep_freed_memory
from strongscale.training.loop import Trainer


def read_samples(folder: Path, cell: CellSettings) -> Samples:
    """The data set that the cell was made for."""
    samples = load(folder / cell.dataset, cell.model.dimensions)
    if samples.hash != cell.dataset_hash:
        raise UserError(
            f"{folder / cell.dataset}: not the data set that {folder / 'cell.json'} was made for; run again"
        )
    return samples


def create_strategy(cell: CellSettings) -> Strategy:
    """The strategy that the settings name."""
    kind = Strategy if cell.kind == SEQUENTIAL else named(cell.kind)
    return build(kind, cell.parameters, "parameters")


def code_of(cell: CellSettings) -> dict[str, str]:
    """The files that decide the cell's result, each with a digest."""
    strategies = [] if cell.kind == SEQUENTIAL else [f"strongscale.strategies.{cell.kind}"]
    return provenance.code(f"strongscale.models.{cell.model.kind}", *strategies)


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
    if ranks.size > cell.workers:
        raise UserError(f"{folder}: {ranks.size} ranks for {cell.workers} workers; allowed: at most one rank a worker")
    if cell.clock == "wall" and ranks.size != cell.ranks and not any_ranks:
        raise UserError(
            f"{folder}: {ranks.size} ranks; on the wall clock this run needs {cell.ranks}, as in its cell.json "
            "(or --any-ranks: the same weights, but seconds that count for nothing)"
        )
    device = world.choose_device(cell.training.device, ranks)
    set_up_torch(cell.training.threads, device)
    ranks.connect(device)
    samples = read_samples(folder, cell)
    return Trainer(
        cell=cell,
        strategy=create_strategy(cell),
        world=ranks,
        device=device,
        training=_to_device(samples.training, cell, device),
        validation=_to_device(samples.validation, cell, device),
        null_loss=samples.null_loss,
        constant_loss=samples.constant_loss,
        journal=Journal(folder / "epochs.csv" if ranks.rank == 0 else None),
        continuation=Continuation(
            world=ranks,
            store=Store(folder, {"settings": cell.hash, "code": code_hash}),
            settings=cell.checkpoints,
            interrupt=interrupt or Interrupt(),
            code=code,
            origin={"started_at": started_at} | describe_origin(ranks, device) | {"code_hash": code_hash},
        ),
    )


def _to_device(cubes: Any, cell: CellSettings, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(central_section(cubes, cell.model.dimensions).copy()).to(device)


def describe_origin(ranks: World, device: torch.device) -> dict[str, Any]:
    """Machine and versions behind an attempt; a collective call."""
    places = ranks.gather((provenance.host_name(), provenance.device_name(device, ranks.local_size)))
    hosts, devices = (sorted(set(names)) for names in zip(*places, strict=True))
    return {
        "ranks": ranks.size,
        "transport": ranks.transport,
        "hosts": hosts,
        "device": " and ".join(devices),
        "versions": provenance.versions(),
        "git_commit": provenance.git_commit() if ranks.rank == 0 else None,
    }
