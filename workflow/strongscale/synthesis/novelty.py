"""Are the new nodules new, and are they nodules? Their distances to the training nodules, against those of held-out ones.

A mixture of normal densities is smoother than any scan, so that a new nodule is far from every cube in the same way as
a reconstruction is. Its peers are held-out nodules and their reconstructions, whichever of them are harder to tell from
copies (or from strangers).

Shapes: M new nodules, K training ones and N held-out ones, of V voxels each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.output import percent
from strongscale.synthesis.distances import nearest

COPY_PERCENTILE = 2.5
FAR_PERCENTILE = 97.5
PERCENTILES = (1, 25, 50, 75, 99)

TITLES = {
    "new_to_training": "(a) new to the nearest training nodule",
    "held_out_reconstruction_to_training": "(b) held-out nodule's reconstruction to the nearest training nodule",
    "held_out_to_training": "(c) held-out nodule to the nearest training nodule",
    "new_to_reconstruction": "(d) new to the nearest training nodule's reconstruction",
    "held_out_to_reconstruction": "(e) held-out nodule's reconstruction to the nearest training nodule's",
    "reconstruction_to_own_cube": "held-out nodule's reconstruction to its own cube",
}


@dataclass(frozen=True)
class Nodules:
    """What is compared: distinct cubes as rows of voxels; each reconstruction stands where its own cube does."""

    new_MxV: NDArray[np.float32]
    training_KxV: NDArray[np.float32]
    training_reconstructions_KxV: NDArray[np.float32]
    held_out_NxV: NDArray[np.float32]
    held_out_reconstructions_NxV: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where copies end and far ones begin: numbers, or arrays of as many as there are resamples."""

    copy_of_cube: Any
    copy_of_reconstruction: Any
    far: Any


def thresholds(distances: Mapping[str, NDArray[np.float64]]) -> Thresholds:
    """What the peers' distances, along the last axis, make of the percentiles."""
    by_reconstruction, by_cube, among_reconstructions = (
        np.percentile(distances[name], (COPY_PERCENTILE, FAR_PERCENTILE), axis=-1)
        for name in ("held_out_reconstruction_to_training", "held_out_to_training", "held_out_to_reconstruction")
    )
    return Thresholds(
        copy_of_cube=np.minimum(by_reconstruction[0], by_cube[0]),
        copy_of_reconstruction=among_reconstructions[0],
        far=np.maximum(by_reconstruction[1], by_cube[1]),
    )


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """Root-mean-square distances of each kind, and the training nodule nearest to each new one, by position."""

    distances: dict[str, NDArray[np.float64]]
    nearest_training: NDArray[np.int64]
    nearest_reconstruction: NDArray[np.int64]
    num_training: int

    @property
    def thresholds(self) -> Thresholds:
        """By the held-out nodules as they are."""
        return thresholds(self.distances)

    def copies(self, at: Thresholds) -> NDArray[np.bool_]:
        """Which new nodules (..., M) are at most so far from a training nodule, or from the reconstruction of one."""
        of_cube = self.distances["new_to_training"] <= np.asarray(at.copy_of_cube)[..., None]
        of_reconstruction = self.distances["new_to_reconstruction"] <= np.asarray(at.copy_of_reconstruction)[..., None]
        both: NDArray[np.bool_] = of_cube | of_reconstruction
        return both

    def far(self, at: Thresholds) -> NDArray[np.bool_]:
        """Which new nodules (..., M) are further than this from every training nodule."""
        found: NDArray[np.bool_] = self.distances["new_to_training"] > np.asarray(at.far)[..., None]
        return found

    @property
    def verdicts(self) -> NDArray[np.str_]:
        """Each new nodule's: copy, far, or new."""
        at = self.thresholds
        return np.where(self.copies(at), "copy", np.where(self.far(at), "far", "new"))

    def share(self, verdict: str) -> float:
        """The share of new nodules with this verdict."""
        return float(np.mean(self.verdicts == verdict))


def check(nodules: Nodules) -> Novelty:
    """Compare new nodules with training nodules and their reconstructions, as held-out ones compare with these."""
    training, reconstructions = nodules.training_KxV, nodules.training_reconstructions_KxV
    peers, own_cubes = nodules.held_out_reconstructions_NxV, nodules.held_out_NxV
    new_to_training, nearest_training = nearest(nodules.new_MxV, training)
    new_to_reconstruction, nearest_reconstruction = nearest(nodules.new_MxV, reconstructions)
    distances = {
        "new_to_training": new_to_training,
        "held_out_reconstruction_to_training": nearest(peers, training)[0],
        "held_out_to_training": nearest(own_cubes, training)[0],
        "new_to_reconstruction": new_to_reconstruction,
        "held_out_to_reconstruction": nearest(peers, reconstructions)[0],
        "reconstruction_to_own_cube": np.sqrt(np.mean((peers - own_cubes).astype(np.float64) ** 2, axis=1)),
    }
    return Novelty(
        distances=distances,
        nearest_training=nearest_training,
        nearest_reconstruction=nearest_reconstruction,
        num_training=len(training),
    )


def in_words(novelty: Novelty) -> str:
    """How many are copies and how many far, and what is meant by that."""
    count, at = len(novelty.verdicts), novelty.thresholds
    copies, far = (int((novelty.verdicts == verdict).sum()) for verdict in ("copy", "far"))
    return (
        f"Of {count} new nodules {copies} ({percent(copies / count)}) are copies: no further from a training nodule than "
        f"{at.copy_of_cube:.4f}, the lower of the {COPY_PERCENTILE:g}th percentiles of (b) and (c), or from the "
        f"reconstruction of one than {at.copy_of_reconstruction:.4f}, that of (e). {far} ({percent(far / count)}) are far: "
        f"further from every training nodule than {at.far:.4f}, the higher of the {FAR_PERCENTILE:g}th percentiles of (b) "
        "and (c)."
    )


def table(novelty: Novelty) -> pd.DataFrame:
    """The distances of each kind, for a reader."""
    rows = []
    for name, title in TITLES.items():
        values = np.percentile(novelty.distances[name], PERCENTILES)
        columns = {f"{at} %": f"{value:.4f}" for at, value in zip(PERCENTILES, values, strict=True)}
        rows.append({"distance": title, "number": len(novelty.distances[name]), **columns})
    return pd.DataFrame(rows)


def summary(novelty: Novelty) -> dict[str, Any]:
    """The same for a program: a part of novelty.json."""
    return {
        "num_new": len(novelty.verdicts),
        "num_training": novelty.num_training,
        "num_held_out": len(novelty.distances["held_out_to_training"]),
        "share_of_copies": novelty.share("copy"),
        "share_of_far": novelty.share("far"),
        "thresholds": {name: float(value) for name, value in vars(novelty.thresholds).items()},
        "percentiles": {
            name: {str(at): float(np.percentile(values, at)) for at in PERCENTILES}
            for name, values in novelty.distances.items()
        },
    }
