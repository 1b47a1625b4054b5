"""Train one cell: `mpirun -n <ranks> python -m mpi4py -m strongscale.train <cell folder>`.

All it needs stands in the folder's cell.json. It writes epochs.csv as it goes, then weights.safetensors, and
result.json last: where that is, the cell is done.
"""

import argparse
import contextlib
import datetime
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from strongscale import failure, provenance, world
from strongscale.cells import CellSettings
from strongscale.checkpoint import Store
from strongscale.command import run
from strongscale.config import SEQUENTIAL, SequentialEpochs
from strongscale.continuation import Continuation
from strongscale.data.dataset import Samples, central_section, load
from strongscale.errors import UserError
from strongscale.files import atomic, write_json
from strongscale.finished import forget, is_finished, read_settings
from strongscale.heap import keep_freed_memory
from strongscale.interrupt import EXIT_STATUS, Interrupt, Interrupted
from strongscale.journal import Journal
from strongscale.lock import PATIENCE_S, locked
from strongscale.schema import build
from strongscale.stopping import Verdict
from strongscale.strategies import named
from strongscale.strategies.base import Strategy
from strongscale.trainer import Trainer
from strongscale.world import World

log = logging.getLogger(__name__)


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


def describe(trainer: Trainer, verdict: Verdict) -> dict[str, Any]:
    """The result of a run, as result.json tells it."""
    cell, epochs = trainer.cell, trainer.journal.epochs
    last, best = (
        epochs[-1],
        min(epochs, key=lambda epoch: (epoch.validation_loss != epoch.validation_loss, epoch.validation_loss)),
    )
    target = trainer.target
    status, reached = verdict.status, last if verdict.status == "converged" else None
    if isinstance(cell.training.target, SequentialEpochs) and status == "exhausted":
        if best.validation_loss < trainer.constant_loss:
            status, reached, target = "converged", best, best.validation_loss
        else:
            log.warning(
                "the sequential run learnt less than the best constant output, whose loss is %.6f: it sets no target",
                trainer.constant_loss,
            )
    return {
        "study": cell.study,
        "strategy": cell.strategy,
        "workers": cell.workers,
        "seed": cell.seed,
        "status": status,
        "diverged_because": verdict.because,
        "clock": cell.clock,
        "network": cell.network_name,
        "target_loss": target,
        "epochs_to_target": reached and reached.epoch,
        "samples_to_target": reached and reached.samples,
        "time_to_target_s": reached and reached.time_s,
        "minibatch": trainer.minibatch_size,
        "num_training": len(trainer.training),
        "epochs": last.epoch,
        "time_s": last.time_s,
        "best_validation_loss": _finite(best.validation_loss),
        "final_validation_loss": _finite(last.validation_loss),
        "null_loss": trainer.null_loss,
        "constant_loss": trainer.constant_loss,
        "learning_rate": cell.training.learning_rate,
        "parts": {name: getattr(last, name) for name in ("compute_s", "communication_s", "evaluation_s")},
    }


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


def describe_life(continuation: Continuation) -> dict[str, Any]:
    """All attempts behind a result, the last one's origin at the top."""
    history = continuation.history
    return history[-1] | {
        "settings_hash": continuation.store.identity["settings"],
        "code": continuation.code,
        "attempts": continuation.attempts,
        "device_changed": provenance.device_changed([attempt["device"] for attempt in history]),
        "lost_s": continuation.lost_s,
        "between_s": continuation.between_s,
        "lived_s": continuation.lived_s,
        "checkpoint_s": continuation.checkpoint_s,
        "suspended_s": continuation.suspended_s,
        "history": history,
    }


def _finite(loss: float) -> float | None:
    return loss if abs(loss) < float("inf") else None


def train(folder: Path, ranks: World, *, any_ranks: bool = False, interrupt: Interrupt | None = None) -> None:
    """Train the cell in this folder, or train it on, and write its result."""
    start_s = time.perf_counter()
    trainer = prepare(folder, ranks, any_ranks=any_ranks, interrupt=interrupt)
    with trainer.continuation.suspension.watch.running():
        _train(folder, trainer, start_s)


def _train(folder: Path, trainer: Trainer, start_s: float) -> None:
    ranks, continuation = trainer.world, trainer.continuation
    continuation.interrupt.listen()
    step = continuation.resume(trainer)
    if step is None:
        trainer.journal.restore([])
    startup_s = time.perf_counter() - start_s
    if ranks.rank == 0:
        tell_start(folder, trainer, step)
    verdict = trainer.run()
    if ranks.rank == 0:
        trainer.journal.restore(trainer.journal.epochs)  # whole, should somebody have removed it meanwhile
        with atomic(folder / "weights.safetensors") as path:
            weights = {name: value.contiguous() for name, value in trainer.model.state_dict().items()}
            safetensors.torch.save_file(weights, path)
        told = describe(trainer, verdict) | {"startup_s": startup_s} | describe_life(continuation)
        write_json(folder / "result.json", told)
        continuation.end()


def tell_start(folder: Path, trainer: Trainer, step: int | None) -> None:
    """What is about to be trained, where, and which attempt this is."""
    continuation = trainer.continuation
    devices = [attempt["device"] for attempt in continuation.history]
    log.info("%s: %s on %d ranks, %s", folder, trainer.cell.title, trainer.world.size, devices[-1])
    if continuation.attempts > 1:
        log.info("attempt %d, from %s", continuation.attempts, "the beginning" if step is None else f"step {step}")
    if provenance.device_changed(devices):
        log.warning("an earlier attempt computed on another device: %s", ", then ".join(dict.fromkeys(devices)))


def main(arguments: list[str]) -> None:
    """Train the cell whose folder holds cell.json."""
    parser = argparse.ArgumentParser(prog="strongscale.train", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    parser.add_argument("--any-ranks", action="store_true", help="on the wall clock: whatever cell.json says of ranks")
    parser.add_argument("--patience-s", type=float, default=PATIENCE_S, help="for another run in the folder to end")
    options = parser.parse_args(arguments)
    folder, interrupt = options.folder, Interrupt()
    interrupt.listen()
    ranks = world.create()
    if ranks.rank > 0:
        logging.getLogger().setLevel(logging.WARNING)
    read_settings(folder)  # a wrong folder is told before anything is written to it
    try:
        with locked(folder, options.patience_s) if ranks.rank == 0 else contextlib.nullcontext():
            if ranks.largest(int(ranks.rank == 0 and is_finished(folder))):
                log.info("%s: done already, by another run", folder)
            else:
                if ranks.rank == 0:
                    forget(folder)
                train(folder, ranks, any_ranks=options.any_ranks, interrupt=interrupt)
    except Interrupted:
        if ranks.rank == 0:
            log.warning("interrupted by a signal; start again to go on from the last checkpoint")
        ranks.close()
        sys.exit(EXIT_STATUS)
    except Exception as error:
        failure.tell(folder, ranks.rank, error)
        raise
    ranks.close()


if __name__ == "__main__":
    run(main)
