"""All parameters of a model in one buffer and all gradients in another: one all-reduce, one optimizer pass."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FlatParameters:
    """Makes the parameters of `model` views of one tensor, and their gradients views of another."""

    def __init__(self, model: nn.Module):
        self.parameters = parameters = list(model.parameters())
        self.values = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        self.values.grad = torch.zeros_like(self.values)
        for parameter, value, gradient in zip(
            parameters, self.split(self.values.data), self.split(self.values.grad), strict=True
        ):
            parameter.data, parameter.grad = value, gradient

    @property
    def gradient(self) -> Tensor:
        """The gradient of all parameters: autograd adds to it in place."""
        assert self.values.grad is not None
        return self.values.grad

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of a flat tensor in the shapes of the parameters."""
        parts = flat.split([parameter.numel() for parameter in self.parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]

    def fill_gradient(self, gradients: Sequence[Tensor]) -> None:
        """Copy gradients in the shapes of the parameters into the flat one."""
        torch.cat([gradient.flatten() for gradient in gradients], out=self.gradient)

    def digest(self) -> str:
        """A short digest of the weights: equal only if every bit is."""
        return hashlib.sha256(self.values.detach().cpu().numpy().tobytes()).hexdigest()[:16]
