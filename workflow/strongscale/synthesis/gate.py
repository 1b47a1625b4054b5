"""May the new nodules be used? Five parts, each a number with its interval and a threshold.

1. Reconstruction: of a model that knows held-out nodules hardly better than one cube for all, nothing drawn means much.
2. Diversity: the new nodules differ from one another as held-out ones do.
3. Coverage: held-out nodules have new ones about them.
4. Copying: hardly any new nodule is nearer to a training nodule than held-out ones are.
5. Strangeness: hardly any is further away than held-out ones are.

Intervals are of 95 %, by resampling nodules with replacement. One that holds its threshold decides nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from strongscale.synthesis import gate_measures
from strongscale.synthesis.gate_measures import Measured
from strongscale.synthesis.novelty import Nodules, Novelty

PASSES, FAILS, UNDECIDED = "passes", "fails", "undecided"
INTERVAL = (2.5, 97.5)
SEED = 1  # of the resampling: the same nodules give the same verdict
FEWEST = 10  # new or held-out nodules; of fewer no interval means anything

MOST_LOSS = 0.8  # of the better constant's, as a study's target must be below 0.8 of the best constant's
LEAST_DIVERSITY = 0.7  # of the held-out nodules': half their variance
LEAST_COVERAGE = 0.7  # of the training nodules'; copies of their mean come to about a half
TOLERATED_SHARE = (
    0.2  # of copies, and of far ones; about 1 in 40 of the peers is either: 64 nodules can tell these shares apart
)

HOW = (
    "Held-out nodules are the validation ones, which the model hasn't been trained on. A held-out nodule is near new ones if "
    f"one of them is within the distance of its neighbour number {gate_measures.NEIGHBOUR} among held-out nodules. Each "
    "interval is of 95 %, by resampling nodules; the check passes if all of them lie on the allowed side, fails if one lies "
    "on the other, and is undecided else: draw more nodules, or hold more out."
)


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """One part of the gate."""

    name: str
    meaning: str
    measure: Callable[[Nodules, Novelty, np.random.Generator], Measured]
    threshold: float
    at_most: bool
    """Whether the threshold is the most that passes, or the least."""
    advice: str


CRITERIA = (
    Criterion(
        name="reconstruction",
        meaning="the model's loss on held-out nodules, of that of the best constant or of the mean cube",
        measure=gate_measures.reconstruction,
        threshold=MOST_LOSS,
        at_most=True,
        advice="train the model for longer, or on more data",
    ),
    Criterion(
        name="diversity",
        meaning="the root-mean-square distance between two new nodules, of that between two held-out ones",
        measure=gate_measures.diversity,
        threshold=LEAST_DIVERSITY,
        at_most=False,
        advice="raise new_nodules.perturbation, or train a model that tells nodules apart",
    ),
    Criterion(
        name="coverage",
        meaning="the held-out nodules near new ones, of those near as many training ones",
        measure=gate_measures.coverage,
        threshold=LEAST_COVERAGE,
        at_most=False,
        advice="draw from a model that reconstructs all kinds of nodules",
    ),
    Criterion(
        name="copying",
        meaning="the share of new nodules that are copies",
        measure=gate_measures.copying,
        threshold=TOLERATED_SHARE,
        at_most=True,
        advice="raise new_nodules.perturbation",
    ),
    Criterion(
        name="strangeness",
        meaning="the share of new nodules that are far",
        measure=gate_measures.strangeness,
        threshold=TOLERATED_SHARE,
        at_most=True,
        advice="lower new_nodules.perturbation",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What was measured of one criterion, with its interval; NaN where there is too little to tell."""

    criterion: Criterion
    value: float
    low: float
    high: float

    @property
    def outcome(self) -> str:
        """Where the interval lies: on the right side of the threshold, on the wrong one, or on both."""
        threshold = self.criterion.threshold
        if self.criterion.at_most:
            return PASSES if self.high <= threshold else FAILS if self.low > threshold else UNDECIDED
        return PASSES if self.low >= threshold else FAILS if self.high < threshold else UNDECIDED

    @property
    def limit(self) -> str:
        """The threshold in words."""
        return f"{'at most' if self.criterion.at_most else 'at least'} {self.criterion.threshold:g}"

    @property
    def numbers(self) -> str:
        """The value and its interval, or why there is none."""
        if np.isnan(self.value):
            return f"fewer than {FEWEST} nodules"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """All parts; and why nothing that this model draws can pass, in words."""

    parts: tuple[Part, ...]
    fault: str = ""

    @property
    def outcome(self) -> str:
        """The worst of all parts'."""
        outcomes = {part.outcome for part in self.parts}
        if self.fault or FAILS in outcomes:
            return FAILS
        return UNDECIDED if UNDECIDED in outcomes else PASSES

    def __getitem__(self, name: str) -> Part:
        """The part of this name."""
        return next(part for part in self.parts if part.criterion.name == name)


def check(nodules: Nodules, found: Novelty, fault: str = "") -> Gate:
    """Judge new nodules by all parts."""
    streams = np.random.default_rng(SEED).spawn(len(CRITERIA))
    parts = tuple(
        _judge(criterion, nodules, found, random) for criterion, random in zip(CRITERIA, streams, strict=True)
    )
    return Gate(parts=parts, fault=fault)


def _judge(criterion: Criterion, nodules: Nodules, found: Novelty, random: np.random.Generator) -> Part:
    if min(len(nodules.new_MxV), len(nodules.held_out_NxV)) < FEWEST:
        return Part(criterion=criterion, value=np.nan, low=np.nan, high=np.nan)
    measured = criterion.measure(nodules, found, random)
    low, high = np.percentile(measured.draws_R, INTERVAL)
    return Part(criterion=criterion, value=measured.value, low=float(low), high=float(high))


def in_words(gate: Gate) -> str:
    """The verdict, and what it hangs on."""
    reasons = [gate.fault] if gate.fault else []
    for part in gate.parts:
        if part.outcome == FAILS:
            reasons.append(f"{part.criterion.name} {part.numbers}, allowed is {part.limit} ({part.criterion.advice})")
    open_parts = [
        f"{part.criterion.name} {part.numbers}, allowed is {part.limit}"
        for part in gate.parts
        if part.outcome == UNDECIDED
    ]
    words = "The check " + ("is undecided" if gate.outcome == UNDECIDED else gate.outcome)
    if reasons:
        words += ": " + "; ".join(reasons)
    if open_parts:
        words += ("; undecided: " if reasons else ": ") + "; ".join(open_parts)
    return words + "."


def table(gate: Gate) -> pd.DataFrame:
    """A row a part, for a reader."""
    return pd.DataFrame(
        [
            {
                "part": part.criterion.name,
                "what is measured": part.criterion.meaning,
                "found (95 %)": part.numbers,
                "allowed": part.limit,
                "verdict": part.outcome,
            }
            for part in gate.parts
        ]
    )


def summary(gate: Gate) -> dict[str, Any]:
    """The same for a program: a part of novelty.json."""
    return {
        "passes": gate.outcome == PASSES,
        "outcome": gate.outcome,
        "verdict": in_words(gate),
        "parts": {part.criterion.name: _part_summary(part) for part in gate.parts},
    }


def _part_summary(part: Part) -> dict[str, Any]:
    known = not np.isnan(part.value)
    return {
        "meaning": part.criterion.meaning,
        "value": part.value if known else None,
        "interval": [part.low, part.high] if known else None,
        "threshold": part.criterion.threshold,
        "at_most": part.criterion.at_most,
        "outcome": part.outcome,
    }
