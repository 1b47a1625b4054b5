"""Synchronous data-parallel training: all workers hold the same weights, and take one step by one gradient.

    w <- optimizer(w, (1/|B'|) · sum over workers of the sum over their samples of the gradient, rate)

Whether sums are fast or exact to the bit, and over which wires they go, is the reduction's business (gradients/).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongscale.gradients.shares import size_of, split
from strongscale.strategies.base import Plan
from strongscale.updates.base import Message, Step, Update, Work

if TYPE_CHECKING:
    from torch import Tensor

    from strongscale.gradients.engine import Engine


@dataclass
class Synchronous(Update):
    """One all-reduce of the gradient a step."""

    def begin(self, engine: "Engine") -> None:
        """The optimizer begins with the initial weights."""
        self.engine = engine
        self.state = engine.optimizer.start(engine.flat.values.data)

    def prepare(self, num_samples: int) -> None:
        """Get ready for a minibatch of so many samples."""
        self.engine.prepare(num_samples, self.state)

    def work(self, num_samples: int, workers: int, num_bytes: int) -> Work:
        """Equal shards, one message. Exact mode hands out whole micro-batches, at a price that isn't the method's own."""
        return Work(tuple((size_of(shard),) for shard in split(num_samples, workers)), (Message(num_bytes, workers),))

    def step(self, minibatch: "Tensor", plan: Plan) -> Step:
        """Change the weights by these samples."""
        engine, num_samples = self.engine, len(minibatch)
        shards = engine.shards(num_samples)
        losses = engine.start_sum(num_samples)
        for worker in engine.workers:  # of this rank; other ranks do the same for theirs
            losses[shards[worker]] = engine.add_gradient(minibatch[shards[worker]], worker)
        engine.finish_sum()
        statistics = engine.reduction.statistics()
        engine.apply(num_samples, plan.rate, self.state)
        work = self.work(num_samples, engine.num_workers, engine.gradient_bytes)
        messages = work.messages
        if statistics:
            messages += (Message(8 * len(statistics.part_squares), engine.num_workers),)
        return Step(losses, work.passes, messages, statistics=statistics)

    def shared(self) -> dict[str, "Tensor"]:
        """The optimizer's state."""
        return dict(self.state)
