"""LARS, layer-wise adaptive rate scaling (You, Gitman and Ginsburg, 2017): each layer's step in proportion to its weights.

    l <- trust · |w| / (|g| + weight_decay·|w|)                 of each layer by itself
    v <- momentum·v + rate · l · (g + weight_decay·w);   w <- w - v

A layer is one parameter tensor, biases too. Where its weights or its gradient are all zero, l is `trust`, for by the paper's
l a layer of zeros would never move. The paper's schedule of rates is the strategy's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from strongscale.common.schema import AT_LEAST_0, POSITIVE, Between
from strongscale.optimizers.base import Optimizer, State
from strongscale.optimizers.layerwise.norms import ratios, scale

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Lars(Optimizer):
    """v <- momentum·v + rate·trust·|w|/(|g| + weight_decay·|w|) · (g + weight_decay·w) by layer;  w <- w - v."""

    momentum: Annotated[float, Between(low=0, high=0.999999), "share of the last step's velocity that is kept"] = 0.9
    trust: Annotated[float, POSITIVE, "length of a layer's step at a rate of 1, as a share of its weights'"] = 0.001
    weight_decay: Annotated[float, AT_LEAST_0, "pulls the weights towards zero"] = 0.0005

    def start(self, weights: "Tensor") -> State:
        """At rest."""
        import torch

        return {"velocity": torch.zeros_like(weights)}

    def step(
        self, weights: "Tensor", gradient: "Tensor", state: State, rate: "float | Tensor", layers: Sequence[slice]
    ) -> None:
        """The velocity takes the gradient in, each layer's at its own rate, and the weights follow."""
        found = ratios(weights, gradient, layers, decay=self.weight_decay)
        step = gradient.add_(weights, alpha=self.weight_decay).mul_(self.trust * rate)
        scale(step, found, layers)
        weights.sub_(state["velocity"].mul_(self.momentum).add_(step))
