"""Local SGD (Stich, 2019; federated averaging, McMahan et al., 2017): steps by oneself, then the mean of all weights.

w_j <- optimizer(w_j, ...)                          every step
w_1, ..., w_n <- (w_1 + ... + w_n) / n              every `every`th step; optimizer states stay each worker's own
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from strongscale.common.schema import AT_LEAST_1
from strongscale.updates.replicated.rule import Replicated

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Local(Replicated):
    """One all-reduce of the weights every `every` steps."""

    every: Annotated[int, AT_LEAST_1, "steps from one averaging of the weights to the next"] = 8

    def meet(self, centre: "Tensor", pulls: Sequence["Tensor"]) -> None:
        """The mean for all."""
        centre.copy_(self.mean())
        self.gather(centre)
