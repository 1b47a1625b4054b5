"""The U-Net (Ronneberger et al., 2015; Çiçek et al., 2016) in its usual small form.

Each level has two convolutions of width 3, which keep the size, and twice the filters of the level above. Down goes a maximum
over two voxels along each axis, whose windows don't overlap, so that no gradient is added twice; up, a transposed convolution
of width 2. What a level made on the way down stands beside what comes up to it.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

GROUPS = 8


class UNet(nn.Module):
    """Images (B, 1, ...) -> a logit for each voxel (B, 1, ...), of 2 or 3 axes that 2^(levels - 1) divides."""

    def __init__(self, dimensions: int, filters: int, levels: int) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(levels)]
        self.down = nn.ModuleList(_block(dimensions, *both) for both in pairwise([1, *widths]))
        self.pool = (nn.MaxPool2d if dimensions == 2 else nn.MaxPool3d)(2)
        transposed = nn.ConvTranspose2d if dimensions == 2 else nn.ConvTranspose3d
        below = list(reversed(list(pairwise(widths))))
        self.widen = nn.ModuleList(transposed(deep, width, 2, stride=2) for width, deep in below)
        self.up = nn.ModuleList(_block(dimensions, 2 * width, width) for width, _ in below)
        self.head = _convolution(dimensions)(filters, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """A logit for each voxel."""
        x, skipped = images, []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)
            skipped.append(x)
        skipped.pop()
        for widen, block in zip(self.widen, self.up, strict=True):
            x = block(torch.cat([skipped.pop(), widen(x)], 1))
        logits: Tensor = self.head(x)
        return logits


def _block(dimensions: int, before: int, width: int) -> nn.Sequential:
    """Two convolutions, each normalised over groups of its filters.

    A group's mean and deviation are those of one sample, so that a batch may be split anywhere; batch normalisation, which
    the three-dimensional U-Net has, takes them over the samples of a batch, and so of a worker.
    """
    layers: list[nn.Module] = []
    for filters in (before, width):
        layers.append(_convolution(dimensions)(filters, width, 3, padding=1, bias=False))
        layers += [nn.GroupNorm(math.gcd(GROUPS, width), width), nn.ReLU()]
    return nn.Sequential(*layers)


def _convolution(dimensions: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    return nn.Conv2d if dimensions == 2 else nn.Conv3d
