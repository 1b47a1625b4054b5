"""The best map of probabilities, one a voxel, that answers every input alike: what a network must beat.

Cross-entropy alone would have the mean of the masks; Dice rewards a larger, harder blob in the middle. The map is found by
L-BFGS in float64, from the mean of the masks, so that it is the same each time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit, logit

from strongscale.tasks.masks import EPSILON

Floats = NDArray[np.float64]
MOST_STEPS = 1000


def best_map(masks_NV: NDArray[np.uint8]) -> Floats:
    """The probabilities (V,) whose mean loss over these masks is least.

    The cross-entropy is taken with one mask more, half in the nodule everywhere: else a voxel that is in no mask of the
    training samples had the probability 0, and the first validation sample with that voxel an infinite loss.
    """
    masks, (num_masks, num_voxels) = csr_matrix(masks_NV, dtype=np.float64), masks_NV.shape
    sizes_N = masks_NV.sum(1, dtype=np.float64)
    wanted_V = (masks_NV.sum(0, dtype=np.float64) + 0.5) / (num_masks + 1)

    def objective(logits_V: Floats) -> tuple[float, Floats]:
        map_V = expit(logits_V)
        cross_entropy = np.mean(np.logaddexp(0, logits_V) - wanted_V * logits_V)
        weights_N = 1 / (map_V.sum() + sizes_N + EPSILON)
        dice_N = (2 * np.asarray(masks @ map_V) + EPSILON) * weights_N
        slope_V = ((dice_N * weights_N).sum() - 2 * np.asarray(masks.T @ weights_N)) / num_masks
        return float(cross_entropy - dice_N.mean()), (map_V - wanted_V) / num_voxels + slope_V * map_V * (1 - map_V)

    options: Any = {"maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "ftol": 1e-12, "gtol": 1e-9}
    found = minimize(objective, logit(wanted_V), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(expit(found.x), dtype=np.float64)


def loss_of_map(map_V: Floats, masks_NV: NDArray[np.uint8]) -> float:
    """The mean loss of answering every sample with this map, in float64."""
    masks = csr_matrix(masks_NV, dtype=np.float64)
    inside_V, outside_V = np.log(map_V), np.log1p(-map_V)
    cross_entropy_N = -(masks @ (inside_V - outside_V) + outside_V.sum()) / len(map_V)
    sizes_N = masks_NV.sum(1, dtype=np.float64)
    dice_N = (2 * np.asarray(masks @ map_V) + EPSILON) / (map_V.sum() + sizes_N + EPSILON)
    return float(np.mean(cross_entropy_N + 1 - dice_N))
