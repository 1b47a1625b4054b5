"""Adam (Kingma and Ba, 2015), PyTorch's fused function: one pass over the flat tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from strongscale.common.schema import POSITIVE, Between
from strongscale.optimizers.base import Optimizer, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Adam(Optimizer):
    """m <- beta1·m + (1 - beta1)·g;  v <- beta2·v + (1 - beta2)·g²;  w <- w - rate·m̂ / (sqrt(v̂) + epsilon)."""

    beta1: Annotated[float, Between(low=0, high=0.999999), "decay of the mean"] = 0.9
    beta2: Annotated[float, Between(low=0, high=0.999999), "decay of the square"] = 0.999
    epsilon: Annotated[float, POSITIVE, "keeps the quotient finite"] = 1e-8

    def start(self, weights: "Tensor") -> State:
        """Nothing seen yet: both means are zero."""
        import torch

        steps = torch.zeros((), device=weights.device)
        return {"steps": steps, "exp_avg": torch.zeros_like(weights), "exp_avg_sq": torch.zeros_like(weights)}

    def step(
        self, weights: "Tensor", gradient: "Tensor", state: State, rate: "float | Tensor", layers: Sequence[slice]
    ) -> None:
        """Both means take the gradient in, and the weights follow."""
        from torch.optim.adam import adam

        adam(
            [weights],
            [gradient],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [state["steps"]],
            lr=rate,
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.epsilon,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
            fused=True,
            capturable=weights.is_cuda,
        )
