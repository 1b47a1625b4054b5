"""The DeepDensity autoencoder: convolutions, four dense heads, and a mixture of normal densities as the decoder.

Beyond the paper, where the settings ask for it: a fifth head, the mixture's mass (`mass: learnt`), and biases with which
the untrained picture is as bright as the samples are in the mean (`start: mean`).
"""

import math

import torch
from torch import Tensor, nn

from strongscale.models.deepdensity import DeepDensity
from strongscale.models.density import MixtureLoss, mixture

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
STEEPEST_BIAS = 2.0  # of the deviations' head at the start: farther out its sigmoid is flat, and it learns slowly


class DeepDensityNetwork(nn.Module):
    """(B, W, ..., W) intensities in [0, 1] -> a density on the same voxels of [-1, 1]^n."""

    monomials: Tensor

    def __init__(self, settings: DeepDensity, width: int):
        super().__init__()
        n, self.components = settings.dimensions, settings.components
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in zip((1, *settings.filters), settings.filters, settings.kernels, strict=False):
            layers += [CONVOLUTIONS[n](inputs, outputs, kernel, padding=settings.padding), nn.ReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        channels = settings.filters[-1] if settings.filters else 1
        self.numbers = (1, n, n, n * (n - 1) // 2)  # of each component: weight, means, deviations, correlations
        self.log_mass = None if settings.mass == "learnt" else mixture.log_mass(settings.mass, n)
        self.heads = [size * self.components for size in self.numbers] + [int(self.log_mass is None)]
        self.decoder = nn.Linear(channels * settings.code_width(width) ** n, sum(self.heads))
        self.smallest_sigma = settings.smallest_sigma * 2 / (width - 1)
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
        for weight in self.decoder.weight.split(self.heads):
            if len(weight):
                nn.init.xavier_uniform_(weight, generator=generator)
        nn.init.zeros_(self.decoder.bias)

    @torch.no_grad()
    def begin_at(self, brightness: float) -> None:
        """Biases with which a code of zeros gives a picture of that mean, as nearly as the mixture can.

        A learnt mass is set to it, of components as wide as may be, which is as even a picture as may be. A fixed mass is
        spread: the wider the components, the more of it lies outside.
        """
        *_, sigma, _, mass = self.decoder.bias.split(self.heads)
        if self.log_mass is None:
            sigma.fill_(STEEPEST_BIAS)
            mass.fill_(math.log(brightness / self._untrained_brightness()))
            return
        low, high = -STEEPEST_BIAS, STEEPEST_BIAS
        for _ in range(40):
            sigma.fill_((low + high) / 2)
            low, high = (float(sigma[0]), high) if self._untrained_brightness() > brightness else (low, float(sigma[0]))

    def _untrained_brightness(self) -> float:
        return float(self.decode(self.decoder.bias.unsqueeze(0)).mean())

    def encode(self, cubes: Tensor) -> Tensor:
        """What the heads say of each cube, before anything bounds it: (B, K·(1 + 2n + n(n-1)/2)), and a learnt mass."""
        numbers: Tensor = self.decoder(self.encoder(cubes.unsqueeze(1)))
        return numbers

    def decode(self, numbers: Tensor) -> Tensor:
        """The density of each row of such numbers, whatever they are, on the voxels: (B, W, ..., W)."""
        coefficients = mixture.coefficients(*self.parameters_of_mixture(numbers))
        return mixture.density(coefficients, self.monomials).view(-1, *self.shape)

    def parameters_of_mixture(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logarithms of the components' masses (B, K), means, deviations (B, K, n) and partial correlations (B, K, P)."""
        *heads, log_mass = numbers.split(self.heads, dim=1)
        alpha, mu, sigma, rho = (
            head.unflatten(1, (self.components, size)) if size else head.new_empty(len(head), self.components, 0)
            for head, size in zip(heads, self.numbers, strict=True)
        )
        return (
            torch.log_softmax(alpha.squeeze(-1), dim=1) + (log_mass if self.log_mass is None else self.log_mass),
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
