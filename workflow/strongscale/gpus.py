"""Cells that share a job share its GPUs: each takes one that no other has, and waits where there is none left."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from strongscale import lock
from strongscale.launchers import scheduled_job

VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextlib.contextmanager
def own_gpu(ranks: int, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The variables that show a cell of one rank one GPU of its job; none where there is no choice."""
    job, visible = scheduled_job(environment), environment.get(VISIBLE, "").split(",")
    if job is None or ranks > 1 or len(visible) < 2:
        yield {}
        return
    paths = {device: Path(tempfile.gettempdir(), f"strongscale-job{job['id']}-gpu{device}") for device in visible}
    while not (taken := next(_free(paths), None)):
        time.sleep(0.2)
    device, file = taken
    with file:
        try:
            yield {VISIBLE: device}
        finally:
            paths[device].unlink(missing_ok=True)


def _free(paths: Mapping[str, Path]) -> Iterator[tuple[str, lock.Held]]:
    for device, path in paths.items():
        if file := lock.take(path):
            yield device, file
