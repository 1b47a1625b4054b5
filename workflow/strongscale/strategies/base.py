"""A strategy: how a data set's work is shared out among workers. Three parts, each with a default.

`plan`: how many samples the next step takes and at what rate, from where the run stands and from what its gradients told.
`optimizer`: how a gradient changes weights; by default the study's. `update`: who holds which weights, what is summed, and
which messages a step sends; by default one gradient, summed over all workers. A strategy knows nothing of ranks or devices.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from strongscale.common.errors import show
from strongscale.common.parts import Part, PartError, blamed
from strongscale.schedules.base import Schedule
from strongscale.schedules.constant import Constant


@dataclass(frozen=True)
class Plan:
    """Of one step of all workers together."""

    batch: int
    """Samples."""
    rate: float
    """The learning rate."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a run's rate goes, whatever the strategy: what is planned is multiplied by this."""

    warmup_steps: int = 0
    """Over the first so many steps it rises linearly to what it would be."""
    schedule: Schedule = Constant()
    max_epochs: int = 1
    """Of the run, at most."""

    def of(self, plan: Plan, step: int, epoch: int) -> Plan:
        """The plan of a step, counted from 1, of an epoch, counted from 0."""
        factor = self.schedule.at(epoch, self.max_epochs)
        if not isinstance(factor, float) or not 0 < factor < math.inf:
            raise PartError(
                f"schedule {self.schedule.kind}: {show(factor)} in epoch {epoch + 1}; allowed: a number above 0"
            )
        rate = plan.rate * factor
        return replace(plan, rate=rate if step >= self.warmup_steps else rate * step / self.warmup_steps)


AS_PLANNED = Course()
"""Neither a warm-up nor a schedule."""


@dataclass(frozen=True)
class Statistics:
    """What the last step's gradients told: of the parts that were computed by themselves, and of the whole minibatch.

    In fast mode a part is a worker's shard, in exact mode a micro-batch, whatever the number of workers.
    """

    part_sizes: tuple[int, ...]
    """Samples of each part."""
    part_squares: tuple[float, ...]
    """The squared norm of the mean gradient of each part's samples."""
    square: float
    """The squared norm of the mean gradient of all samples."""

    @property
    def sample_variance(self) -> float:
        """The trace of the covariance of single samples' gradients, right on average, so sometimes negative; from two parts on."""
        samples, parts = sum(self.part_sizes), len(self.part_sizes)
        mean = sum(size * square for size, square in zip(self.part_sizes, self.part_squares, strict=True)) / samples
        return (mean - self.square) * samples / (parts - 1)

    @property
    def true_square(self) -> float:
        """The squared norm of the true gradient, right on average, so sometimes negative; from two parts on."""
        return self.square - self.sample_variance / sum(self.part_sizes)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands before a step."""

    workers: int
    samples: int
    """Of the training set: an epoch."""
    epoch: int = 0
    """Whole epochs done."""
    taken: int = 0
    """Samples that this epoch's steps have taken so far."""
    batch: int = 0
    """Samples planned for the step before; 0 at the start."""
    rate: float = 0.0
    """Of the step before."""
    step: int = 0
    """Steps done."""
    statistics: Statistics | None = None
    """Of the step before, where the strategy `reads_statistics`."""
    memory: dict[str, float] = field(default_factory=dict)
    """What the strategy wants to remember from step to step: its own to change. A checkpoint keeps it."""

    def after(self, plan: Plan, taken: int, statistics: Statistics | None = None) -> "Progress":
        """Where the run stands after a step of so many samples."""
        return replace(
            self,
            step=self.step + 1,
            taken=self.taken + taken,
            batch=plan.batch,
            rate=plan.rate,
            statistics=statistics,
        )

    @property
    def epochs_done(self) -> float:
        """Epochs with their fraction, were all steps of this epoch like the one before."""
        if not self.taken:
            return float(self.epoch)
        return self.epoch + self.taken / (math.ceil(self.samples / self.batch) * self.batch)


@dataclass(frozen=True)
class Strategy(Part):
    """The sequential run's own plan, whatever the number of workers: the base of every strategy.

    The fields of a subclass are its parameters, to be set in config.yaml.
    """

    noun: ClassVar[str] = "strategy"
    room: ClassVar[str] = "strongscale.strategies"
    reads_statistics: ClassVar[bool] = False
    """Whether `plan` wants the gradients' statistics, which take a pass over each gradient. Its plan depends on the run then."""

    @property
    def learners_each(self) -> int | Literal["auto"]:
        """Learners of a worker, each with a minibatch of its own; auto: as many as pay on the device, yet to be found."""
        return 1

    def plan(self, base: Plan, progress: Progress) -> Plan:
        """The next step's plan; `base` is the sequential run's.

        It may depend on its arguments alone: it is asked besides, to foresee or to check a run.
        """
        return base

    def optimizer(self) -> Any:
        """The `Optimizer` that belongs to this strategy; None: the study's."""
        return None

    def update(self) -> Any:
        """The `Update` that belongs to this strategy, or the name of one of ours, or its settings; None: `synchronous`."""
        return None


def next_plan(strategy: Strategy, base: Plan, progress: Progress, course: Course = AS_PLANNED) -> Plan:
    """The strategy's plan, if a step can be taken by it, on the run's course."""
    with blamed():
        plan = strategy.plan(base, progress)
    is_plan = isinstance(plan, Plan) and type(plan.batch) is int and isinstance(plan.rate, float)
    if not is_plan or plan.batch < 1 or not 0 <= plan.rate < math.inf:
        raise PartError(
            f"strategy {strategy.kind}: its plan of step {progress.step + 1} is {show(plan)}; allowed: a Plan whose batch is "
            "a whole number of at least 1, and its rate a number of at least 0"
        )
    with blamed():
        return course.of(plan, progress.step + 1, progress.epoch)


def planned(
    strategy: Strategy, base: Plan, workers: int, samples: int, course: Course = AS_PLANNED
) -> Iterator[list[Plan]]:
    """Every step of one epoch after the other, of a strategy that doesn't ask what the gradients told."""
    progress = Progress(workers=workers, samples=samples)
    while True:
        plans: list[Plan] = []
        while progress.taken < samples:
            plans.append(next_plan(strategy, base, progress, course))
            progress = progress.after(plans[-1], min(plans[-1].batch, samples - progress.taken))
        yield plans
        progress = replace(progress, epoch=progress.epoch + 1, taken=0)
