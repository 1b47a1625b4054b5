"""The loss of the paper: mean squared logarithmic error, one number a sample."""

import torch
from torch import Tensor


def msle(prediction: Tensor, cubes: Tensor) -> Tensor:
    """The mean over voxels of (log(1 + prediction) - log(1 + input))²: (B, ...) -> (B,)."""
    difference = torch.log1p(prediction) - torch.log1p(cubes)
    return difference.square().flatten(1).mean(1)
