"""Cells that run side by side don't share a GPU: each takes what no other has, and waits where none is left.

In a scheduler's job those are the cells that share it, and its GPUs; without a scheduler all cells of this user on this
machine, and its GPUs. Two cells on one GPU would measure each other.
"""

import contextlib
import fcntl
import importlib.metadata
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from strongscale.common import lock
from strongscale.common.batch_job import scheduled_job
from strongscale.common.errors import UserError

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICES = Path("/dev")
PAUSE_S = 0.2
UNSAFE = re.compile(r"[^\w.-]")  # in the name of a file


@contextlib.contextmanager
def own_gpu(cell: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The variables that show a cell, by its cell.json, GPUs that no other has: one a rank, as far as there are."""
    job, ranks = scheduled_job(environment), cell["ranks"]
    training = cell.get("training")
    gpus = [] if isinstance(training, dict) and training.get("device") == "cpu" else visible(environment)
    if job and (ranks > 1 or len(gpus) < 2):  # all of a job's GPUs are this cell's
        gpus = []
    if not gpus:
        yield {}
        return
    folder, place = _private_folder(), f"job{job['id']}" if job else "machine"
    paths = {gpu: folder / f"{place}-gpu{UNSAFE.sub('_', gpu)}" for gpu in gpus}
    taken = _wait_for(min(ranks, len(gpus)), paths, folder / f"{place}-choice")
    try:
        yield {VISIBLE: ",".join(taken)}
    finally:
        for gpu, file in taken.items():
            paths[gpu].unlink(missing_ok=True)
            file.close()


def visible(environment: Mapping[str, str]) -> Sequence[str]:
    """The GPUs that a process may use: those that it is shown, else those of this machine; asked without torch."""
    if VISIBLE in environment:
        return [gpu for gpu in environment[VISIBLE].split(",") if gpu not in ("", "-1", "NoDevFiles")]
    if scheduled_job(environment) or _is_for_cpus():
        return []
    try:
        count = sum(bool(re.fullmatch(r"nvidia\d+", name)) for name in os.listdir(DEVICES))  # noqa: PTH208
    except OSError:
        count = 0
    return [str(number) for number in range(count)]


def _is_for_cpus() -> bool:
    """Whether the installed torch knows no GPU."""
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False


def _private_folder() -> Path:
    """Where this user's locks of this machine lie: nobody else may have put anything there."""
    folder = Path(tempfile.gettempdir(), f"strongscale-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UserError(f"{folder}: not a folder that is this user's alone; remove it, or set TMPDIR to another place")
    return folder


def _wait_for(count: int, paths: Mapping[str, Path], choice: Path) -> dict[str, lock.Held]:
    """So many of the locks at once, or none: who has one and waits for another would keep it from others."""
    told = False
    while True:
        with choice.open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # held for a moment only
            taken = {gpu: file for gpu, path in paths.items() if (file := lock.take(path))}
            for gpu in list(taken)[count if len(taken) >= count else 0 :]:
                paths[gpu].unlink(missing_ok=True)
                taken.pop(gpu).close()
        if taken:
            return taken
        if not told:
            log.info("waiting for %d of %d GPUs: other cells have them", count, len(paths))
            told = True
        time.sleep(PAUSE_S)
