"""The numbers of the gate that new nodules pass, each with what it comes to when nodules are resampled.

Shapes: M new nodules, K training ones and N held-out ones, of V voxels each; R resamples.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from strongscale.synthesis.distances import all_pairs, evenly
from strongscale.synthesis.novelty import Nodules, Novelty, Thresholds, thresholds
from strongscale.tasks.autoencoding import msle

RESAMPLES = 1000
MOST = 500  # nodules of a kind whose distances to one another are taken, evenly chosen
NEIGHBOUR = 5

Numbers = NDArray[np.float64]
PEERS = ("held_out_reconstruction_to_training", "held_out_to_training", "held_out_to_reconstruction")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number, and the same of each resample."""

    value: float
    draws_R: Numbers


def resamples(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Positions of nodules drawn with replacement: (R, count)."""
    return random.integers(count, size=(RESAMPLES, count))


def reconstruction(nodules: Nodules, _found: Novelty, random: np.random.Generator) -> Measured:
    """The model's loss on held-out nodules, as a share of that of the better of two cubes for all.

    These are the training nodules' mean, and their mean by logarithms: the best constant by the loss itself.
    """
    training = nodules.training_KxV.astype(np.float64)
    outputs = nodules.held_out_reconstructions_NxV, training.mean(0), np.expm1(np.log1p(training).mean(0))
    losses_3xN = np.stack([_losses(output, nodules.held_out_NxV) for output in outputs])

    def share(losses: Numbers) -> Numbers:
        model, mean_cube, constant = losses.mean(-1)
        shares: Numbers = model / np.minimum(mean_cube, constant)
        return shares

    draws_R = share(losses_3xN[:, resamples(losses_3xN.shape[1], random)])
    return Measured(value=float(share(losses_3xN)), draws_R=draws_R)


def _losses(output: NDArray[np.floating], cubes_NxV: NDArray[np.float32]) -> Numbers:
    prediction = np.broadcast_to(output, cubes_NxV.shape).astype(np.float64)
    losses: Numbers = msle(torch.from_numpy(prediction), torch.from_numpy(cubes_NxV.astype(np.float64))).numpy()
    return losses


def diversity(nodules: Nodules, _found: Novelty, random: np.random.Generator) -> Measured:
    """The root-mean-square distance between two new nodules, as a share of that between two held-out ones."""
    new, own = (_spread(evenly(rows, MOST), random) for rows in (nodules.new_MxV, nodules.held_out_NxV))
    return Measured(value=new.value / own.value, draws_R=new.draws_R / own.draws_R)


def _spread(rows_NxV: NDArray[np.float32], random: np.random.Generator) -> Measured:
    """The root of the mean squared distance over pairs of different nodules; a resample holds some more than once."""
    squares_NxN = all_pairs(rows_NxV, rows_NxV) ** 2
    count = len(rows_NxV)
    times_RxN = np.stack([np.bincount(chosen, minlength=count) for chosen in resamples(count, random)])
    pairs_R = count**2 - (times_RxN**2).sum(1)
    draws_R = np.sqrt((times_RxN @ squares_NxN * times_RxN).sum(1) / pairs_R)
    return Measured(value=float(np.sqrt(squares_NxN.sum() / (count**2 - count))), draws_R=draws_R)


def coverage(nodules: Nodules, _found: Novelty, random: np.random.Generator) -> Measured:
    """The share of held-out nodules with a new one within the distance of their k-th neighbour among held-out ones.

    So Naeem et al. define it (Reliable fidelity and diversity metrics for generative models, ICML 2020). Here it is
    divided by the share that as many random training nodules are expected to cover: what nodules of the data set come to.
    The held-out nodules are resampled; the verdict is on these new ones.
    """
    own_NxV = evenly(nodules.held_out_NxV, MOST)
    new_MxV = nodules.new_MxV[: len(nodules.training_KxV)]
    own_NxN = all_pairs(own_NxV, own_NxV)
    np.fill_diagonal(own_NxN, np.inf)
    reach_N = np.sort(own_NxN, axis=1)[:, NEIGHBOUR - 1]
    covered_N = all_pairs(own_NxV, new_MxV).min(1) <= reach_N
    num_near_N = (all_pairs(own_NxV, nodules.training_KxV) <= reach_N[:, None]).sum(1)
    expected_N = 1 - stats.hypergeom.pmf(0, len(nodules.training_KxV), num_near_N, len(new_MxV))
    chosen = resamples(len(own_NxV), random)
    draws_R = covered_N[chosen].mean(1) / expected_N[chosen].mean(1)
    return Measured(value=float(covered_N.mean() / expected_N.mean()), draws_R=draws_R)


def copying(_nodules: Nodules, found: Novelty, random: np.random.Generator) -> Measured:
    """The share of new nodules that are copies."""
    at = _resampled_thresholds(found, random)
    return _share(found.copies(found.thresholds), found.copies(at), random)


def strangeness(_nodules: Nodules, found: Novelty, random: np.random.Generator) -> Measured:
    """The share of new nodules that are far."""
    at = _resampled_thresholds(found, random)
    return _share(found.far(found.thresholds), found.far(at), random)


def _resampled_thresholds(found: Novelty, random: np.random.Generator) -> Thresholds:
    chosen = resamples(len(found.distances["held_out_to_training"]), random)
    return thresholds({name: found.distances[name][chosen] for name in PEERS})


def _share(which_M: NDArray[np.bool_], which_RxM: NDArray[np.bool_], random: np.random.Generator) -> Measured:
    """A share, and what it may be, by Jeffreys' posterior, for the count of each resample.

    New nodules that are resampled themselves would say of none in 64 that none can be.
    """
    counts_R = which_RxM.sum(1)
    draws_R = random.beta(counts_R + 0.5, which_RxM.shape[1] - counts_R + 0.5)
    return Measured(value=float(which_M.mean()), draws_R=draws_R)
