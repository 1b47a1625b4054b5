"""The order in which an epoch takes the samples."""

import numpy as np


def epoch_order(num_samples: int, seed: int, epoch: int) -> np.ndarray:
    """Every sample once, in an order that depends on seed and epoch alone: (num_samples,) indices."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_samples)
