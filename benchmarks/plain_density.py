"""The model as one writes it at first, with the mixture from PyTorch's distributions: what ours is measured against."""

import copy

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from strongscale.models.density import mixture
from strongscale.models.density.network import DeepDensityNetwork


class PlainDensity(nn.Module):
    """The model as one writes it at first: a layer a head, and the mixture from PyTorch's distributions."""

    points: Tensor

    def __init__(self, model: DeepDensityNetwork):
        super().__init__()
        self.encoder = copy.deepcopy(model.encoder)
        for parameter in self.encoder.parameters():
            parameter.data = parameter.data.contiguous()
        self.components, self.numbers, self.shape = model.components, model.numbers, model.shape
        self.smallest_sigma, self.log_mass = model.smallest_sigma, model.log_mass
        sizes = [size for size in model.heads if size]
        layers = [nn.Linear(model.decoder.in_features, size) for size in sizes]
        with torch.no_grad():
            for layer, weight, bias in zip(
                layers, model.decoder.weight.split(sizes), model.decoder.bias.split(sizes), strict=True
            ):
                layer.weight.copy_(weight)
                layer.bias.copy_(bias)
        self.layers = nn.ModuleList(layers)
        self.register_buffer("points", mixture.grid(self.shape[0], len(self.shape)).float())

    def forward(self, cubes: Tensor) -> Tensor:
        """The reconstruction of each cube: (B, W, W, W) -> the same shape."""
        code = self.encoder(cubes.unsqueeze(1))
        alpha, mu, sigma, rho = (
            layer(code).unflatten(1, (self.components, size))
            for layer, size in zip(self.layers, self.numbers, strict=False)
        )
        sigma = self.smallest_sigma + (1 - self.smallest_sigma) * torch.sigmoid(sigma)
        factor = self._cholesky(mixture.MAX_CORRELATION * torch.sigmoid(rho))
        normal = MultivariateNormal(torch.tanh(mu), scale_tril=sigma.unsqueeze(-1) * factor, validate_args=False)
        weights = Categorical(logits=alpha.squeeze(-1), validate_args=False)
        density = MixtureSameFamily(weights, normal, validate_args=False)
        log_mass = self.layers[-1](code).squeeze(1) if self.log_mass is None else self.log_mass
        logarithms_VxB: Tensor = density.log_prob(self.points.unsqueeze(1)) + log_mass
        return logarithms_VxB.exp().T.reshape(-1, *self.shape)

    def _cholesky(self, partial: Tensor) -> Tensor:
        """The factor of each correlation matrix: (B, K, 3) -> (B, K, 3, 3)."""
        rho12, rho13, rho23 = partial.unbind(-1)
        root12, root13, root23 = (torch.sqrt(1 - rho**2) for rho in (rho12, rho13, rho23))
        one, zero = torch.ones_like(rho12), torch.zeros_like(rho12)
        rows = [[one, zero, zero], [rho12, root12, zero], [rho13, rho23 * root13, root23 * root13]]
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def flat_gradient(self) -> Tensor:
        """The gradient in the order of our model's parameters."""
        parameters = [
            *self.encoder.parameters(),
            *(layer.get_parameter("weight") for layer in self.layers),
            *(layer.get_parameter("bias") for layer in self.layers),
        ]
        return torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])


def plain_loss(prediction: Tensor, cubes: Tensor) -> Tensor:
    """Mean squared difference of logarithms."""
    return nn.functional.mse_loss(torch.log1p(prediction), torch.log1p(cubes))
