"""The emulated clock: a pure function of a trajectory's steps, a device's timings and a network.

As many workers as the cell has, each as fast as the device, joined by the network:

    step  =  the slowest worker's passes and updates, or its learners' step as measured  +  messages that nothing hides
    epoch =  its steps  +  the evaluation, shared out or not  +  what each worker does besides  +  the losses' messages

The same inputs give the same seconds to the last digit, on any machine, under any load.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from strongscale.common.errors import UserError
from strongscale.settings.config import Network
from strongscale.timing.network import all_reduce_s
from strongscale.timing.seconds import Seconds
from strongscale.timing.steps import Kind, Steps
from strongscale.timing.timings import Timings

LOSS_BYTES = 4
GRID = 4096
"""Quantiles of a spread that is given as a number."""


@dataclass(frozen=True, kw_only=True)
class Emulation:
    """A machine that isn't there."""

    timings: Timings
    network: Network
    evaluation: Literal["shared", "everywhere"] | None = None
    """None: as the timings say, else shared."""
    stragglers: float | Literal["measured"] | None = None

    @property
    def who_evaluates(self) -> Literal["shared", "everywhere"]:
        """Each worker its share, or each all of it."""
        return self.evaluation or self.timings.who_evaluates or "shared"

    def clock(self, steps: Steps) -> Iterator[Seconds]:
        """The seconds since training began, at the end of each epoch."""
        each = [self.step(kind) for kind in steps.kinds]
        told = Seconds()
        evaluation_s, losses_s = self.evaluation_s(steps), self.losses_s(steps)
        for epoch in steps.epochs:
            compute_s = math.fsum(count * each[kind][0] for kind, count in epoch)
            communication_s = math.fsum(count * each[kind][1] for kind, count in epoch) + losses_s
            told = Seconds(
                total=told.total + compute_s + communication_s + evaluation_s + self.timings.epoch.seconds,
                compute=told.compute + compute_s,
                communication=told.communication + communication_s,
                evaluation=told.evaluation + evaluation_s,
            )
            yield told

    def step(self, kind: Kind) -> tuple[float, float]:
        """Seconds of a step: what workers compute, and what they wait for."""
        work_s = max(self._work_s(passes, kind.num_updates) for passes in kind.passes)
        computed_s = work_s * self.slowest_of(len(kind.passes))
        prices_s = {
            overlapped: math.fsum(
                all_reduce_s(self.network, message.workers, message.num_bytes)
                for message in kind.messages
                if message.is_overlapped == overlapped
            )
            for overlapped in (False, True)
        }
        return computed_s, prices_s[False] + max(0.0, prices_s[True] - computed_s)

    def _work_s(self, passes: tuple[int, ...], num_updates: int) -> float:
        """One worker's part of a step: as measured with its learners, or added up; a whole step has one pass and one update."""
        whole_s = self._learners_s(passes) if num_updates > 1 else None
        if whole_s is not None:
            return whole_s
        update_s = self.timings.update.seconds
        without_s = math.fsum(max(0.0, self.timings.step_s(size) - update_s) for size in passes if size)
        return without_s + num_updates * update_s

    def _learners_s(self, passes: tuple[int, ...]) -> float | None:
        """A step in which each of a worker's learners has its pass, equally large as far as that goes, where it was measured."""
        are_dealt = max(passes) - min(passes) <= 1
        return self.timings.learners_s(len(passes), sum(passes)) if are_dealt else None

    def evaluation_s(self, steps: Steps) -> float:
        """Seconds of one evaluation: of the worker that has most of it."""
        size, total = steps.evaluation_chunk, steps.num_validation
        chunks_s = [self.timings.evaluation_s(min(size, total - start)) for start in range(0, total, size)]
        if self.who_evaluates == "everywhere":
            return math.fsum(chunks_s)
        return max(math.fsum(chunks_s[worker :: steps.workers]) for worker in range(min(steps.workers, len(chunks_s))))

    def losses_s(self, steps: Steps) -> float:
        """Seconds of the messages at an epoch's end: each sample's loss."""
        shared = steps.num_validation if self.who_evaluates == "shared" else 0
        sizes = [size for size in (steps.num_training, shared) if size]
        return math.fsum(all_reduce_s(self.network, steps.workers, LOSS_BYTES * size) for size in sizes)

    def slowest_of(self, workers: int) -> float:
        """How much longer the slowest of so many workers takes: than one does on average, or, with laps as measured, than one
        does on the quiet machine."""
        if self.stragglers is None:
            return 1.0
        if self.stragglers == "measured":
            if not self.timings.draws:
                raise UserError("stragglers: measured isn't allowed, for these timings tell no laps; allowed: a share")
            return _largest(self.timings.draws, workers)
        draws = _lognormal(self.stragglers)
        return _largest(draws, workers) / _largest(draws, 1)


def _largest(draws: tuple[float, ...], count: int) -> float:
    """The expected largest of so many draws with replacement; `draws` rise."""
    number = len(draws)
    weights = (((rank + 1) / number) ** count - (rank / number) ** count for rank in range(number))
    return math.fsum(draw * weight for draw, weight in zip(draws, weights, strict=True))


@functools.cache
def _lognormal(spread: float) -> tuple[float, ...]:
    """Durations whose standard deviation is that share of their mean: many small delays, now and then a long one."""
    sigma = math.sqrt(math.log1p(spread**2))
    normal = NormalDist()
    return tuple(math.exp(sigma * normal.inv_cdf((rank + 0.5) / GRID)) for rank in range(GRID))
