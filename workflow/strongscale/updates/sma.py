"""Synchronous model averaging (CROSSBOW: Koliousis et al., 2019): small batches, many learners, an average with momentum.

    c_j = alpha (w_j - z)                                                   of the weights before the step's gradients
    w_j <- optimizer(w_j, ...) - c_j
    z   <- z + c_1 + ... + c_k + momentum (z - z_before)

Where the rate falls steeply, all learners start again from z, with optimizer states as at the beginning, for what those
remember was gathered elsewhere. A smooth schedule's small falls are none: started again in every step, learners would never
leave z, and z never move.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_1, Between
from strongscale.strategies.base import Plan
from strongscale.updates.base import Step
from strongscale.updates.replicated.elastic import Elastic

if TYPE_CHECKING:
    from torch import Tensor

    from strongscale.gradients.engine import Engine


@dataclass
class Sma(Elastic):
    """`learners` a worker, all drawn to one average model; alpha left out is 1/k, of k learners on all workers."""

    usual_sum: ClassVar[float] = 1.0

    learners: Annotated[
        int,
        AT_LEAST_1,
        "a worker's, among which its samples are dealt; for learners that keep their minibatch: the strategy's `learners`",
    ] = 1
    momentum: Annotated[float, Between(low=0, high=0.999999), "share of the average's last move that it repeats"] = 0.9
    restart_below: Annotated[
        float,
        Between(low=0, high=1),
        "share of the last step's rate below which all learners start again from the average",
    ] = 0.5

    @property
    def learners_each(self) -> int:
        """The learners of a worker, each with a pass of its own."""
        return self.learners

    def of_learners(self, number: int | Literal["auto"]) -> Self:
        """The same with the strategy's number; a number of its own, among which samples are dealt, can't stand beside that."""
        if self.learners > 1:
            raise UserError(
                f"update.learners: {self.learners} is not allowed with a strategy's learners: {number}; allowed: one of the "
                "two: the strategy's learners have a minibatch each, among the update rule's a worker's minibatch is dealt"
            )
        return replace(self, learners=1 if number == "auto" else number)

    def begin(self, engine: "Engine") -> None:
        """All learners and their average begin with the initial weights."""
        import torch

        super().begin(engine)
        self.before = self.weights.clone()
        self.rate = torch.zeros((), dtype=torch.float64)

    def step(self, minibatch: "Tensor", plan: Plan) -> Step:
        """A step of each learner, after a new start where the rate has fallen."""
        if plan.rate < self.restart_below * float(self.rate):
            self._start_again()
        self.rate.fill_(plan.rate)
        return super().step(minibatch, plan)

    def meet(self, centre: "Tensor", pulls: Sequence["Tensor"]) -> None:
        """Corrections for all, and momentum for the average."""
        move = (centre - self.before).mul_(self.momentum)
        self.before.copy_(centre)
        super().meet(centre, pulls)
        centre.add_(move)

    def shared(self) -> dict[str, "Tensor"]:
        """What the average was before its last move, and the last step's rate, besides."""
        return super().shared() | {"before": self.before, "rate": self.rate}

    def _start_again(self) -> None:
        self.gather(self.weights)
        self.before.copy_(self.weights)
        for state in self.states.values():  # in place: a GPU's recorded step knows these very tensors
            for name, tensor in self.engine.optimizer.start(self.weights).items():
                state[name].copy_(tensor)
