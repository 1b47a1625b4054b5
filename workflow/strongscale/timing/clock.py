"""The clocks of training: real seconds by part, or none, where seconds are computed afterwards (emulation.py).

The training loop tells the clock what it does (`computing`, `communicating`, `updating`, `evaluating`), and at the
end of each epoch asks it for the seconds since training began, by part.
"""

import contextlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from strongscale.recovery.suspension import SHORTEST_S, Suspension
from strongscale.timing.seconds import Seconds
from strongscale.timing.stopwatch import Lap, Stopwatch


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

    def now(self) -> Seconds:
        """The seconds until now; a collective call."""
        stood_s, own_s = self._forget_suspension()
        now_s = self.stopwatch.now_s()
        self.seconds.total += max(0.0, now_s - self._last_s - stood_s)
        self._last_s = now_s
        for part, seconds in _without_waiting(self.stopwatch.read(), stood_s - own_s):
            setattr(self.seconds, part, getattr(self.seconds, part) + seconds)
        return replace(self.seconds)

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


class NoClock:
    """Takes no time: the seconds of an emulated cell are computed from its steps, after training."""

    seconds = None

    def start(self) -> None:
        """Training begins, or goes on."""

    def computing(self, samples: int) -> contextlib.AbstractContextManager[None]:
        """One worker's share of a step."""
        return contextlib.nullcontext()

    def communicating(self) -> contextlib.AbstractContextManager[None]:
        """What ranks say to one another."""
        return contextlib.nullcontext()

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """The optimizer's step."""
        return contextlib.nullcontext()

    def evaluating(self) -> contextlib.AbstractContextManager[None]:
        """One chunk of the validation samples."""
        return contextlib.nullcontext()

    def now(self) -> None:
        """No seconds."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""

    def lose(self, lost_s: float) -> None:
        """Nothing was counted."""


Clock = WallClock | NoClock


def _without_waiting(laps: list[Lap], waited_s: float) -> list[tuple[str, float]]:
    """The laps' own seconds: without a suspension inside, and without waiting so long for another rank's to end."""
    seconds = [lap.seconds - lap.stood_s for lap in laps]
    for number in sorted(range(len(laps)), key=seconds.__getitem__, reverse=True):
        if laps[number].name == "communication" and seconds[number] > SHORTEST_S:
            excess_s = min(seconds[number], waited_s)
            seconds[number] -= excess_s
            waited_s -= excess_s
    return [(lap.name, own_s) for lap, own_s in zip(laps, seconds, strict=True)]
