"""Run a cell: start its ranks, pass signals on gently, leave in time, and say last why it failed.

`python -m strongscale.jobs.launch <cell folder>`; cell.json says how many ranks, where it runs says how they are started. A
scheduler's SIGTERM would make mpirun kill its ranks within a second, before they have checkpointed; so mpirun runs in a
session of its own and is told SIGUSR1, which it hands to the ranks. The same happens by itself ahead of the job's time
limit, whatever signals the scheduler sends. When this process is stopped, so are the ranks; if it is killed outright, they go
with it. After a failure the last line is the reason: mpirun itself names none.

What the ranks say goes to train.log, which belongs to the run, as all that it makes does. Where a run of these very settings
is finished, by an earlier job say, only the receipt is written.
"""

import argparse
import ctypes
import importlib.util
import logging
import math
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from strongscale.common.batch_job import scheduled_job
from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.jobs import all_reduce, launchers, receipts, standstill
from strongscale.jobs.gpus import own_gpu
from strongscale.jobs.scheduler import submission
from strongscale.recovery import failure
from strongscale.recovery.finished import MADE, is_finished
from strongscale.recovery.interrupt import EXIT_STATUS, SIGNALS

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
NEEDED = ("torch", "numpy", "pandas", "safetensors")
SHORTEST_S = 10.0
"""A job warned earlier than this after its start would never get anywhere."""
STOOD_S = 5.0
"""Who asks for the time every moment, and so long not, was suspended."""


@dataclass
class Ended:
    """How the ranks ended."""

    status: int
    limit_reached: bool


def die_with_parent() -> None:
    """In the child: ask Linux for SIGKILL when the parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start_and_wait(command: list[str], folder: Path, variables: dict[str, str], leave_after_s: float | None) -> Ended:
    """Run the command to its end, whatever signals come meanwhile; tell it to leave when its time is up.

    Ranks that still start don't listen to signals yet, and would die of them: they are told once they have given a sign
    of life.

    Open MPI names its session folder after mpirun's process id and leaves it behind when killed; a later mpirun that gets
    the same id then fails to start. In a scratch folder of its own it never meets another's.
    """
    before = _sign_of_life(folder)
    with (
        tempfile.TemporaryDirectory(prefix="mpi-", ignore_cleanup_errors=True) as scratch,
        (folder / failure.LOG).open("ab") as said,  # appended to: another copy of this run may be at work
    ):
        process = subprocess.Popen(  # noqa: PLW1509 - no threads here, and Linux alone has the call
            command,
            stdout=said,
            stderr=said,
            env=os.environ | variables | {"TMPDIR": scratch},
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        ended, told = Ended(0, limit_reached=False), threading.Event()

        def hand_on(number: int, frame: FrameType | None) -> None:
            told.set()

        for number in (*SIGNALS, signal.SIGINT):
            signal.signal(number, hand_on)
        signal.signal(signal.SIGTSTP, _stand_still)
        left = TimeLeft(math.inf if leave_after_s is None else max(leave_after_s, SHORTEST_S))
        with standstill.following(process.pid):
            while (status := _wait(process)) is None:
                if left.is_over() and not ended.limit_reached:
                    ended.limit_reached = True
                    told.set()
                if told.is_set() and _sign_of_life(folder) != before:
                    told.clear()
                    process.send_signal(signal.SIGUSR1)
        ended.status = status
    return ended


class TimeLeft:
    """A job's time, which doesn't pass while the job is suspended: nor does it for schedulers."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last_s = seconds, time.monotonic()

    def is_over(self) -> bool:
        """Whether it is used up; to be asked every moment, or the job is taken for suspended."""
        last_s, self._last_s = self._last_s, time.monotonic()
        passed_s = self._last_s - last_s
        self._seconds -= passed_s if passed_s < STOOD_S else 0.0
        return self._seconds <= 0


def _stand_still(number: int, frame: FrameType | None) -> None:
    """SIGTSTP, which can be caught, and which Linux drops where no shell could continue us, becomes SIGSTOP."""
    os.kill(os.getpid(), signal.SIGSTOP)


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    """The exit status, if the process ends within a moment."""
    try:
        return process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return None


def _sign_of_life(folder: Path) -> int:
    """When the ranks last said that they listen, in nanoseconds of the file system's clock; 0: never."""
    try:
        return (folder / "heartbeat.json").stat().st_mtime_ns
    except OSError:
        return 0


def why(ended: Ended, folder: Path, ranks: int, memory_mb: int | None) -> str:
    """Why a run failed, written down too for whoever asks later."""
    for package in (*NEEDED, *(["mpi4py"] if ranks > 1 else [])):
        if importlib.util.find_spec(package) is None:
            reason = f"the node {platform.node()} lacks the package {package}: use the same environment there"
            failure.record(folder, reason)
            return reason
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    reason = failure.explain(
        ended.status, folder, asked_mb=memory_mb, peak_mb=peak_mb, limit_reached=ended.limit_reached
    )
    failure.record(folder, reason)
    return reason


def note_job(folder: Path) -> None:
    """Say in job.json which job this is: it may have been requeued, or submitted by hand."""
    job = scheduled_job(os.environ)
    if job and all(one["id"] != job["id"] for one in submission.jobs_of(folder)):
        submission.note(folder, job | {"submitted_at": time.time(), "log": None})


def main(arguments: list[str]) -> None:
    """Run a cell; leave with 75 if it is to be continued, with 1 and the reason if it failed."""
    parser = argparse.ArgumentParser(prog="strongscale.jobs.launch", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    parser.add_argument("--launcher", help="what starts the ranks, in place of our own choice; -n <ranks> is added")
    parser.add_argument("--minutes", type=float, help="the job's time limit")
    parser.add_argument(
        "--warning-s", type=float, default=120.0, help="ahead of the limit, when to checkpoint and leave"
    )
    parser.add_argument("--memory-mb", type=int, help="what the job asked for, for one rank")
    parser.add_argument("--attempt", type=int, default=1, help="which try this is")
    parser.add_argument("--command", nargs=argparse.REMAINDER, help="a whole command line, in place of our own")
    options = parser.parse_args(arguments)
    try:
        launch(options.folder, options)
    except (UserError, OSError) as error:
        failure.record(options.folder, str(error))
        failure.end_log(options.folder, str(error))
        raise


def launch(folder: Path, options: argparse.Namespace) -> None:
    """Run a cell, unless it has been, and write its receipt; leave with its status where it is to be continued."""
    cell = read_json(folder / "cell.json")
    ranks: int = cell["ranks"]
    if is_finished(folder):
        log.info("%s: done already", folder)
        write_receipt(folder)
        return
    if options.attempt > 1 and failure.is_permanent(folder):
        raise UserError(f"{folder}: not tried again, for it would fail the same way: {failure.reason(folder)}")
    failure.clear(folder)
    note_job(folder)
    launcher = launchers.choose(os.environ, options.launcher)
    limit_s = options.minutes * 60 - options.warning_s if options.minutes else None
    variables = {"PYTHONPATH": launchers.PACKAGE} | launcher.environment(os.environ)
    patience = [] if limit_s is None else ["--patience-s", f"{limit_s:g}"]
    chosen = all_reduce.variables(_asked(cell))
    own = launchers.command_line(
        launcher, ranks, os.environ, "strongscale.training", str(folder), *patience, variables=chosen
    )
    with own_gpu(cell, os.environ) as gpu:
        ended = start_and_wait(options.command or own, folder, variables | gpu, limit_s)
    if ended.status == EXIT_STATUS:
        sys.exit(EXIT_STATUS)
    if ended.status:
        raise UserError(f"{folder}: {why(ended, folder, ranks, options.memory_mb)}")
    if options.command:  # not our run, so not our result
        return
    if not is_finished(folder):
        raise UserError(f"{folder}: its cell.json was changed while it ran, so this is no result of it; run again")
    write_receipt(folder)


def _asked(cell: Mapping[str, Any]) -> str:
    """How ranks are to add up; the ranks themselves say what is wrong with a cell.json."""
    training = cell.get("training")
    return str(training.get("all_reduce", "auto")) if isinstance(training, dict) else "auto"


def write_receipt(folder: Path) -> None:
    """Tell Snakemake of what the run made."""
    receipts.write(folder / receipts.CELL, [folder / name for name in MADE])


if __name__ == "__main__":
    run(main)
