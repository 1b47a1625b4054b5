"""How long parts of the work took. They are read once an epoch, so that a GPU isn't made to wait in between."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

import torch

Lap = tuple[str, float]
"""What was done, and how many seconds it took."""


class Stopwatch(Protocol):
    """Takes the time of named parts."""

    def measure(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Take the time of what is done inside."""

    def read(self) -> list[Lap]:
        """The laps since the last reading, in their order."""

    def now_s(self) -> float:
        """The time, once all that was begun has ended."""


class HostStopwatch:
    """Where a part has ended when its last line has run."""

    def __init__(self) -> None:
        self._laps: list[Lap] = []

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Take the time of what is done inside."""
        start_s = time.perf_counter()
        yield
        self._laps.append((name, time.perf_counter() - start_s))

    def read(self) -> list[Lap]:
        """The laps since the last reading, in their order."""
        laps, self._laps = self._laps, []
        return laps

    def now_s(self) -> float:
        """The time."""
        return time.perf_counter()


class GpuStopwatch:
    """Where work is only queued: the GPU itself notes when it comes to the marks at a part's two ends."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Take the time of what is queued inside."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        yield
        end.record()
        self._marks.append((name, start, end))

    def read(self) -> list[Lap]:
        """The laps since the last reading, in their order; waits for the GPU."""
        self.now_s()
        marks, self._marks = self._marks, []
        return [(name, start.elapsed_time(end) / 1000) for name, start, end in marks]

    def now_s(self) -> float:
        """The time, once the GPU has done all that was queued."""
        torch.cuda.synchronize(self._device)
        return time.perf_counter()


def create(device: torch.device) -> Stopwatch:
    """The stopwatch for what is done on that device."""
    return GpuStopwatch(device) if device.type == "cuda" else HostStopwatch()
