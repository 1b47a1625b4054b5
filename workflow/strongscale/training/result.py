"""What result.json tells of a run: what it came to, and all attempts behind it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from strongscale.common import provenance
from strongscale.recovery.continuation import Continuation
from strongscale.settings.cells import Cell
from strongscale.settings.margins import margins
from strongscale.training.epoch_log import SECONDS, Epoch
from strongscale.training.evaluation import Measured
from strongscale.training.loop import Trainer
from strongscale.training.stopping import Verdict


def describe(trainer: Trainer, verdict: Verdict, measured: Measured) -> dict[str, Any]:
    """The result of a run, as result.json tells it."""
    cell, epochs = trainer.cell, trainer.epoch_log.epochs
    last, best = (
        epochs[-1],
        min(epochs, key=lambda epoch: (epoch.validation_loss != epoch.validation_loss, epoch.validation_loss)),
    )
    reached = _first_at(trainer.target, epochs) if verdict.status == "converged" else None
    told = {
        "study": cell.study,
        "strategy": cell.strategy,
        "workers": cell.workers,
        "seed": cell.seed,
        "status": verdict.status,
        "diverged_because": verdict.because,
        "clock": cell.clock,
        "trajectory": str(Cell(cell.study, cell.strategy, cell.workers, cell.seed).folder),
        "target_loss": trainer.target,
        "epochs_to_target": reached and reached.epoch,
        "samples_to_target": reached and reached.samples,
        "minibatch": trainer.progress.batch,
        "num_training": trainer.progress.samples,
        "epochs": last.epoch,
        "best_validation_loss": _finite(best.validation_loss),
        "final_validation_loss": _finite(last.validation_loss),
        "null_loss": trainer.null_loss,
        "constant_loss": trainer.constant_loss,
        "learning_rate": cell.training.learning_rate,
        "margins": margins().digest,
        "measures": {name: _finite(float(values.mean())) for name, values in measured.values.items()},
    }
    if measured.is_of_groups:
        told["distributions"] = {name: _distribution(values) for name, values in measured.values.items()}
    return told | _seconds(last, reached)


def _first_at(target: float | None, epochs: Sequence[Epoch]) -> Epoch:
    """The epoch at whose end the loss was at the target for the first time."""
    assert target is not None
    return next(epoch for epoch in epochs if epoch.validation_loss <= target)


def _distribution(values: NDArray[np.float64]) -> dict[str, float | None]:
    """How values are spread: not every run with the same mean is as good for the worst of them."""
    lower, median, upper = (_finite(float(np.quantile(values, share))) for share in (0.25, 0.5, 0.75))
    return {"count": len(values), "lower_quartile": lower, "median": median, "upper_quartile": upper}


def _seconds(last: Epoch, reached: Epoch | None) -> dict[str, Any]:
    """What the wall clock measured; an emulated cell's seconds are computed afterwards, and stand nowhere in its result."""
    if last.seconds is None:
        return {}
    parts = {name: last.row[name] for name in SECONDS if name != "time_s"}
    return {"time_s": last.row["time_s"], "time_to_target_s": reached and reached.row["time_s"], "parts": parts}


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
