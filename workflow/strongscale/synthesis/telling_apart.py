"""Can a simple classifier tell two sets of samples apart? Its area under the ROC curve (AUC) on samples it hasn't seen.

Logistic regression with a weak quadratic penalty, on each sample's measures and its first principal components, learns
from four fifths of the samples and judges the last. 0.5 is guessing, 1 is certainty. What guessing may come to is told
by the same with the samples' names permuted: a permutation test, which is exact however few the samples are.

Shapes: N samples of V voxels and F features; L labellings, the first one true and the others permuted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

FOLDS = 5
FEWEST = 2 * FOLDS  # samples in either set
COMPONENTS = 10
PENALTY = 1.0
PERMUTATIONS = 200
INTERVAL = (2.5, 97.5)
NEWTON_STEPS = 12
SEED = 1  # of folds and permutations: the same samples give the same numbers

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How well two sets of so many samples could be told apart, and in which interval 95 % of guesses lie."""

    auc: float
    low: float
    high: float
    num_samples: tuple[int, int]

    @property
    def succeeds(self) -> bool:
        """Whether the AUC is above what guessing comes to."""
        return self.auc > self.high

    def in_words(self) -> str:
        """The verdict, with its numbers."""
        verdict = "can tell them apart" if self.succeeds else "can't tell them apart"
        return f"AUC {self.auc:.2f} (guessing: {self.low:.2f} to {self.high:.2f}): {verdict}"


def tell_apart(ones: Floats, others: Floats, measures_of_ones: Floats, measures_of_others: Floats) -> Attempt | None:
    """Try to tell ones (N, V) from others by voxels and measures; nothing where there are too few to try."""
    counts = len(ones), len(others)
    if min(counts) < FEWEST:
        return None
    random = np.random.default_rng(SEED)
    components = principal_components(np.concatenate([ones, others]).astype(np.float64))
    measures = np.concatenate([measures_of_ones, measures_of_others]).astype(np.float64)
    features = standardised(np.hstack([measures, components]))
    fold_N = np.concatenate([random.permutation(np.arange(count) % FOLDS) for count in counts])
    labels_LxN = np.tile(np.repeat([True, False], counts), (1 + PERMUTATIONS, 1))
    found = np.zeros(len(labels_LxN))
    for k in range(FOLDS):  # within folds, so that each keeps its share of ones
        own = np.flatnonzero(fold_N == k)
        labels_LxN[1:, own] = random.permuted(labels_LxN[1:, own], axis=1)
    for k in range(FOLDS):
        own = fold_N == k
        scores_LxN = fit(features[~own], labels_LxN[:, ~own]) @ features[own].T
        found += auc(scores_LxN, labels_LxN[:, own]) / FOLDS
    low, high = np.percentile(found[1:], INTERVAL)
    return Attempt(auc=float(found[0]), low=float(low), high=float(high), num_samples=counts)


def principal_components(samples_NxV: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first principal components of each sample (N, F), by the samples' scalar products; they know no names."""
    centred = samples_NxV - samples_NxV.mean(axis=0)
    squares, directions = np.linalg.eigh(centred @ centred.T)
    components: NDArray[np.float64] = (directions * np.sqrt(np.maximum(squares, 0)))[:, ::-1][:, :COMPONENTS]
    return components


def standardised(features_NxF: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features of mean 0 and deviation 1; one that is the same for all becomes 0."""
    scales = features_NxF.std(axis=0)
    standard: NDArray[np.float64] = (features_NxF - features_NxF.mean(axis=0)) / np.where(scales > 1e-9, scales, np.inf)
    return standard


def fit(features_NxF: NDArray[np.float64], labels_LxN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The weights (L, F) of a logistic regression for each labelling, by Newton's method.

    The last of the equations' unknowns is the constant, which isn't penalised, and, since it changes no order, is left out.
    """
    features = np.hstack([features_NxF, np.ones((len(features_NxF), 1))])
    penalty = np.diag([PENALTY] * features_NxF.shape[1] + [1e-6])
    weights = np.zeros((len(labels_LxN), features.shape[1]))
    for _ in range(NEWTON_STEPS):
        chances = special.expit(weights @ features.T)
        slopes = (chances - labels_LxN) @ features + weights @ penalty
        curvatures = (features.T * (chances * (1 - chances))[:, None, :]) @ features + penalty
        weights -= np.linalg.solve(curvatures, slopes[..., None])[..., 0]
    return weights[:, :-1]


def auc(scores_LxN: NDArray[np.float64], labels_LxN: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often a one has a higher score than another, for each labelling (L,); equal scores count half."""
    ranks = stats.rankdata(scores_LxN, axis=1)
    num_ones = labels_LxN.sum(axis=1)
    num_others = labels_LxN.shape[1] - num_ones
    wins = (ranks * labels_LxN).sum(axis=1) - num_ones * (num_ones + 1) / 2
    shares: NDArray[np.float64] = wins / (num_ones * num_others)
    return shares
