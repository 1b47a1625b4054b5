"""Where the paper's seconds may have gone: readings, each a machine on the emulated clock, judged by the paper's two tables.

A reading says how long one worker's step lasts, what a message costs, and who evaluates; at most one number of it is fitted
to Table I. Nothing here was measured: all of it is reconstructed from what the paper and its talk state.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from scipy.optimize import minimize_scalar

from strongscale.analysis import paper
from strongscale.analysis.machines import slowed
from strongscale.analysis.speedup_law import fit as fit_law
from strongscale.analysis.speedup_law import time_ratios
from strongscale.settings.config import NETWORKS, Network
from strongscale.timing.emulation import Emulation
from strongscale.timing.steps import Kind, Steps
from strongscale.timing.timings import Duration, Timings
from strongscale.updates.synchronous import Synchronous

NUM_TRAINING, NUM_VALIDATION, BATCH, CHUNK = 1850, 256, 32, 8
GRADIENT_BYTES = 4_800_000
WORKERS = (2, 4, 8, 16, 32)
WEEK_S = 7 * 24 * 3600.0
TARGET_EPOCHS = 100
EPOCHS_OF_A_WEEK = (100, 200, 400)
"""From "roughly a hundred epochs" to the limit of 400; between them their geometric mean."""
FORWARD_SHARE = 1 / 3
"""A forward pass, of forward and backward together: the backward pass takes about twice as long."""
NOTHING_S = 1e-9
"""The schema wants every duration to be positive."""
GIGABIT = NETWORKS["gigabit"]
FREE = Network(latency_s=0.0, bandwidth_bytes_per_s=1e30, host_latency_s=0.0, host_bandwidth_bytes_per_s=1e30)
"""Messages cost nothing."""
OBSERVED = {workers: paper.TABLE_1["strong"][workers] for workers in WORKERS}


def epoch_of(workers: int, batch: int = BATCH) -> Steps:
    """An epoch of the paper: minibatches of so many samples, the last one smaller, shared out among the workers."""
    rest = NUM_TRAINING % batch
    sizes = Counter([batch] * (NUM_TRAINING // batch) + [rest] * bool(rest))
    works = {size: Synchronous().work(size, workers, GRADIENT_BYTES) for size in sizes}
    return Steps(
        workers=workers,
        num_training=NUM_TRAINING,
        num_validation=NUM_VALIDATION,
        evaluation_chunk=CHUNK,
        gradient_bytes=GRADIENT_BYTES,
        kinds=tuple(Kind(size, work.passes, work.messages, work.num_updates) for size, work in works.items()),
        epochs=(tuple(enumerate(sizes.values())),),
    )


def epoch_s(machine: Emulation, workers: int, batch: int = BATCH) -> float:
    """Seconds of such an epoch."""
    return next(machine.clock(epoch_of(workers, batch))).total


def efficiencies(machine: Emulation) -> dict[int, float]:
    """Strong scaling's, in per cent, where every number of workers needs the same epochs."""
    one_s = epoch_s(machine, 1)
    return {workers: 100 * one_s / (workers * epoch_s(machine, workers)) for workers in WORKERS}


def seconds_of(step_s: float, overhead_share: float = 0.0, forward_share: float = FORWARD_SHARE) -> Timings:
    """A device whose step of a whole minibatch lasts so long: a share of it whatever the samples, the rest by samples."""
    overhead_s, sample_s = overhead_share * step_s, (1 - overhead_share) * step_s / BATCH
    return Timings(
        origin="reconstructed",
        device="Tesla K80 of the paper",
        steps=tuple(Duration(samples=size, seconds=overhead_s + size * sample_s) for size in (1, BATCH)),
        update=Duration(seconds=NOTHING_S),
        evaluation=tuple(
            Duration(samples=size, seconds=size * forward_share * sample_s) for size in (1, NUM_VALIDATION)
        ),
        epoch=Duration(seconds=NOTHING_S),
    )


def step_of_a_week_s(epochs: int) -> float:
    """One worker's step of a whole minibatch, if so many epochs with their evaluations last a week."""
    return BATCH * WEEK_S / epochs / (NUM_TRAINING + FORWARD_SHARE * NUM_VALIDATION)


def collecting_s() -> float:
    """A whole gradient there and a whole sum back, between one worker and another, over Gigabit."""
    return 2 * (GIGABIT.latency_s + GRADIENT_BYTES / GIGABIT.bandwidth_bytes_per_s)


@dataclass(frozen=True)
class Judged:
    """Efficiencies beside Table I."""

    predicted: dict[int, float]

    @property
    def errors(self) -> list[float]:
        """Predicted less stated, in points of per cent."""
        return [self.predicted[workers] - OBSERVED[workers] for workers in WORKERS]

    @property
    def root_mean_square(self) -> float:
        """Of the errors."""
        return math.sqrt(math.fsum(error**2 for error in self.errors) / len(self.errors))

    @property
    def largest(self) -> float:
        """Of the errors, by size."""
        return max(map(abs, self.errors))

    @property
    def with_another_first(self) -> "Judged":
        """The same where the one run on one worker lasted as much longer or shorter by chance as fits Table I best."""
        products = math.fsum(self.predicted[workers] * OBSERVED[workers] for workers in WORKERS)
        factor = products / math.fsum(value**2 for value in self.predicted.values())
        return Judged({workers: factor * value for workers, value in self.predicted.items()})


@dataclass(frozen=True)
class Reading:
    """Where the seconds may have gone, with one number to be fitted where `bounds` are given."""

    key: str
    words: str
    machine: Callable[[float], Emulation]
    fitted: str = "nothing"
    """What is fitted, with a place for its value."""
    bounds: tuple[float, float] | None = None

    @cached_property
    def value(self) -> float:
        """The fitted number; 0 where nothing is fitted."""
        return self.fit(OBSERVED)

    def fit(self, observed: Mapping[int, float]) -> float:
        """The number with the least squared error in points of per cent, over these numbers of workers."""
        if self.bounds is None:
            return 0.0

        def squares(logarithm: float) -> float:
            predicted = efficiencies(self.machine(math.exp(logarithm)))
            return math.fsum((predicted[workers] - stated) ** 2 for workers, stated in observed.items())

        low, high = map(math.log, self.bounds)
        found = minimize_scalar(squares, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
        return math.exp(found.x)

    @property
    def chosen(self) -> Emulation:
        """The machine with the fitted number in it."""
        return self.machine(self.value)

    @property
    def judged(self) -> Judged:
        """What it says beside what Table I says."""
        return Judged(efficiencies(self.chosen))

    def weak_epochs(self) -> dict[int, float]:
        """How many times the sequential run's epochs weak scaling took, for Table II to come out."""
        machine, one_s = self.chosen, epoch_s(self.chosen, 1)
        ratios = time_ratios(paper.TABLE_2["weak"])
        return {workers: ratios[workers] * one_s / epoch_s(machine, workers, workers * BATCH) for workers in WORKERS}

    def sequential_epochs_at_most(self) -> float:
        """How many epochs the sequential run may have taken, as weak scaling took no more than the paper allowed."""
        return paper.MAX_EPOCHS / max(self.weak_epochs().values())


def readings(step_s: float) -> list[Reading]:
    """All that are tried, for a step of a whole minibatch that lasts so long on one worker."""
    device = seconds_of(step_s)

    def stalling(seconds: float, algorithm: Literal["two_level", "ring"]) -> Network:
        """An exchange between any two workers costs so much, whatever is in it and wherever they are."""
        return replace(FREE, latency_s=seconds / 2, host_latency_s=seconds / 2, all_reduce=algorithm)

    return [
        Reading(
            "a",
            "seconds by samples, Gigabit messages, evaluation shared out",
            lambda _: Emulation(timings=device, network=GIGABIT),
        ),
        Reading(
            "b",
            "the same, evaluation everywhere: each worker evaluates all 256 validation samples",
            lambda _: Emulation(timings=device, network=GIGABIT, evaluation="everywhere"),
        ),
        Reading(
            "b fit",
            "the same, the forward pass's share fitted",
            lambda share: Emulation(
                timings=seconds_of(step_s, forward_share=share), network=GIGABIT, evaluation="everywhere"
            ),
            "a forward pass takes {:.2f} of forward and backward",
            (1e-3, 10),
        ),
        Reading(
            "c",
            "each step has an overhead, however few its samples; evaluation shared out",
            lambda share: Emulation(timings=seconds_of(step_s, overhead_share=share), network=GIGABIT),
            "overhead: {:.2%} of one worker's step",
            (1e-5, 0.9),
        ),
        Reading(
            "d",
            "a slower network: all of Gigabit between hosts so many times as long; evaluation shared out",
            lambda factor: Emulation(timings=device, network=slowed(GIGABIT, factor)),
            "{:.1f} times as slow",
            (1e-2, 1e4),
        ),
        Reading(
            "d log",
            "messages cost c·log2 n, evaluation shared out",
            lambda cost: Emulation(timings=device, network=stalling(cost * step_s, "two_level")),
            "c: {:.2%} of one worker's step",
            (1e-6, 1),
        ),
        Reading(
            "d one",
            "messages cost c·(n-1), as if one worker collected all gradients; evaluation shared out",
            lambda cost: Emulation(timings=device, network=stalling(cost * step_s, "ring")),
            "c: {:.2%} of one worker's step",
            (1e-6, 1),
        ),
        Reading(
            "f",
            "as (a), but the talk's \"week\" isn't believed: seconds of the step fitted",
            lambda seconds: Emulation(timings=seconds_of(seconds), network=GIGABIT),
            "one worker's step: {:.2f} s",
            (1e-2, 1e4),
        ),
        Reading(
            "g",
            "one worker collects all gradients over Gigabit and returns their sum, one after another; evaluation shared out",
            lambda _: Emulation(timings=device, network=stalling(collecting_s(), "ring")),
        ),
    ]


def law() -> Judged:
    """Reading (e): the paper's own law with its three numbers, as the report fits it, to Table I with n = 1."""
    found = fit_law(time_ratios(paper.TABLE_1["strong"]))
    assert found is not None
    return Judged({workers: 100 / (workers * found.time_ratio(workers)) for workers in WORKERS})


def monotone() -> Judged:
    """The nearest to Table I that any efficiencies come which never rise with n, and never exceed 100 %."""
    groups: list[list[float]] = []
    for workers in WORKERS:
        groups.append([OBSERVED[workers]])
        while len(groups) > 1 and _mean(groups[-2]) < _mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    levels = [min(100.0, _mean(group)) for group in groups for _ in group]
    return Judged(dict(zip(WORKERS, levels, strict=True)))


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def without_one(tried: list[Reading]) -> dict[int, str]:
    """The reading nearest to Table I, were one of its numbers not known: by that number of workers."""
    nearest = {}
    for left_out in WORKERS:
        kept = {workers: stated for workers, stated in OBSERVED.items() if workers != left_out}
        squares = {}
        for reading in tried:
            predicted = efficiencies(reading.machine(reading.fit(kept)))
            squares[reading.key] = math.fsum((predicted[workers] - stated) ** 2 for workers, stated in kept.items())
        nearest[left_out] = min(squares, key=squares.__getitem__)
    return nearest


def unshared_share_at_least() -> float:
    """Of a sequential epoch, what all 32 workers must have done each, for weak scaling to take 400 epochs at most.

    With the rest shared out, messages free, and 100 epochs of the sequential run.
    """
    workers = max(WORKERS)
    steps = epoch_of(workers, workers * BATCH)
    shared = sum(count * max(size for (size,) in steps.kinds[kind].passes) for kind, count in steps.epochs[0])
    ideal = shared / NUM_TRAINING
    ratio = time_ratios(paper.TABLE_2["weak"])[workers] * TARGET_EPOCHS / paper.MAX_EPOCHS
    return (ratio - ideal) / (1 - ideal)
