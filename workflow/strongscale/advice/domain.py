"""Where the law of batch size may be asked: what measured runs rule out, in words before any number.

By the law steps never rise with the batch, and every batch arrives. Where runs say otherwise it doesn't hold, and is fitted to the
smaller batches alone. Beyond twice the largest of these, or below half the smallest, it isn't asked: within a doubling the law can say
nothing but a factor of 1/2 to 1, so no B_c, however wrong, misleads by more than that; two doublings nobody has checked.

Shapes: N runs, K batch sizes.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from strongscale.advice.runs import Numbers, Runs

MOST_TIMES = 2.0
RISE_LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Rise:
    """Steps that are more at a larger batch."""

    from_batch: float
    to_batch: float
    from_steps: float
    to_steps: float
    p: float
    """How surprising it is as noise, many pairs looked at; NaN where no batch has two runs."""

    @property
    def is_beyond_noise(self) -> bool:
        """Whether it is more than seeds explain."""
        return self.p < RISE_LEVEL


@dataclass(frozen=True, kw_only=True)
class Unreached:
    """A batch at which no run reached the target."""

    batch: float
    steps: float
    """How far the furthest run went."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What the law is fitted to and may be asked."""

    runs: Runs
    rises: tuple[Rise, ...]
    """The first that is beyond noise; or, where nobody can tell, the greatest."""
    unreached: tuple[Unreached, ...]

    @property
    def least(self) -> float:
        """The smallest batch that may be asked for."""
        return float(self.runs.sizes[0]) / MOST_TIMES

    @property
    def most(self) -> float:
        """The largest."""
        return float(self.runs.sizes[-1]) * MOST_TIMES

    @property
    def fails_from(self) -> float:
        """The batch from which on runs rule the law out; infinite where none do."""
        largest = self.runs.sizes[-1] if len(self.runs.sizes) else 0.0
        failed = [one.batch for one in self.unreached if one.batch > largest]
        return min([*failed, *(rise.to_batch for rise in self.rises if rise.is_beyond_noise)], default=math.inf)

    def why_not(self, batch: float) -> str:
        """Why there is no number for a batch; empty where there is."""
        if batch >= self.fails_from:
            return f"the law doesn't hold from a batch of {self.fails_from:g} on"
        if any(batch == one.batch for one in self.unreached):
            return f"no run arrived with a batch of {batch:g}"
        if not self.least <= batch <= self.most:
            return f"too far outside the data: the law is asked from a batch of {self.least:g} to {self.most:g}"
        return ""


def domain_of(runs: Runs) -> Domain:
    """What of these runs a law may be fitted to."""
    arrived_K = [batch for batch in runs.sizes if runs.reached_N[runs.batches_N == batch].any()]
    unreached = tuple(
        Unreached(batch=float(batch), steps=float(runs.steps_N[runs.batches_N == batch].max()))
        for batch in runs.sizes
        if batch not in arrived_K
    )
    kept = runs.where(np.isin(runs.batches_N, arrived_K))
    rises = _rises(kept)
    if beyond := [rise for rise in rises if rise.is_beyond_noise]:
        first = min(beyond, key=lambda rise: (rise.to_batch, rise.from_steps))
        kept, rises = kept.where(kept.batches_N < first.to_batch), [first]
    elif rises := [rise for rise in rises if math.isnan(rise.p)]:
        rises = [max(rises, key=lambda rise: rise.to_steps / rise.from_steps)]
    return Domain(runs=kept, rises=tuple(rises), unreached=unreached)


def _rises(runs: Runs) -> list[Rise]:
    """Each pair of batches with more steps at the larger.

    A batch with runs that didn't arrive is no smaller one of a pair: its steps are more than they seem.
    """
    logs = {batch: np.log(runs.steps_N[runs.batches_N == batch]) for batch in runs.sizes}
    whole = {batch for batch in logs if runs.reached_N[runs.batches_N == batch].all()}
    freedom = sum(len(logs[batch]) - 1 for batch in whole)
    squares = sum(float(((logs[batch] - logs[batch].mean()) ** 2).sum()) for batch in whole)
    pairs = [(low, high) for low, high in itertools.combinations(logs, 2) if low in whole]
    return [
        Rise(
            from_batch=float(low),
            to_batch=float(high),
            from_steps=float(np.exp(logs[low].mean())),
            to_steps=float(np.exp(logs[high].mean())),
            p=float(np.minimum(1.0, len(pairs) * _p_above(logs[low], logs[high], squares, freedom))),
        )
        for low, high in pairs
        if logs[high].mean() > logs[low].mean()
    ]


def _p_above(low_N: Numbers, high_N: Numbers, squares: float, freedom: int) -> float:
    """One-sided, by the spread of all batches' runs."""
    if freedom < 1:
        return math.nan
    error = math.sqrt(squares / freedom * (1 / len(low_N) + 1 / len(high_N)))
    difference = float(high_N.mean() - low_N.mean())
    return float(stats.t.sf(difference / error, freedom)) if error else 0.0
