"""Stochastic gradient descent with momentum, PyTorch's fused function: one pass over the flat tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_0, Between
from strongscale.optimizers.base import Optimizer, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sgd(Optimizer):
    """v <- momentum·v + g + weight_decay·w;  w <- w - rate·v, or with Nesterov w <- w - rate·(g + momentum·v)."""

    momentum: Annotated[float, Between(low=0, high=0.999999), "share of the last step's velocity that is kept"] = 0.9
    nesterov: Annotated[bool, "look ahead along the velocity"] = False
    weight_decay: Annotated[float, AT_LEAST_0, "pulls the weights towards zero"] = 0.0

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise UserError("nesterov: True is not allowed; allowed: false where momentum is 0")

    def start(self, weights: "Tensor") -> State:
        """At rest."""
        import torch

        return {"momentum": torch.zeros_like(weights)}

    def step(
        self, weights: "Tensor", gradient: "Tensor", state: State, rate: "float | Tensor", layers: Sequence[slice]
    ) -> None:
        """The velocity takes the gradient in, and the weights follow."""
        from torch.optim.sgd import sgd

        sgd(
            [weights],
            [gradient],
            [state["momentum"]],
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=rate,  # type: ignore[arg-type]  # on a GPU it may be a tensor
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
            has_sparse_grad=False,
            fused=True,
        )
