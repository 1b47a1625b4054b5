"""One trial: a run of given settings in a folder, trained in this process; the same settings are never trained twice.

A search tries settings one after another, each in a folder of its own. Killed, it is started again: trials that ended are
looked up, and the one that was at work goes on from its last checkpoint.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import plain
from strongscale.distributed.world import World
from strongscale.jobs.gpus import own_gpu
from strongscale.recovery import failure
from strongscale.recovery.checkpoint import Store
from strongscale.recovery.finished import forget, is_finished
from strongscale.recovery.interrupt import EXIT_STATUS, SIGNALS, Interrupt, Interrupted
from strongscale.settings.cells import CellSettings
from strongscale.training.run import train_once


def run_trial(settings: CellSettings, folder: Path) -> dict[str, Any]:
    """Train these settings to their end in this folder, unless that was done; what result.json says, and `epochs_table`.

    A signal ends this process with 75 once the run has written a checkpoint; an `epochs_table` is the path of epochs.csv.
    """
    _write_settings(settings, folder)
    _train(folder, Interrupt())
    result: dict[str, Any] = read_json(folder / "result.json")
    return result | {"epochs_table": str(folder / "epochs.csv")}


def run_part(settings: CellSettings, folder: Path, epochs: int) -> tuple[list[float], bool]:
    """Train these settings on to the end of this epoch, unless that was done: all validation losses, and whether it diverged.

    A later part goes on from there; the one of the last epoch is the run's end.
    """
    _write_settings(settings, folder)
    is_last = epochs >= settings.training.max_epochs
    if is_last or not (is_finished(folder) or len(_losses(folder)) >= epochs):
        _train(folder, Interrupt(after_epoch=None if is_last else epochs))
    diverged = is_finished(folder) and read_json(folder / "result.json")["status"] == "diverged"
    return _losses(folder), diverged


def _losses(folder: Path) -> list[float]:
    """The validation losses of all epochs so far."""
    table = folder / "epochs.csv"
    return pd.read_csv(table)["validation_loss"].tolist() if table.exists() else []


def _train(folder: Path, interrupt: Interrupt) -> None:
    """Train what cell.json says on, to its end or to where it is to be left."""
    with _listening(interrupt):
        try:
            failure.clear(folder)
            train_once(folder, World(), any_ranks=True, interrupt=interrupt)
        except Interrupted:
            if interrupt.received:
                sys.exit(EXIT_STATUS)
        except Exception as error:
            failure.tell(folder, 0, error)
            raise
    if interrupt.received:
        sys.exit(EXIT_STATUS)


def _write_settings(settings: CellSettings, folder: Path) -> None:
    """Write cell.json where it isn't there or says something else; of a run of other settings nothing stays."""
    path, wanted = folder / "cell.json", plain(settings)
    with contextlib.suppress(UserError):
        if read_json(path) == wanted:
            return
    folder.mkdir(parents=True, exist_ok=True)
    forget(folder)
    Store(folder, {}).clear()
    (folder / "epochs.csv").unlink(missing_ok=True)
    write_json(path, wanted)


@contextlib.contextmanager
def _listening(interrupt: Interrupt) -> Iterator[None]:
    """Take signals while a trial runs; between trials they end the process, as they would any other."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    interrupt.listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def on_own_gpu(settings: CellSettings) -> Iterator[None]:
    """Let this process see a GPU that no other cell has, where there are several: for all trials of a search."""
    with own_gpu(plain(settings), os.environ) as shown:
        os.environ.update(shown)
        yield
