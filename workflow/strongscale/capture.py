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
        _tell(str(error).partition("\n")[0] or type(error).__name__)
        replay = work
    for tensor, value in zip(changes, before, strict=True):
        tensor.copy_(value)
    return replay


def _capture(work: Work) -> Work:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # NCCL's own thread may go about its business
        work()
    replay: Work = graph.replay
    return replay


@functools.cache  # so that each reason is given once
def _tell(reason: str) -> None:
    log.warning("no CUDA graph, so small steps take longer: %s", reason)
