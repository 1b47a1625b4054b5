"""Nearest neighbours by root-mean-square distance, as matrix products in blocks.

Shapes: M and N samples of V numbers each.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK = 512
RESOLUTION = 1e-6  # |a|² + |b|² - 2ab cancels: in float64, distances of numbers near 1 are known to about 1e-8


def distinct(samples_NxV: NDArray[np.float32]) -> NDArray[np.int64]:
    """The positions of samples that are no exact repetition of an earlier one, in rising order."""
    seen: dict[bytes, int] = {}
    for position, sample in enumerate(np.ascontiguousarray(samples_NxV)):
        seen.setdefault(sample.tobytes(), position)
    return np.array(list(seen.values()), dtype=np.int64)


def blocks(
    samples_MxV: NDArray[np.floating], others_NxV: NDArray[np.floating]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Root-mean-square distances (block, N) of some samples at a time to all others."""
    others = others_NxV.astype(np.float64)
    squares_N = np.einsum("nv,nv->n", others, others)
    for start in range(0, len(samples_MxV), BLOCK):
        rows = slice(start, start + BLOCK)
        samples = samples_MxV[rows].astype(np.float64)
        squares = np.einsum("nv,nv->n", samples, samples)[:, None] + squares_N - 2 * samples @ others.T
        distances = np.sqrt(np.maximum(squares, 0) / samples.shape[1])
        yield rows, np.where(distances < RESOLUTION, 0, distances)


def all_pairs(samples_MxV: NDArray[np.floating], others_NxV: NDArray[np.floating]) -> NDArray[np.float64]:
    """Root-mean-square distances of all samples to all others: (M, N)."""
    return np.concatenate([distances for _, distances in blocks(samples_MxV, others_NxV)])


def evenly(samples: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """At most so many of the samples, evenly spaced, in their order."""
    chosen: NDArray[np.float32] = samples[
        np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    ]
    return chosen


def nearest(
    samples_MxV: NDArray[np.floating], others_NxV: NDArray[np.floating], *, same_order: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The distance to the nearest of the others, and its position: (M,), (M,).

    With `same_order` the i-th of both belong together (a cube and its reconstruction, or itself) and don't count.
    """
    distances_M, positions_M = np.empty(len(samples_MxV)), np.empty(len(samples_MxV), dtype=np.int64)
    for rows, distances in blocks(samples_MxV, others_NxV):
        if same_order:
            inside = np.arange(len(distances))
            distances[inside, rows.start + inside] = np.inf
        positions_M[rows] = distances.argmin(axis=1)
        distances_M[rows] = distances.min(axis=1)
    return distances_M, positions_M


def neighbours(samples_NxV: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """The positions of the nearest other samples, nearest first: (N, at most count)."""
    found = []
    for rows, distances in blocks(samples_NxV, samples_NxV):
        inside = np.arange(len(distances))
        distances[inside, rows.start + inside] = np.inf
        found.append(distances.argsort(axis=1, kind="stable")[:, : min(count, len(samples_NxV) - 1)])
    return np.concatenate(found)
