"""All parameters of a model in one buffer and all gradients in another: one all-reduce, one optimizer pass."""

import hashlib

import torch
from torch import Tensor, nn


class FlatParameters:
    """Makes the parameters of `model` views of one tensor, and their gradients views of another."""

    def __init__(self, model: nn.Module):
        parameters = list(model.parameters())
        self.values = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters]))
        self.values.grad = torch.zeros_like(self.values)
        sizes = [parameter.numel() for parameter in parameters]
        views = zip(parameters, self.values.data.split(sizes), self.values.grad.split(sizes), strict=True)
        for parameter, value, gradient in views:
            parameter.data = value.view_as(parameter)
            parameter.grad = gradient.view_as(parameter)

    @property
    def gradient(self) -> Tensor:
        """The gradient of all parameters: autograd adds to it in place."""
        assert self.values.grad is not None
        return self.values.grad

    def digest(self) -> str:
        """A short digest of the weights: equal only if every bit is."""
        return hashlib.sha256(self.values.detach().cpu().numpy().tobytes()).hexdigest()[:16]
