"""Run a cell's mpirun, pass signals on gently, and say last why it failed.

`python -m strongscale.launch <cell folder> mpirun -n 4 ...`. A scheduler's SIGTERM would make mpirun kill its ranks within
a second, before they have checkpointed; so mpirun runs in a session of its own and is told SIGUSR1, which it hands to the
ranks. If this process is killed outright, mpirun goes with it. After a failure the last line is the reason: mpirun itself
names none.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

from strongscale import failure
from strongscale.command import run
from strongscale.errors import UserError
from strongscale.interrupt import EXIT_STATUS, SIGNALS

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """In the child: ask Linux for SIGKILL when the parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def launch(command: list[str], scratch: str) -> int:
    """Run the command to its end, whatever signals come meanwhile; its exit status.

    Open MPI names its session folder after mpirun's process id and leaves it behind when killed; a later mpirun that gets
    the same id then fails to start. In a scratch folder of its own it never meets another's.
    """
    process = subprocess.Popen(  # noqa: PLW1509 - no threads here, and Linux alone has the call
        command,
        env=os.environ | {"TMPDIR": scratch},
        start_new_session=True,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(signal.SIGUSR1)

    for number in (*SIGNALS, signal.SIGINT):
        signal.signal(number, hand_on)
    return process.wait()


def main(arguments: list[str]) -> None:
    """Run a cell's mpirun; leave with its status, and with the reason if it failed."""
    parser = argparse.ArgumentParser(prog="strongscale.launch", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="mpirun and its arguments")
    options = parser.parse_args(arguments)
    failure.clear(options.folder)
    with tempfile.TemporaryDirectory(prefix="mpi-", ignore_cleanup_errors=True) as scratch:
        status = launch(options.command, scratch)
    if status == EXIT_STATUS:
        sys.exit(status)
    if status:
        raise UserError(f"{options.folder}: {failure.reason(options.folder)}")


if __name__ == "__main__":
    run(main)
