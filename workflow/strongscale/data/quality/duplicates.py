"""Cubes that are in a data set twice: bit for bit, nearly so, or cut around the same place of a scan."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

NEAR = 0.1
"""Two cubes are near-duplicates below this share of the usual distance from a cube to its nearest neighbour."""
SAME_PLACE_MM = 2.0
MOST_LISTED = 10_000
KINDS = ("equal", "near", "same place")

BLOCK = 512


@dataclass(frozen=True)
class Duplicates:
    """What was found among N cubes; distances are root mean squares over voxels."""

    pairs: pd.DataFrame
    """The nearest MOST_LISTED pairs; `first` and `second` are rows of the manifest, from 0."""
    counts: dict[str, int]
    """All pairs, by KINDS; a pair of several kinds counts as the first of them."""
    leaks: dict[str, int]
    """Those of them on both sides of the split."""
    nearest: NDArray[np.float64]
    """(N,): from each cube to its nearest neighbour; infinite where there is no other."""
    threshold: float
    """Below it cubes are near-duplicates."""


def find_duplicates(cubes_NDHW: NDArray[np.float32], manifest: pd.DataFrame) -> Duplicates:
    """All pairs of cubes that hold the same nodule or the same voxels; `manifest` has a row a cube."""
    distances_NN = rms_distances(cubes_NDHW)
    identity_N = _identities(cubes_NDHW)
    equal_NN = identity_N[:, None] == identity_N
    distances_NN[equal_NN] = 0
    np.fill_diagonal(distances_NN, np.inf)
    threshold = _near_threshold(distances_NN, identity_N)
    centres_NN = centre_distances_mm(manifest)
    first, second = np.nonzero(np.triu(equal_NN | (distances_NN < threshold) | (centres_NN < SAME_PLACE_MM), k=1))
    distance = distances_NN[first, second]
    kind = np.where(equal_NN[first, second], KINDS[0], np.where(distance < threshold, KINDS[1], KINDS[2]))
    split = manifest["split"].to_numpy(dtype=str)
    leak = split[first] != split[second]
    order = np.lexsort((second, first, distance))[:MOST_LISTED]
    pairs = {"kind": kind, "distance": distance, "centre_distance_mm": centres_NN[first, second], "leak": leak}
    return Duplicates(
        _table({"first": first, "second": second, **pairs}, manifest, order),
        {name: int((kind == name).sum()) for name in KINDS},
        {name: int((leak & (kind == name)).sum()) for name in KINDS},
        distances_NN.min(axis=1, initial=np.inf).astype(float),
        threshold,
    )


def rms_distances(cubes_NDHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """The root mean square difference of each cube to each other: (N, N), by blocks of matrix products in float64."""
    count = len(cubes_NDHW)
    distances_NN = np.zeros((count, count), dtype=np.float32)
    blocks = [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]
    for position, rows in enumerate(blocks):
        one = _vectors(cubes_NDHW[rows])
        for columns in blocks[position:]:
            other = one if columns is rows else _vectors(cubes_NDHW[columns])
            squares = (one * one).sum(1)[:, None] + (other * other).sum(1) - 2 * (one @ other.T)
            distances_NN[rows, columns] = np.sqrt(np.maximum(squares, 0) / one.shape[1])
            distances_NN[columns, rows] = distances_NN[rows, columns].T
    return distances_NN


def centre_distances_mm(manifest: pd.DataFrame) -> NDArray[np.float32]:
    """The distance of each cube's centre to each other's in the same scan: (N, N), infinite between scans."""
    centres_mm = manifest[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float)
    distances_NN = np.full((len(manifest), len(manifest)), np.inf, dtype=np.float32)
    numbers = pd.factorize(manifest["seriesuid"])[0]
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        distances_NN[np.ix_(rows, rows)] = squareform(pdist(centres_mm[rows]))
    return distances_NN


def _vectors(cubes: NDArray[np.float32]) -> NDArray[np.float64]:
    return cubes.reshape(len(cubes), -1).astype(np.float64)


def _identities(cubes_NDHW: NDArray[np.float32]) -> NDArray[np.int64]:
    """A number for each cube, the same for those that are equal bit for bit."""
    numbers: dict[bytes, int] = {}
    digests = (hashlib.sha256(np.ascontiguousarray(cube).data).digest() for cube in cubes_NDHW)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], dtype=np.int64)


def _near_threshold(distances_NN: NDArray[np.float32], identity_N: NDArray[np.int64]) -> float:
    """NEAR times the median distance to the nearest cube that isn't the same; 0 where all cubes are one."""
    distinct = np.unique(identity_N, return_index=True)[1]
    if len(distinct) < 2:
        return 0.0
    return NEAR * float(np.median(distances_NN[np.ix_(distinct, distinct)].min(axis=1)))


def _table(pairs: dict[str, NDArray[np.generic]], manifest: pd.DataFrame, order: NDArray[np.intp]) -> pd.DataFrame:
    """The pairs in this order, with what the manifest says of both; no centre distance between two scans."""
    table = pd.DataFrame({name: values[order] for name, values in pairs.items()})
    table["centre_distance_mm"] = table["centre_distance_mm"].where(np.isfinite(table["centre_distance_mm"]))
    for side in ("first", "second"):
        own = manifest.iloc[table[side].to_numpy(dtype=int)]
        for column in ("seriesuid", "split", "diameter_mm", "file", "row"):
            table[f"{side}_{column}"] = own[column].to_numpy()
    return table
