"""Work that is timed by turns, lap by lap, until each piece is known well enough."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from strongscale.timing.timings import Duration

WANTED = 0.02
"""By how much the two halves of the laps may differ, as a share."""
FEWEST, MOST = 20, 2000
"""Laps."""
SHORTEST_S = 0.02
"""Laps that are shorter are made several times a round; on a GPU as one, for it works ahead of the host."""


@dataclass
class Work:
    """Something to be timed."""

    name: str
    samples: int
    once: Callable[[], object]
    times: int = 1
    """In each round."""
    laps: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of the quiet machine."""
        return first_decile(self.laps)

    @property
    def uncertainty(self) -> float:
        """By how much the estimates from every other lap differ, as a share."""
        if len(self.laps) < 2:
            return 1.0
        halves = [first_decile(self.laps[first::2]) for first in (0, 1)]
        return abs(halves[0] - halves[1]) / self.seconds

    @property
    def duration(self) -> Duration:
        """What timings.json tells of it."""
        low, middle, high = statistics.quantiles(self.laps, n=4)
        return Duration(
            samples=self.samples,
            seconds=self.seconds,
            spread=(high - low) / 2 / middle,
            uncertainty=self.uncertainty,
            laps=len(self.laps),
        )


class Lap:
    """Takes the time of one piece of work."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.counts_own = device.type == "cpu" and torch.get_num_threads() == 1
        self._now = time.thread_time if self.counts_own else time.perf_counter

    def of(self, work: Work) -> None:
        """Do it as often as a round wants it."""
        groups, each = (1, work.times) if self.device.type == "cuda" else (work.times, 1)
        for _ in range(groups):
            self._wait()
            start_s = self._now()
            for _ in range(each):
                work.once()
            self._wait()
            work.laps.append(max(self._now() - start_s, 1e-9) / each)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure(works: Sequence[Work], device: torch.device, limit_s: float) -> None:
    """Time all of them by turns, until each is known well enough or the limit is reached."""
    lap, until_s = Lap(device), time.monotonic() + limit_s
    for work in works:
        lap.of(work)  # the first time takes longer, and counts for nothing
        work.laps.clear()
        lap.of(work)
        work.times = max(1, min(50, round(SHORTEST_S / work.laps[0])))
        work.laps.clear()
    while time.monotonic() < until_s:
        if all(len(work.laps) >= FEWEST and work.uncertainty <= WANTED for work in works):
            break
        for work in works:
            if len(work.laps) < MOST:
                lap.of(work)
    for work in works:
        while len(work.laps) < 2:
            lap.of(work)


def first_decile(laps: list[float]) -> float:
    """A tenth of the laps is shorter."""
    ordered = sorted(laps)
    return ordered[len(ordered) // 10]
