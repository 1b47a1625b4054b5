"""The DeepDensity autoencoder: convolutions, four dense heads, and a mixture of normal densities as the decoder."""

import torch
from torch import Tensor, nn

from strongscale.config import Model
from strongscale.models import mixture
from strongscale.models.density import MixtureLoss

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class DeepDensity(nn.Module):
    """(B, W, ..., W) intensities in [0, 1] -> a density on the same voxels of [-1, 1]^n."""

    monomials: Tensor

    def __init__(self, settings: Model, width: int):
        super().__init__()
        n, self.components = settings.dimensions, settings.components
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in zip((1, *settings.filters), settings.filters, settings.kernels, strict=False):
            layers += [CONVOLUTIONS[n](inputs, outputs, kernel, padding=settings.padding), nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        channels = settings.filters[-1] if settings.filters else 1
        self.heads = (1, n, n, n * (n - 1) // 2)  # numbers of each component: weight, means, deviations, correlations
        self.decoder = nn.Linear(channels * settings.code_width(width) ** n, self.components * sum(self.heads))
        self.smallest_sigma = 1 / (width - 1)  # half the distance between voxels
        self.shape = (width,) * n
        points = mixture.grid(width, n)
        self.register_buffer("monomials", mixture.monomials(points).float(), persistent=False)
        self.mixture_loss = MixtureLoss(width, n)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Glorot-uniform weights, zero biases, as in Keras; each head has the fan-out of a layer of its own."""
        for layer in self.encoder:
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                assert layer.bias is not None
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
        for weight in self.decoder.weight.split([size * self.components for size in self.heads]):
            if len(weight):
                nn.init.xavier_uniform_(weight, generator=generator)
        nn.init.zeros_(self.decoder.bias)

    def encode(self, cubes: Tensor) -> Tensor:
        """What the heads say of each cube, before anything bounds it: (B, K·(1 + 2n + n(n-1)/2))."""
        numbers: Tensor = self.decoder(self.encoder(cubes.unsqueeze(1)))
        return numbers

    def decode(self, numbers: Tensor) -> Tensor:
        """The density of each row of such numbers, whatever they are, on the voxels: (B, W, ..., W)."""
        coefficients = mixture.coefficients(*self.parameters_of_mixture(numbers))
        return mixture.density(coefficients, self.monomials).view(-1, *self.shape)

    def parameters_of_mixture(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-weights (B, K), means, deviations (B, K, n) and partial correlations (B, K, P)."""
        alpha, mu, sigma, rho = (
            head.unflatten(1, (self.components, size)) if size else head.new_empty(len(head), self.components, 0)
            for head, size in zip(
                numbers.split([size * self.components for size in self.heads], dim=1), self.heads, strict=True
            )
        )
        return (
            torch.log_softmax(alpha.squeeze(-1), dim=1),
            torch.tanh(mu),
            self.smallest_sigma + (1 - self.smallest_sigma) * torch.sigmoid(sigma),
            mixture.MAX_CORRELATION * torch.sigmoid(rho),
        )

    def forward(self, cubes: Tensor) -> Tensor:
        """The reconstruction of each cube."""
        return self.decode(self.encode(cubes))

    def losses(self, cubes: Tensor) -> Tensor:
        """The loss of each cube's reconstruction, without making it: (B,)."""
        coefficients = mixture.coefficients(*self.parameters_of_mixture(self.encode(cubes)))
        losses: Tensor = self.mixture_loss(coefficients, cubes)
        return losses


def create(settings: Model, cube_voxels: int) -> DeepDensity:
    """The model for cubes of that many voxels a side."""
    return DeepDensity(settings, cube_voxels)
