"""All parameters of a model in one buffer and all gradients in another: one all-reduce, one optimizer pass.

Each parameter keeps the order of its numbers in memory, so that a layer may choose one that it computes fast in.
"""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from strongscale.distributed import replicas


class FlatParameters:
    """Makes the parameters of `model` views of one tensor, and their gradients views of another."""

    def __init__(self, model: nn.Module):
        self.names = [name for name, _ in model.named_parameters()]
        self.parameters = parameters = list(model.parameters())
        self.orders = [_order_in_memory(parameter) for parameter in parameters]
        self.values = nn.Parameter(self.join([parameter.detach() for parameter in parameters]))
        self.values.grad = torch.zeros_like(self.values)
        self._gradients = self.split(self.values.grad)
        for parameter, value, gradient in zip(parameters, self.split(self.values.data), self._gradients, strict=True):
            parameter.data, parameter.grad = value, gradient

    @property
    def layers(self) -> list[slice]:
        """Where each parameter's numbers lie in a flat tensor."""
        ends = list(itertools.accumulate(parameter.numel() for parameter in self.parameters))
        return [slice(start, end) for start, end in itertools.pairwise([0, *ends])]

    @property
    def gradient(self) -> Tensor:
        """The gradient of all parameters."""
        assert self.values.grad is not None
        return self.values.grad

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of a flat tensor in the shapes of the parameters."""
        parts = flat.split([parameter.numel() for parameter in self.parameters])
        return [
            part.view([parameter.shape[axis] for axis in order]).permute(_inverse(order))
            for part, parameter, order in zip(parts, self.parameters, self.orders, strict=True)
        ]

    def fill_gradient(self, gradients: Sequence[Tensor]) -> None:
        """Copy gradients in the shapes of the parameters into the flat one."""
        self.join(gradients, out=self.gradient)

    def add_to_gradient(self, gradients: Sequence[Tensor]) -> None:
        """Add gradients in the shapes of the parameters to the flat one."""
        torch._foreach_add_(self._gradients, list(gradients))

    def join(self, tensors: Sequence[Tensor], out: Tensor | None = None) -> Tensor:
        """Tensors in the shapes of the parameters as one flat one."""
        ordered = [tensor.permute(order).flatten() for tensor, order in zip(tensors, self.orders, strict=True)]
        return torch.cat(ordered, out=out)

    def by_name(self, flat: Tensor) -> dict[str, Tensor]:
        """A flat tensor's numbers by parameter, as their shapes say, however they lie in memory: copies."""
        parts = zip(self.names, self.split(flat), strict=True)
        return {name: part.clone(memory_format=torch.contiguous_format) for name, part in parts}

    def take(self, named: Mapping[str, Tensor], out: Tensor) -> None:
        """Put what `by_name` gave into a flat tensor, in this model's orders in memory."""
        for name, part in zip(self.names, self.split(out), strict=True):
            part.copy_(named[name])

    def digest(self) -> str:
        """A short digest of the weights: equal only if every bit is."""
        return replicas.digest([self.values])


def _order_in_memory(parameter: Tensor) -> list[int]:
    """The axes from the one of the longest strides to that of neighbours; those of one place alone come last."""
    return sorted(
        range(parameter.dim()), key=lambda axis: (parameter.stride(axis), parameter.shape[axis]), reverse=True
    )


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)
