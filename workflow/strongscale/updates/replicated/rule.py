"""Learners that each hold weights of their own, take steps by themselves, and meet in a common centre every so often.

    w_j <- optimizer(w_j, mean gradient of j's samples at w_j, rate)        every step, with j's own optimizer state
    centre, w_1, ..., w_k <- what a subclass makes of them                  every `every`th step

The k learners are numbered through, worker by worker, and share out a step's minibatch by their numbers. A learner's
gradient is one pass over its whole share, and sums over learners are in the order of the reduction's kind (gradients/), so
in exact mode no bit depends on which rank carries whom. What counts, `engine.flat.values`, is the centre as of the last
meeting: between meetings it stands still, while learners go on.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_1
from strongscale.gradients.shares import size_of, split
from strongscale.strategies.base import Plan
from strongscale.updates.base import Message, Step, Update

if TYPE_CHECKING:
    from torch import Tensor

    from strongscale.gradients.engine import Engine


@dataclass
class Replicated(Update):
    """The base of every rule whose learners go their own ways; a subclass says what happens when they meet."""

    is_overlapped: ClassVar[bool] = False
    """Whether what a meeting sends is known before the step's gradients, so that it travels while workers compute."""

    every: Annotated[int, AT_LEAST_1, "steps from one meeting of the learners to the next"] = 1

    @property
    def num_learners(self) -> int:
        """The learners of all workers."""
        return self.learners_each * self.engine.num_workers

    def begin(self, engine: "Engine") -> None:
        """All learners begin with the initial weights."""
        import torch

        if engine.reduction.measures:
            raise UserError(
                f"update: {self.kind!r} is not allowed for a strategy that reads the gradients' statistics, for it sums no "
                "gradients; allowed: synchronous"
            )
        self.engine, self.weights = engine, engine.flat.values.data
        workers, each = engine.workers, self.learners_each
        numbers = range(workers.start * each, workers.stop * each)
        self.replicas = {number: self.weights.clone() for number in numbers}
        self.states = {number: engine.optimizer.start(self.weights) for number in numbers}
        self.steps = torch.zeros((), dtype=torch.int64)

    def prepare(self, num_samples: int) -> None:
        """Get ready for a minibatch of so many samples."""
        sizes = {size_of(share) for share in split(num_samples, self.num_learners)} - {0}
        self.engine.prepare_alone(sizes, *self.states.values())

    def step(self, minibatch: "Tensor", plan: Plan) -> Step:
        """Every learner goes a step of its own; when it is time, they meet."""
        if self.steps == 0:
            self._check_all_have_samples(len(minibatch))
        self.steps += 1
        is_meeting = int(self.steps) % self.every == 0
        centre = self.weights.clone()
        pulls = self.pulls(centre) if is_meeting else ()
        losses = self._explore(minibatch, plan.rate)
        if is_meeting:
            self.meet(centre, pulls)
        self.weights.copy_(centre)
        return self._told(losses, is_meeting)

    def pulls(self, centre: "Tensor") -> Sequence["Tensor"]:
        """What a meeting needs of the weights before the step's gradients, for each learner of this rank."""
        return ()

    @abstractmethod
    def meet(self, centre: "Tensor", pulls: Sequence["Tensor"]) -> None:
        """Change the centre and the replicas in place."""

    def mean(self) -> "Tensor":
        """The mean of all learners' weights."""
        return self.add_up([replica.clone() for replica in self.replicas.values()]).div_(self.num_learners)

    def add_up(self, own: Sequence["Tensor"]) -> "Tensor":
        """The sum over all learners of a flat tensor of each; those of this rank are used up."""
        return self.engine.add_up(own, self.learners_each)

    def gather(self, centre: "Tensor") -> None:
        """Let all learners go on from the centre."""
        for replica in self.replicas.values():
            replica.copy_(centre)

    def shared(self) -> dict[str, "Tensor"]:
        """The number of steps, which tells when the learners meet."""
        return {"steps": self.steps}

    def own(self) -> dict[int, dict[str, "Tensor"]]:
        """Each learner's weights and optimizer state."""
        found: dict[int, dict[str, Tensor]] = {worker: {} for worker in self.engine.workers}
        for number, replica in self.replicas.items():
            worker, learner = divmod(number, self.learners_each)
            found[worker][f"learner{learner}/weights"] = replica
            for name, tensor in self.states[number].items():
                found[worker][f"learner{learner}/state/{name}"] = tensor
        return found

    def _check_all_have_samples(self, num_samples: int) -> None:
        if num_samples < self.num_learners:
            raise UserError(
                f"update: {self.kind!r}: {self.num_learners} learners are not allowed for a minibatch of {num_samples} "
                "samples; allowed: at most one learner a sample"
            )

    def _explore(self, minibatch: "Tensor", rate: float) -> "Tensor":
        """One step of each learner of this rank from its own weights; its samples' losses, in their places."""
        import torch

        shares = split(len(minibatch), self.num_learners)
        losses = torch.zeros(len(minibatch), device=self.weights.device)
        for number, replica in self.replicas.items():
            if samples := size_of(shares[number]):
                self.weights.copy_(replica)
                losses[shares[number]] = self.engine.take_gradient(minibatch[shares[number]])
                self.engine.apply(samples, rate, self.states[number])
                replica.copy_(self.weights)
        return losses

    def _told(self, losses: "Tensor", is_meeting: bool) -> Step:
        """What the step was: the learners of a worker take their passes one after another."""
        each, workers = self.learners_each, self.engine.num_workers
        sizes = [size_of(share) for share in split(len(losses), self.num_learners)]
        passes = tuple(tuple(sizes[worker * each :][:each]) for worker in range(workers))
        message = Message(self.engine.gradient_bytes, workers, self.is_overlapped)
        num_updates = sum(size > 0 for size in passes[0])  # the first worker has no smaller shares than others
        return Step(losses, passes, (message,) if is_meeting else (), num_updates)
