"""How long parts of the work took. They are read once an epoch, so that a GPU isn't made to wait in between."""

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch

from strongscale.recovery.suspension import Watch


class Lap(NamedTuple):
    """What was done, how many seconds passed, and in how many of them nothing was done, for the process was suspended."""

    name: str
    seconds: float
    stood_s: float = 0.0


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

    def __init__(self, watch: Watch) -> None:
        self._watch, self._laps = watch, list[Lap]()

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Take the time of what is done inside."""
        stood_s, start_s = self._watch.seconds(), time.perf_counter()
        yield
        seconds = time.perf_counter() - start_s
        self._laps.append(Lap(name, seconds, min(seconds, self._watch.seconds() - stood_s)))

    def read(self) -> list[Lap]:
        """The laps since the last reading, in their order."""
        laps, self._laps = self._laps, []
        return laps

    def now_s(self) -> float:
        """The time."""
        return time.perf_counter()


class GpuStopwatch:
    """Where work is only queued: the GPU itself notes when it comes to the marks at a part's two ends."""

    def __init__(self, device: torch.device, watch: Watch) -> None:
        self._device, self._watch = device, watch
        self._marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event, float]] = []

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Take the time of what is queued inside."""
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        stood_s = self._watch.seconds()
        start.record()
        yield
        end.record()
        self._marks.append((name, start, end, self._watch.seconds() - stood_s))

    def read(self) -> list[Lap]:
        """The laps since the last reading, in their order; waits for the GPU."""
        self.now_s()
        marks, self._marks = self._marks, []
        laps = [(name, start.elapsed_time(end) / 1000, stood_s) for name, start, end, stood_s in marks]
        return [Lap(name, seconds, min(seconds, stood_s)) for name, seconds, stood_s in laps]

    def now_s(self) -> float:
        """The time, once the GPU has done all that was queued."""
        torch.cuda.synchronize(self._device)
        return time.perf_counter()


def create(device: torch.device, watch: Watch) -> Stopwatch:
    """The stopwatch for what is done on that device."""
    return GpuStopwatch(device, watch) if device.type == "cuda" else HostStopwatch(watch)
