"""Two clocks with one face: real seconds, or measured compute with a modelled network.

The training loop tells the clock what it does (`computing`, `communicating`, `updating`, `evaluating`), and at the
end of each epoch asks it for the seconds since training began, by part.
"""

import contextlib
import math
import statistics
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field
from typing import Any

from strongscale.distributed.world import World
from strongscale.recovery.suspension import SHORTEST_S, Suspension
from strongscale.settings.config import Network
from strongscale.timing.network import all_reduce_s
from strongscale.timing.stopwatch import Lap, Stopwatch
from strongscale.updates.base import Step


@dataclass
class Seconds:
    """Seconds since training began; what the three parts leave of the total is bookkeeping."""

    total: float = 0.0
    compute: float = 0.0
    communication: float = 0.0
    evaluation: float = 0.0


@dataclass
class WallClock:
    """Real seconds of real ranks, as rank 0 lives them, without those in which a rank was suspended."""

    stopwatch: Stopwatch
    suspension: Suspension
    seconds: Seconds = field(default_factory=Seconds)
    _last_s: float = 0.0
    _stood_s: float = 0.0
    _own_s: float = 0.0

    def __post_init__(self) -> None:
        self._last_s = self.stopwatch.now_s()

    def start(self) -> None:
        """Training begins, or goes on, now."""
        self._forget_suspension()
        self._last_s = self.stopwatch.now_s()

    def computing(self, samples: int) -> contextlib.AbstractContextManager[None]:
        """One worker's share of a step."""
        return self.stopwatch.measure("compute")

    def communicating(self) -> contextlib.AbstractContextManager[None]:
        """What ranks say to one another."""
        return self.stopwatch.measure("communication")

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """The optimizer's step: every worker does all of it."""
        return self.stopwatch.measure("compute")

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        """One chunk of the validation samples."""
        return self.stopwatch.measure("evaluation")

    def add(self, step: Step) -> None:
        """Nothing to add up: the seconds passed by themselves."""

    def end_epoch(self, world: World, num_chunks: int) -> Seconds:
        """The seconds until now."""
        return self.now()

    def now(self) -> Seconds:
        """The seconds until now; a collective call."""
        stood_s, own_s = self._forget_suspension()
        now_s = self.stopwatch.now_s()
        self.seconds.total += max(0.0, now_s - self._last_s - stood_s)
        self._last_s = now_s
        for part, seconds in _without_waiting(self.stopwatch.read(), stood_s - own_s):
            setattr(self.seconds, part, getattr(self.seconds, part) + seconds)
        return self.seconds

    def _forget_suspension(self) -> tuple[float, float]:
        """How long the run stood still since the last call, and this rank by itself."""
        suspension, stood_s, own_s = self.suspension, self._stood_s, self._own_s
        suspension.agree()
        self._stood_s, self._own_s = suspension.agreed_s, suspension.own_s
        return self._stood_s - stood_s, self._own_s - own_s

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seconds": asdict(self.now())}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.seconds = Seconds(**state["seconds"])

    def lose(self, lost_s: float) -> None:
        """Seconds of work that died were waited for, so they count."""
        self.seconds.total += lost_s


@dataclass
class EmulatedClock:
    """As many workers as the cell has, each as fast as one measured here, joined by the modelled network.

    A step lasts as long as the passes of the worker with most samples take, by the medians measured for their sizes, plus its
    messages and updates. Medians keep the noise of a shared machine from being taken for stragglers.
    """

    stopwatch: Stopwatch
    network: Network
    workers: int
    seconds: Seconds = field(default_factory=Seconds)
    durations_s: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(_recent))
    _steps: list[tuple[tuple[int, ...], int, float, float]] = field(default_factory=list)
    """Of each step since the last epoch's end: the slowest worker's passes and updates, seconds of messages, waited for or overlapped."""

    def start(self) -> None:
        """Training begins, or goes on: modelled seconds don't pass by themselves."""

    def computing(self, samples: int) -> contextlib.AbstractContextManager[None]:
        """One worker's share of a step."""
        return self.stopwatch.measure(f"{samples} samples")

    def communicating(self) -> contextlib.AbstractContextManager[None]:
        """What ranks say to one another: modelled, so not measured."""
        return contextlib.nullcontext()

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """The optimizer's step: every worker does all of it."""
        return self.stopwatch.measure("update")

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        """One chunk of the validation samples."""
        return self.stopwatch.measure("evaluation")

    def add(self, step: Step) -> None:
        """Remember what the step was made of; its seconds are known when the epoch's medians are."""
        prices_s = dict.fromkeys((False, True), 0.0)
        for message in step.messages:
            prices_s[message.is_overlapped] += all_reduce_s(self.network, message.workers, message.num_bytes)
        self._steps.append((max(step.passes, key=sum), step.num_updates, prices_s[False], prices_s[True]))

    def end_epoch(self, world: World, num_chunks: int) -> Seconds:
        """Add the epoch just done: its steps, and the workers' shares of the validation chunks."""
        medians_s = self._medians_s(world)
        compute_s = communication_s = 0.0
        for passes, num_updates, exposed_s, overlapped_s in self._steps:
            worked_s = sum(medians_s[f"{size} samples"] for size in passes if size)
            compute_s += worked_s + (num_updates * medians_s["update"] if num_updates else 0.0)
            communication_s += exposed_s + max(0.0, overlapped_s - worked_s)
        evaluation_s = math.ceil(num_chunks / self.workers) * medians_s["evaluation"]
        self._steps.clear()
        self.seconds.compute += compute_s
        self.seconds.communication += communication_s
        self.seconds.evaluation += evaluation_s
        self.seconds.total += compute_s + communication_s + evaluation_s
        return self.seconds

    def now(self) -> Seconds:
        """The seconds until the last epoch's end."""
        return self.seconds

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        self._collect()
        durations_s = {name: list(values) for name, values in self.durations_s.items()}
        return {"seconds": asdict(self.seconds), "durations_s": durations_s, "steps": self._steps}

    def lose(self, lost_s: float) -> None:
        """The modelled workers lost nothing, so the seconds lost here don't count."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.seconds, self._steps = (
            Seconds(**state["seconds"]),
            [(tuple(passes), num, exposed_s, overlapped_s) for passes, num, exposed_s, overlapped_s in state["steps"]],
        )
        for name, values in state["durations_s"].items():
            self.durations_s[name].extend(values)

    def _collect(self) -> None:
        """Take the durations in; one with a suspension inside only where there is no other."""
        for lap in sorted(self.stopwatch.read(), key=lambda lap: lap.stood_s > 0):
            if not lap.stood_s or not self.durations_s[lap.name]:
                self.durations_s[lap.name].append(lap.seconds - lap.stood_s)

    def _medians_s(self, world: World) -> dict[str, float]:
        self._collect()
        together: dict[str, list[float]] = defaultdict(list)
        for durations_s in world.all_gather({name: list(values) for name, values in self.durations_s.items()}):
            for name, values in durations_s.items():
                together[name] += values
        return {name: statistics.median(values) for name, values in together.items()}


Clock = WallClock | EmulatedClock


def _without_waiting(laps: list[Lap], waited_s: float) -> list[tuple[str, float]]:
    """The laps' own seconds: without a suspension inside, and without waiting so long for another rank's to end."""
    seconds = [lap.seconds - lap.stood_s for lap in laps]
    for number in sorted(range(len(laps)), key=seconds.__getitem__, reverse=True):
        if laps[number].name == "communication" and seconds[number] > SHORTEST_S:
            excess_s = min(seconds[number], waited_s)
            seconds[number] -= excess_s
            waited_s -= excess_s
    return [(lap.name, own_s) for lap, own_s in zip(laps, seconds, strict=True)]


def _recent() -> deque[float]:
    """Enough of the newest durations for a median."""
    return deque(maxlen=200)
