"""The ranks stand still when their launcher does: what suspends a job doesn't always reach them.

LSF's bstop in a job's first minute stops only what its daemon has collected by then, and nothing that is in a session of
its own, as mpirun is. So a small process in yet another session looks at the launcher several times a second, and stops
and continues the ranks with it. It ends with the launcher.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PERIOD_S = 0.25
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
NAME = b"standstill"
OTHERS = (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGUSR1, signal.SIGUSR2)
"""Schedulers send these to every process of a job; they are the launcher's to answer."""


@contextlib.contextmanager
def following(leader: int) -> Iterator[None]:
    """While inside: the session of process `leader` stands still whenever this process does. Where Linux tells who does."""
    if sys.platform != "linux":
        yield
        return
    launcher, child = os.getpid(), os.fork()
    if child == 0:
        try:
            _follow(launcher, leader)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _follow(launcher: int, leader: int) -> None:
    os.setsid()
    for number in OTHERS:
        signal.signal(number, signal.SIG_IGN)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_NAME, NAME)
    looks = 0  # at the launcher standing still
    while os.getppid() == launcher:
        if _state(launcher) == "T":
            looks += 1
            if looks == 1:
                _send(signal.SIGTSTP, [leader])  # mpirun then stops its ranks, those on other hosts too
            elif looks <= 3:  # whatever it was that didn't listen, or has started in between
                _send(signal.SIGSTOP, _session(leader))
        elif looks:
            looks = 0
            _send(signal.SIGCONT, _session(leader))
        time.sleep(PERIOD_S)


def _send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _state(process: int) -> str:
    """T: stopped."""
    return (_stat(process) or ["gone"])[0]


def _session(leader: int) -> list[int]:
    """The processes of a session: its leader, and all below it that didn't leave for one of their own."""
    processes = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [process for process in processes if _stat(process)[3:4] == [str(leader)]]


def _stat(process: int) -> list[str]:
    """What Linux tells of a process, from its state on: state, parent, process group, session, ...; nothing if it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
