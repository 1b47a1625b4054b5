"""One run at a time in a cell's folder: a lock that dies with its owner."""

import contextlib
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, TypeAlias

from strongscale.common.batch_job import scheduled_job
from strongscale.common.errors import UserError

PATIENCE_S = 10.0
Held: TypeAlias = TextIO


class Busy(UserError):
    """Another run holds the folder: no permanent mistake, it may be tried again."""


@contextlib.contextmanager
def locked(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the folder's lock; wait a little for a run that is about to end."""
    path, deadline_s = folder / "lock", time.monotonic() + patience_s
    while not (file := take(path)):
        if time.monotonic() > deadline_s:
            raise Busy(f"{folder}: another run is at work here ({_owner(path)}); wait for it or stop it")
        time.sleep(0.2)
    with file:
        _sign(file)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def hold(path: Path) -> Held | None:
    """Hold a lock for as long as this process lives; None on a file system that knows none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = take(path)
    except OSError:
        return None
    if not file:
        raise Busy(f"another Snakemake is at work in this folder ({_owner(path)}); wait for it or stop it")
    _sign(file)
    return file


def _owner(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() or "an unknown process"


def _sign(file: Held) -> None:
    job = scheduled_job(os.environ)
    file.truncate(0)
    file.write(f"host {platform.node()}, process {os.getpid()}")
    file.write(f", {job['scheduler']} job {job['id']}" if job else "")
    file.flush()


def take(path: Path) -> Held | None:
    """The open, locked file; None if another process has it, or has just removed it."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def is_held(folder: Path) -> bool:
    """Whether a run is at work in a folder; where one died the file may be there still."""
    try:
        with (folder / "lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
