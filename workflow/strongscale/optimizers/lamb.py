"""LAMB (You et al., 2020): Adam's step, in each layer as long as the layer's weights.

    m <- beta1·m + (1 - beta1)·g;   v <- beta2·v + (1 - beta2)·g²
    r <- m̂ / (sqrt(v̂) + epsilon) + weight_decay·w
    w <- w - rate · |w|/|r| · r                                 of each layer by itself

A layer is one parameter tensor; the paper's phi is the identity. Where a layer's weights or its r are all zero, |w|/|r| is 1.
Biases are treated as all else.
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
class Lamb(Optimizer):
    """w <- w - rate · |w|/|r| · r by layer, of r = m̂ / (sqrt(v̂) + epsilon) + weight_decay·w, Adam's step."""

    beta1: Annotated[float, Between(low=0, high=0.999999), "decay of the mean"] = 0.9
    beta2: Annotated[float, Between(low=0, high=0.999999), "decay of the square"] = 0.999
    epsilon: Annotated[float, POSITIVE, "keeps the quotient finite"] = 1e-6
    weight_decay: Annotated[float, AT_LEAST_0, "pulls the weights towards zero"] = 0.01

    def start(self, weights: "Tensor") -> State:
        """Nothing seen yet: both means are zero."""
        import torch

        steps = torch.zeros((), dtype=torch.float64, device=weights.device)
        return {"steps": steps, "exp_avg": torch.zeros_like(weights), "exp_avg_sq": torch.zeros_like(weights)}

    def step(
        self, weights: "Tensor", gradient: "Tensor", state: State, rate: "float | Tensor", layers: Sequence[slice]
    ) -> None:
        """Both means take the gradient in, and the weights follow, each layer at its own length."""
        steps = state["steps"].add_(1)
        mean = state["exp_avg"].mul_(self.beta1).add_(gradient, alpha=1 - self.beta1)
        square = state["exp_avg_sq"].mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        deviation = (square / (1 - self.beta2**steps)).sqrt_().add_(self.epsilon)
        step = (mean / (1 - self.beta1**steps)).div_(deviation).add_(weights, alpha=self.weight_decay)
        scale(step, ratios(weights, step, layers), layers)
        weights.sub_(step.mul_(rate))
