"""Are the new nodules new, and are they nodules? Their distances to the training nodules, against those between these.

A mixture of normal densities is smoother than any scan, so that a new nodule is far from every cube in the same way as
a reconstruction is. Its fair peers are reconstructions, each without its own cube.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.output import percent
from strongscale.synthesis.distances import nearest

COPY_PERCENTILE = 1.0
FAR_PERCENTILE = 99.0
TOLERATED_SHARE = 0.05  # of copies, and of far ones; of the peers themselves 1 in 100 is on either wrong side
PERCENTILES = (1, 25, 50, 75, 99)

TITLES = {
    "new_to_training": "(a) new to the nearest training nodule",
    "reconstruction_to_other_training": "(b) reconstruction to the nearest other training nodule",
    "training_to_other_training": "(c) training nodule to the nearest other",
    "new_to_reconstruction": "(d) new to the nearest reconstruction",
    "reconstruction_to_other_reconstruction": "(e) reconstruction to the nearest other reconstruction",
    "reconstruction_to_own_cube": "reconstruction to its own cube",
}


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """The check: root-mean-square distances of each kind, and the training nodule nearest to each new one, by position."""

    distances: dict[str, NDArray[np.float64]]
    nearest_training: NDArray[np.int64]
    nearest_reconstruction: NDArray[np.int64]
    fault: str = ""
    """Why nothing that this model draws can pass, in words."""

    @property
    def copy_threshold(self) -> float:
        """A new nodule at most so far from a reconstruction is a copy."""
        return float(np.percentile(self.distances["reconstruction_to_other_reconstruction"], COPY_PERCENTILE))

    @property
    def far_threshold(self) -> float:
        """A new nodule further than this from every training nodule is far."""
        return float(np.percentile(self.distances["reconstruction_to_other_training"], FAR_PERCENTILE))

    @property
    def verdicts(self) -> NDArray[np.str_]:
        """Each new nodule's: copy, far, or new."""
        is_copy = self.distances["new_to_reconstruction"] <= self.copy_threshold
        is_far = self.distances["new_to_training"] > self.far_threshold
        return np.where(is_copy, "copy", np.where(is_far, "far", "new"))

    def share(self, verdict: str) -> float:
        """The share of new nodules with this verdict."""
        return float(np.mean(self.verdicts == verdict))

    @property
    def passes(self) -> bool:
        """Whether the model has learnt something, hardly any new nodule is a copy, and hardly any is far."""
        return not self.fault and self.share("copy") <= TOLERATED_SHARE and self.share("far") <= TOLERATED_SHARE


def check(
    new_MxV: NDArray[np.float32], training_NxV: NDArray[np.float32], reconstructions_NxV: NDArray[np.float32]
) -> Novelty:
    """Compare new nodules with distinct training nodules and their reconstructions, in the same order."""
    new_to_training, nearest_training = nearest(new_MxV, training_NxV)
    new_to_reconstruction, nearest_reconstruction = nearest(new_MxV, reconstructions_NxV)
    own = np.sqrt(np.mean((reconstructions_NxV - training_NxV).astype(np.float64) ** 2, axis=1))
    distances = {
        "new_to_training": new_to_training,
        "reconstruction_to_other_training": nearest(reconstructions_NxV, training_NxV, same_order=True)[0],
        "training_to_other_training": nearest(training_NxV, training_NxV, same_order=True)[0],
        "new_to_reconstruction": new_to_reconstruction,
        "reconstruction_to_other_reconstruction": nearest(reconstructions_NxV, reconstructions_NxV, same_order=True)[0],
        "reconstruction_to_own_cube": own,
    }
    return Novelty(
        distances=distances, nearest_training=nearest_training, nearest_reconstruction=nearest_reconstruction
    )


def in_words(novelty: Novelty) -> str:
    """The verdict, with its numbers."""
    count = len(novelty.verdicts)
    copies, far = (int((novelty.verdicts == verdict).sum()) for verdict in ("copy", "far"))
    faults = [novelty.fault] if novelty.fault else []
    if novelty.share("copy") > TOLERATED_SHARE:
        faults.append("too many new nodules are copies of training nodules: raise new_nodules.perturbation")
    if novelty.share("far") > TOLERATED_SHARE:
        faults.append("too many new nodules are far from all training nodules: lower new_nodules.perturbation")
    outcome = "The check fails: " + "; ".join(faults) if faults else "The check passes"
    return (
        f"{outcome}. Of {count} new nodules {copies} ({percent(copies / count)}) are copies: closer to the reconstruction "
        f"of a training nodule than {novelty.copy_threshold:.4f}, the {COPY_PERCENTILE:g}st percentile of (e). "
        f"{far} ({percent(far / count)}) are far: further from every training nodule than {novelty.far_threshold:.4f}, "
        f"the {FAR_PERCENTILE:g}th percentile of (b). Of either, {percent(TOLERATED_SHARE)} are tolerated."
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
    """The same for a program: novelty.json."""
    return {
        "passes": novelty.passes,
        "verdict": in_words(novelty),
        "num_new": len(novelty.verdicts),
        "num_training": len(novelty.distances["training_to_other_training"]),
        "share_of_copies": novelty.share("copy"),
        "share_of_far": novelty.share("far"),
        "tolerated_share": TOLERATED_SHARE,
        "copy_threshold": novelty.copy_threshold,
        "far_threshold": novelty.far_threshold,
        "percentiles": {
            name: {str(at): float(np.percentile(values, at)) for at in PERCENTILES}
            for name, values in novelty.distances.items()
        },
    }
