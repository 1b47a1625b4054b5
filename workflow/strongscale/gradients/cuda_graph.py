"""Work on a GPU recorded once as a CUDA graph, and started by one call ever after.

A small step is a hundred kernels of a few microseconds each, and Python takes longer to start one than it takes to run.
"""

import functools
import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Work = Callable[[], None]
"""Reads tensors that stay where they are, writes others, and doesn't ask for their values."""

WARM_UPS = 3  # libraries set themselves up when they are first used, which can't be recorded


def is_wanted(device: torch.device) -> bool:
    """Whether recording is worth trying there."""
    return device.type == "cuda"


def record(work: Work, changes: Sequence[Tensor] = ()) -> Work:
    """What does this work again; `changes` are the tensors that it doesn't only write, but changes.

    Where the work can't be recorded, what comes back is the work itself, and the log says so.
    """
    before = [tensor.clone() for tensor in changes]
    try:
        replay = _capture(work)
    except Exception as error:  # an old driver, a model that asks for a value: all the same works, only slower
        reason = error.__context__ or error  # CUDA says at the end of a recording only that something went wrong
        _tell(str(reason).partition("\n")[0] or type(reason).__name__)
        replay = work
    for tensor, value in zip(changes, before, strict=True):
        tensor.copy_(value)
    return replay


def _capture(work: Work) -> Work:
    current, side = torch.cuda.current_stream(), _side_stream(torch.cuda.current_device())
    graph = torch.cuda.CUDAGraph()
    side.wait_stream(current)
    try:
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                work()
            torch.cuda.synchronize()
            if not _broken:  # after one that failed, PyTorch believes that it is still recorded, and frees nothing
                torch.cuda.empty_cache()
            graph.capture_begin(capture_error_mode="thread_local")  # so NCCL's thread may go on
            try:
                work()
            finally:
                graph.capture_end()
        current.wait_stream(side)
    except Exception:
        _broken.append(graph)
        _side_stream.cache_clear()  # it may still take what comes for a part of the recording
        torch.cuda.synchronize()
        raise
    replay: Work = graph.replay
    return replay


_broken: list[torch.cuda.CUDAGraph] = []
"""Recordings that failed. Kept, because PyTorch's memory may still refer to them."""


@functools.cache  # one for all recordings: libraries keep memory for each stream
def _side_stream(device: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@functools.cache  # so that each reason is given once
def _tell(reason: str) -> None:
    log.warning("no CUDA graph, so small steps take longer: %s", reason)
