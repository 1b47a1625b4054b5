"""timings.json: how long one worker's work lasts on a device, in seconds, whoever else uses the machine.

It knows nothing of strategies, losses or networks. Measured here (measurement/timings.py), or another machine's.
"""

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.schema import AT_LEAST_0, AT_LEAST_1, POSITIVE, NonEmpty, build, later


@dataclass(frozen=True, kw_only=True)
class Duration:
    """Of one kind of work."""

    samples: Annotated[int, AT_LEAST_0, "that it takes; 0 where that doesn't matter"] = 0
    seconds: Annotated[float, POSITIVE, "on the quiet machine"]
    spread: Annotated[
        float, AT_LEAST_0, "half the range of the middle half of the laps, as a share of their median"
    ] = 0.0
    uncertainty: Annotated[float, AT_LEAST_0, "by how much the seconds of the laps' two halves differ, as a share"] = (
        0.0
    )
    laps: Annotated[int, AT_LEAST_0, "that were timed"] = 0


@dataclass(frozen=True, kw_only=True)
class Several(Duration):
    """A worker's whole step with its learners, among whom the samples are dealt."""

    learners: Annotated[int, AT_LEAST_1, "of the worker"]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What else the machine did meanwhile."""

    others: Annotated[float, AT_LEAST_0, "cores that other processes kept busy, on average"]
    cores: Annotated[int, AT_LEAST_1, "of the machine"]
    waited: Annotated[float, AT_LEAST_0, "share of the time in which this process was ready, and another ran"]


@dataclass(frozen=True, kw_only=True)
class Timings:
    """All that the emulated clock must know of a device."""

    origin: Annotated[Literal["measured", "reconstructed", "assumed"], "how the seconds were come by"]
    device: Annotated[str, "what computes"]
    work: Annotated[dict[str, Any] | None, "task, model and optimizer that they belong to; null: any"] = None
    gradient_bytes: Annotated[int | None, AT_LEAST_1, "of its gradient: other cubes make another model; null: any"] = (
        None
    )
    steps: Annotated[
        tuple[Duration, ...], NonEmpty(), "one worker's whole step: gather, forward, backward, copy, update; by samples"
    ]
    update: Annotated[Duration, "the optimizer's step, a part of each of those"]
    evaluation: Annotated[tuple[Duration, ...], NonEmpty(), "one chunk of validation samples; by samples"]
    epoch: Annotated[Duration, "what else an epoch takes: shuffling, digests, bookkeeping"]
    learners: Annotated[
        tuple[Several, ...],
        "one worker's whole step with learners of `sma`: passes, updates, and its own averaging; all that were tried",
    ] = later(())
    who_evaluates: Annotated[
        Literal["shared", "everywhere"] | None, "on the machine that these seconds are of; null: as a study says"
    ] = None
    known_to: Annotated[
        float, AT_LEAST_1, "a factor: all seconds together may be so many times as long, or as short"
    ] = 1.0
    draws: Annotated[
        tuple[float, ...], "laps of a step by its seconds on the quiet machine, from the shortest to the longest"
    ] = ()
    doubts: Annotated[tuple[str, ...], "what a reader must know, in sentences"] = ()
    load: Annotated[Load | None, "of the machine meanwhile; null where it wasn't measured"] = None
    made: Annotated[dict[str, Any], "when, where and by which versions"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "evaluation"):
            sizes = [duration.samples for duration in getattr(self, name)]
            if sizes != sorted(set(sizes)) or sizes[0] < 1:
                raise UserError(f"{name}: by rising numbers of samples, from 1 on; they are {sizes}")

    def step_s(self, samples: int) -> float:
        """One worker's whole step on so many samples."""
        return _interpolated(self.steps, samples)

    def learners_s(self, learners: int, samples: int) -> float | None:
        """One worker's whole step with so many samples dealt among so many learners, where that was measured."""
        found = (one.seconds for one in self.learners if (one.learners, one.samples) == (learners, samples))
        return next(found, None)

    def tried(self, samples: int) -> list[float]:
        """The seconds of a step with 1, 2, 3, ... learners of so many samples each, as far as they were measured."""
        found: list[float] = []
        while (seconds := self.learners_s(len(found) + 1, (len(found) + 1) * samples)) is not None:
            found.append(seconds)
        return found

    def evaluation_s(self, samples: int) -> float:
        """The evaluation of so many samples at once."""
        return _interpolated(self.evaluation, samples)

    @property
    def label(self) -> str:
        """The device, and how its seconds were come by, where they weren't measured."""
        return self.device if self.origin == "measured" else f"{self.device} ({self.origin}, not measured)"


def _interpolated(durations: tuple[Duration, ...], samples: int) -> float:
    """As measured; between two sizes, and beyond the largest, on the straight line through the nearest two.

    Below the smallest as long as that: a step doesn't get shorter than its overhead.
    """
    place = bisect.bisect_left([duration.samples for duration in durations], samples)
    if place < len(durations) and durations[place].samples == samples:
        return durations[place].seconds
    if place == 0:
        return durations[0].seconds
    if len(durations) == 1:
        return durations[0].seconds * samples / durations[0].samples
    left, right = durations[place - 1 : place + 1] if place < len(durations) else durations[-2:]
    slope = (right.seconds - left.seconds) / (right.samples - left.samples)
    return max(left.seconds, left.seconds + slope * (samples - left.samples))


def check_work(path: Path, timings: Timings, wanted: Mapping[str, Any]) -> None:
    """Seconds of another model or optimizer are no seconds of this one."""
    for name, value in wanted.items():
        if timings.work is not None and name in timings.work and timings.work[name] != value:
            raise UserError(
                f"{path}: its seconds are of {name} {timings.work[name]}, the study's is {value}; allowed: timings of the "
                "same work"
            )


def read_timings(path: Path) -> Timings:
    """Read a file of timings; anything but that is a `UserError`."""
    raw = read_json(path)
    try:
        return build(Timings, raw, "" if isinstance(raw, dict) else "all of it")
    except UserError as error:
        raise UserError(f"{path}: {error}; give a file of timings, or remove it and run again") from None
