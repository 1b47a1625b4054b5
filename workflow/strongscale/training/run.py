"""A cell trained to its end, from wherever it stands: epochs.csv as it goes, weights.safetensors, result.json last."""

import contextlib
import logging
import time
from pathlib import Path

import safetensors.torch

from strongscale.common import parts, provenance
from strongscale.common.files import atomic, write_json
from strongscale.common.lock import PATIENCE_S, locked
from strongscale.common.schema import plain
from strongscale.distributed.world import World
from strongscale.recovery.finished import forget, is_finished
from strongscale.recovery.interrupt import Interrupt
from strongscale.training import result, setup, shared
from strongscale.training.loop import Trainer

log = logging.getLogger(__name__)


def train_once(
    folder: Path, ranks: World, *, any_ranks: bool = False, interrupt: Interrupt, patience_s: float = PATIENCE_S
) -> None:
    """Train the cell in this folder, unless a run of its settings has finished; one at a time is at work in a folder."""
    with locked(folder, patience_s) if ranks.rank == 0 else contextlib.nullcontext():
        if ranks.maximum(int(ranks.rank == 0 and is_finished(folder))):
            log.info("%s: done already, by another run", folder)
            return
        if ranks.rank == 0:
            forget(folder)
        train(folder, ranks, any_ranks=any_ranks, interrupt=interrupt)


def train(folder: Path, ranks: World, *, any_ranks: bool = False, interrupt: Interrupt | None = None) -> None:
    """Train the cell in this folder, or train it on, and write its result."""
    start_s = time.perf_counter()
    with parts.blamed():
        trainer = setup.prepare(folder, ranks, any_ranks=any_ranks, interrupt=interrupt)
        with trainer.continuation.suspension.watch.running():
            _train(folder, trainer, start_s)


def _train(folder: Path, trainer: Trainer, start_s: float) -> None:
    ranks, continuation = trainer.world, trainer.continuation
    continuation.interrupt.listen()
    if shared.take_over(folder, trainer):
        return
    step = continuation.resume(trainer)
    if step is None:
        trainer.epoch_log.restore([])
    startup_s = time.perf_counter() - start_s
    if ranks.rank == 0:
        tell_start(folder, trainer, step)
    verdict = trainer.run()
    measured = trainer.evaluation.measures()
    for name, values in measured.values.items():
        groups = "groups of " if measured.is_of_groups else ""
        log.info("%s %.6g, the mean over %d %svalidation samples", name, values.mean(), len(values), groups)
    if ranks.rank == 0:
        trainer.epoch_log.restore(trainer.epoch_log.epochs)  # whole, should somebody have removed it meanwhile
        with atomic(folder / "weights.safetensors") as path:
            weights = {name: value.contiguous() for name, value in trainer.model.state_dict().items()}
            safetensors.torch.save_file(weights, path)
        write_json(folder / "steps.json", plain(trainer.steps.whole()))
        told = result.describe(trainer, verdict, measured) | {"startup_s": startup_s}
        told |= result.describe_life(continuation)
        write_json(folder / "result.json", told)
        shared.register(folder, trainer)
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
