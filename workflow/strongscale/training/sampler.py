"""Which samples go where: the order of an epoch and the workers' shares of a minibatch."""

import numpy as np


def epoch_order(num_samples: int, seed: int, epoch: int) -> np.ndarray:
    """Every sample once, in an order that depends on seed and epoch alone: (num_samples,) indices."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_samples)


def split(count: int, parts: int) -> list[slice]:
    """Cut `count` things into `parts` contiguous shares that differ by one at most, the larger ones first."""
    size, larger = divmod(count, parts)
    ends = [size * (part + 1) + min(part + 1, larger) for part in range(parts)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
