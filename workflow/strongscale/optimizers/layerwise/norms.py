"""Norms of layers of a flat tensor, without asking for any value: a GPU's recorded step can have them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def ratios(weights: "Tensor", step: "Tensor", layers: Sequence[slice], *, decay: float = 0.0) -> "Tensor":
    """|w| / (|step| + decay·|w|) of each layer, 1 where either is zero: (layers,)."""
    import torch

    sizes, steps = (torch.stack(torch._foreach_norm([tensor[layer] for layer in layers])) for tensor in (weights, step))
    return torch.where((sizes > 0) & (steps > 0), sizes / (steps + decay * sizes), 1.0)


def scale(step: "Tensor", factors: "Tensor", layers: Sequence[slice]) -> None:
    """Multiply each layer of a flat tensor by its factor, in place."""
    import torch

    torch._foreach_mul_([step[layer] for layer in layers], list(factors.unbind()))
