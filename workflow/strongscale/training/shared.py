"""Runs that take the same path to the bit are trained once: whoever comes later takes over what the first has made.

A path is what makes weights: data, model, seed, plan, optimizer, update rule, arithmetic, code, device and libraries; not
the study, the line's name, the network, or, in exact mode, the number of workers. results/trajectories/<path>.json names the
cell that has trained it, with digests of what lies there: where they don't fit any more, the run trains by itself.
"""

import itertools
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from strongscale.common import provenance
from strongscale.common.errors import UserError
from strongscale.common.files import atomic, read_json, write_json
from strongscale.common.schema import plain
from strongscale.jobs.receipts import digest
from strongscale.recovery.finished import MADE
from strongscale.settings.cells import Cell, settings_hash
from strongscale.strategies.base import planned
from strongscale.timing.steps import read_steps
from strongscale.training.loop import Trainer

log = logging.getLogger(__name__)

NOT_THE_PATHS = ("study", "strategy", "kind", "parameters", "workers", "clock")
COPIED = ("epochs.csv", "weights.safetensors")


def path_hash(trainer: Trainer) -> str:
    """The identity of the path that a run in exact mode takes."""
    cell, strategy, origin = trainer.cell, trainer.strategy, trainer.continuation.origin
    settings = {key: value for key, value in cell.identity.items() if key not in NOT_THE_PATHS}
    if strategy.reads_statistics or trainer.update.work(1, 1, 1) is None:
        settings |= {"kind": cell.kind, "parameters": plain(cell.parameters), "workers": cell.workers}
    else:
        training = cell.training
        epochs = planned(strategy, training.plan, cell.workers, trainer.progress.samples, training.course)
        settings["plan"] = [
            [(plan.batch, plan.rate) for plan in plans] for plans in itertools.islice(epochs, training.max_epochs)
        ]
    settings |= {name: origin[name] for name in ("code_hash", "versions")}
    settings["device"] = provenance.bare_name(origin["device"])
    settings["parts"] = [plain(part) for part in (trainer.update.engine.optimizer, cell.update_rule)]
    return settings_hash(settings)


def take_over(folder: Path, trainer: Trainer) -> bool:
    """Take over the run that has taken this very path, if there is one; every rank is told whether."""
    found = trainer.world.rank == 0 and trainer.cell.trajectories is not None and _take_over(folder, trainer)
    return bool(trainer.world.maximum(int(found)))


def _take_over(folder: Path, trainer: Trainer) -> bool:
    record = _record(folder, trainer)
    results = record.parent.parent
    if (folder / "heartbeat.json").exists() or any(folder.glob("checkpoint-*")):  # begun already: it goes on
        return False
    try:
        known = read_json(record)
        first = results / known["cell"]
        if first.resolve() == folder.resolve() or known["files"] != {name: digest(first / name) for name in MADE}:
            return False
        result = read_json(first / "result.json")
        steps = read_steps(first / "steps.json").on(trainer.cell.workers, trainer.update)
        for name in COPIED:
            with atomic(folder / name) as path:
                shutil.copyfile(first / name, path)
                if digest(path) != known["files"][name]:
                    raise UserError(f"{first / name}: made anew meanwhile")
    except (UserError, OSError, KeyError, TypeError):
        return False
    write_json(folder / "steps.json", plain(steps))
    write_json(folder / "result.json", result | _own(trainer))
    log.info("%s took this very path, and is taken over", known["cell"])
    return True


def _own(trainer: Trainer) -> dict[str, Any]:
    cell = trainer.cell
    own = {name: getattr(cell, name) for name in ("study", "strategy", "workers", "seed", "clock")}
    return own | {"settings_hash": cell.hash}


def register(folder: Path, trainer: Trainer) -> None:
    """Say that this run may be taken over by others, unless it changed device or libraries on its way; rank 0 alone."""
    origins = [(provenance.bare_name(one["device"]), one["versions"]) for one in trainer.continuation.history]
    if trainer.cell.trajectories is None or any(one != origins[0] for one in origins):
        return
    record, cell = _record(folder, trainer), trainer.cell
    name = Cell(cell.study, cell.strategy, cell.workers, cell.seed).folder
    if (record.parent.parent / name).resolve() != folder.resolve():  # trained by hand, somewhere else
        return
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"cell": name, "files": {name: digest(folder / name) for name in MADE}})


def _record(folder: Path, trainer: Trainer) -> Path:
    assert trainer.cell.trajectories is not None
    return Path(os.path.normpath(folder / trainer.cell.trajectories)) / f"{path_hash(trainer)}.json"
