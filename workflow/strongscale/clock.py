"""Two clocks with one face: real seconds, or measured compute with a modelled network.

The training loop tells the clock what it does (`computing`, `communicating`, `updating`, `evaluating`), and at the
end of each epoch asks it for the seconds since training began, by part.
"""

import contextlib
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from strongscale.config import Network
from strongscale.network import all_reduce_s
from strongscale.world import World


@dataclass
class Seconds:
    """Seconds since training began; what the three parts leave of the total is bookkeeping."""

    total: float = 0.0
    compute: float = 0.0
    communication: float = 0.0
    evaluation: float = 0.0


@dataclass
class WallClock:
    """Real seconds of real ranks, as rank 0 lives them."""

    device: torch.device
    seconds: Seconds = field(default_factory=Seconds)
    _lap_s: float = field(default_factory=time.perf_counter)

    def computing(self, samples: int) -> contextlib.AbstractContextManager[None]:
        """One worker's share of a step."""
        return self._part("compute")

    def communicating(self) -> contextlib.AbstractContextManager[None]:
        """The all-reduce."""
        return self._part("communication")

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """The optimizer's step: every worker does all of it."""
        return self._part("compute")

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        """One chunk of the validation samples."""
        return self._part("evaluation")

    def end_step(self, largest_shard: int) -> None:
        """Nothing to add up: the seconds passed by themselves."""

    def end_epoch(self, world: World, num_chunks: int) -> Seconds:
        """The seconds until now."""
        _synchronise(self.device)
        now_s = time.perf_counter()
        self.seconds.total += now_s - self._lap_s
        self._lap_s = now_s
        return self.seconds

    @contextlib.contextmanager
    def _part(self, name: str) -> Iterator[None]:
        start_s = _now_s(self.device)
        yield
        setattr(self.seconds, name, getattr(self.seconds, name) + _now_s(self.device) - start_s)


@dataclass
class EmulatedClock:
    """As many workers as the cell has, each as fast as one measured here, joined by the modelled network.

    A step lasts as long as the largest shard takes, by the median measured for that size, plus the all-reduce and
    the update. Medians keep the noise of a shared machine from being taken for stragglers.
    """

    device: torch.device
    network: Network
    workers: int
    gradient_bytes: int
    seconds: Seconds = field(default_factory=Seconds)
    durations_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _steps: list[int] = field(default_factory=list)

    def computing(self, samples: int) -> contextlib.AbstractContextManager[None]:
        """One worker's share of a step."""
        return self._measure(f"{samples} samples")

    def communicating(self) -> contextlib.AbstractContextManager[None]:
        """The all-reduce: modelled, so not measured."""
        return contextlib.nullcontext()

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """The optimizer's step: every worker does all of it."""
        return self._measure("update")

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        """One chunk of the validation samples."""
        return self._measure("evaluation")

    def end_step(self, largest_shard: int) -> None:
        """Remember what the step was made of; its seconds are known when the epoch's medians are."""
        self._steps.append(largest_shard)

    def end_epoch(self, world: World, num_chunks: int) -> Seconds:
        """Add the epoch just done: its steps, and the workers' shares of the validation chunks."""
        medians_s = self._medians_s(world)
        compute_s = sum(medians_s[f"{size} samples"] + medians_s["update"] for size in self._steps)
        communication_s = len(self._steps) * all_reduce_s(self.network, self.workers, self.gradient_bytes)
        evaluation_s = math.ceil(num_chunks / self.workers) * medians_s["evaluation"]
        self._steps.clear()
        self.seconds.compute += compute_s
        self.seconds.communication += communication_s
        self.seconds.evaluation += evaluation_s
        self.seconds.total += compute_s + communication_s + evaluation_s
        return self.seconds

    def _medians_s(self, world: World) -> dict[str, float]:
        together: dict[str, list[float]] = defaultdict(list)
        for durations_s in world.gather(dict(self.durations_s)):
            for name, values in durations_s.items():
                together[name] += values
        return {name: statistics.median(values) for name, values in together.items()}

    @contextlib.contextmanager
    def _measure(self, name: str) -> Iterator[None]:
        start_s = _now_s(self.device)
        yield
        self.durations_s[name].append(_now_s(self.device) - start_s)


Clock = WallClock | EmulatedClock


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _now_s(device: torch.device) -> float:
    _synchronise(device)
    return time.perf_counter()
