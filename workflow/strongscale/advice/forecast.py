"""What a study's strategies would take on each number of workers: epochs from a few short runs, seconds from one device.

Strong scaling takes one worker's path, so its epochs are known, and its speed-up hangs on the device and the network alone. A
minibatch that grows with the workers takes other epochs: by the law of batch size, as far as that may be asked. Whether a run
reaches its target at all is nowhere extrapolated.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from strongscale.advice.answer import Answer
from strongscale.advice.law import Interval
from strongscale.analysis.speedup_parts import Epoch, computed
from strongscale.timing.emulation import Emulation
from strongscale.timing.steps import Kind, Steps
from strongscale.updates.synchronous import Synchronous

STRONG, WEAK = "strong", "weak"
LEAST_GAIN = 0.1
"""Of the time, by a doubling of the workers: less is nothing gained."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A strategy on so many workers."""

    line: str
    workers: int
    batch: int
    """Samples of a step, of all workers together."""
    epochs: Interval | None
    why_not: str
    """Why there is no number; empty where there is."""
    epoch: Epoch
    """What one of them is made of."""
    one: "Choice | None"
    """The run of one worker; nothing where this is it."""

    @property
    def seconds(self) -> Interval | None:
        """To the target."""
        return self.epochs.times(self.epoch.total_s) if self.epochs else None

    @property
    def speedup(self) -> Interval | None:
        """Over one worker; on the same path it doesn't hang on the epochs."""
        if self.one is None:
            return Interval(value=1.0, low=1.0, high=1.0)
        if self.line == STRONG:
            ratio = self.one.epoch.total_s / self.epoch.total_s
            return Interval(value=ratio, low=ratio, high=ratio)
        if self.seconds is None or self.one.seconds is None:
            return None
        one_s = self.one.seconds.value
        return Interval(value=one_s / self.seconds.value, low=one_s / self.seconds.high, high=one_s / self.seconds.low)

    @property
    def gpu_hours(self) -> float | None:
        """Until then."""
        return self.workers * self.seconds.value / 3600 if self.seconds else None


def epoch_on(like: Steps, batch: int, workers: int) -> Steps:
    """One epoch in minibatches of so many samples, shared out among so many workers."""
    full, rest = divmod(like.num_training, batch)
    sizes = [(batch, full)] * (full > 0) + [(rest, 1)] * (rest > 0)
    works = [Synchronous().work(size, workers, like.gradient_bytes) for size, _ in sizes]
    kinds = tuple(
        Kind(size, work.passes, work.messages, work.num_updates) for (size, _), work in zip(sizes, works, strict=True)
    )
    return Steps(
        workers=workers,
        num_training=like.num_training,
        num_validation=like.num_validation,
        evaluation_chunk=like.evaluation_chunk,
        gradient_bytes=like.gradient_bytes,
        kinds=kinds,
        epochs=(tuple((kind, count) for kind, (_, count) in enumerate(sizes)),),
    )


def choices(
    like: Steps,
    batch: int,
    workers: Sequence[int],
    emulation: Emulation,
    one_epochs: Sequence[float],
    law: Answer | None,
) -> list[Choice]:
    """One worker first, then each strategy on each number of workers that a minibatch has samples for."""
    one = Choice(
        line="one worker",
        workers=1,
        batch=batch,
        epochs=_of(one_epochs),
        why_not="" if one_epochs else "not all runs of one worker reach the target",
        epoch=computed(emulation, epoch_on(like, batch, 1)),
        one=None,
    )
    found = [one]
    for count in (count for count in workers if count > 1):
        if count <= batch:
            epoch = computed(emulation, epoch_on(like, batch, count))
            found.append(
                Choice(
                    line=STRONG,
                    workers=count,
                    batch=batch,
                    epochs=one.epochs,
                    why_not=one.why_not,
                    epoch=epoch,
                    one=one,
                )
            )
        epochs, why_not = by_law(law, count * batch, like.num_training)
        epoch = computed(emulation, epoch_on(like, count * batch, count))
        found.append(
            Choice(line=WEAK, workers=count, batch=count * batch, epochs=epochs, why_not=why_not, epoch=epoch, one=one)
        )
    return found


def _of(epochs: Sequence[float]) -> Interval | None:
    if not epochs:
        return None
    return Interval(value=statistics.geometric_mean(epochs), low=min(epochs), high=max(epochs))


def by_law(law: Answer | None, batch: int, num_training: int) -> tuple[Interval | None, str]:
    """Epochs with a minibatch of so many samples, or why there is no number."""
    if law is None:
        return None, "too few batch sizes were run for a law"
    if batch > num_training:
        return None, f"more than the {num_training} training samples"
    if why_not := law.why_not(batch):
        return None, why_not
    assert law.tested is not None
    return law.tested.band.steps(batch).times(1 / math.ceil(num_training / batch)), ""


def best_of(found: Sequence[Choice]) -> Choice:
    """The fewest workers beyond which no doubling surely gains a tenth of the time, of the strategy that gains most there.

    What is gained surely is the lower end of the band: a middle that may as well be below one is no advice.
    """
    best = found[0]
    for workers in sorted({choice.workers for choice in found} - {1}):
        own = [choice for choice in found if choice.workers == workers and choice.speedup]
        surest = max(own, key=lambda choice: choice.speedup.low, default=None)  # type: ignore[union-attr]
        if surest and surest.speedup and best.speedup and _gains(best, surest):
            best = surest
    return best


def may_be_faster(found: Sequence[Choice], best: Choice) -> Choice | None:
    """What would gain most if the middle of its band came true, where that is a tenth more; None where nothing is."""
    known = [
        choice for choice in found if choice.speedup and choice.speedup.low < choice.speedup.high and choice is not best
    ]
    other = max(known, key=lambda choice: choice.speedup.value, default=None)  # type: ignore[union-attr]
    if other is None or other.speedup is None or best.speedup is None:
        return None
    return other if other.speedup.value > best.speedup.value / (1 - LEAST_GAIN) else None


def _gains(best: Choice, other: Choice) -> bool:
    """Whether going on to more workers saves a tenth of the time for each doubling."""
    assert best.speedup is not None
    assert other.speedup is not None
    doublings = math.log2(other.workers / best.workers)
    return bool(other.speedup.low / best.speedup.low > (1 / (1 - LEAST_GAIN)) ** doublings)
