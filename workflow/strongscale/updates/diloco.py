"""DiLoCo (Douillard et al., 2023): workers take steps by themselves, and the way they went is a gradient for an outer SGD.

w_j <- optimizer(w_j, ...)                                              every step
d = z - (w_1 + ... + w_n) / n;   v <- outer_momentum·v + d              every `every`th step: old weights less new ones
z <- z - outer_rate · (d + outer_momentum·v);   w_1, ..., w_n <- z      Nesterov's; optimizer states stay each worker's own
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from strongscale.common.schema import AT_LEAST_1, POSITIVE, Between
from strongscale.updates.replicated.rule import Replicated

if TYPE_CHECKING:
    from torch import Tensor

    from strongscale.gradients.engine import Engine


@dataclass
class Diloco(Replicated):
    """One all-reduce of the weights every `every` steps, and an outer step."""

    every: Annotated[
        int, AT_LEAST_1, "workers' steps from one outer step to the next; 500 in the paper's long runs"
    ] = 50
    outer_rate: Annotated[float, POSITIVE, "rate of the outer step"] = 0.7
    outer_momentum: Annotated[float, Between(low=0, high=0.999999), "momentum of the outer step, Nesterov's"] = 0.9

    def begin(self, engine: "Engine") -> None:
        """The outer SGD begins at rest."""
        super().begin(engine)
        self.velocity = self.weights.new_zeros(self.weights.shape)

    def meet(self, centre: "Tensor", pulls: Sequence["Tensor"]) -> None:
        """An outer step, and the result for all."""
        gradient = centre - self.mean()
        self.velocity.mul_(self.outer_momentum).add_(gradient)
        centre.sub_(gradient.add_(self.velocity, alpha=self.outer_momentum), alpha=self.outer_rate)
        self.gather(centre)

    def shared(self) -> dict[str, "Tensor"]:
        """The outer velocity besides."""
        return super().shared() | {"velocity": self.velocity}
