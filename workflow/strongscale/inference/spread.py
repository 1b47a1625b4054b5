"""The spread of a few numbers, moderated: three seeds hardly tell a variance, thirty contrasts of three seeds do.

Smyth's empirical Bayes (2004): the variances of all contrasts are taken for draws from one scaled inverse chi-square
distribution, whose two parameters are estimated from them; each contrast's own variance is drawn towards its middle. All
contrasts have a run in common, the one they are held against, so together they know no more of its noise than one does: they
lend a variance, and no degrees of freedom.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.special import digamma, polygamma

SAME = 1e-9
"""Log-ratios that differ by no more are equal but for rounding: they are computed, and have no spread."""


@dataclass(frozen=True)
class Spread:
    """What all contrasts together say of the variance of any: as much as so many degrees of freedom would."""

    variance: float = 0.0
    freedom: float = 0.0
    most: float = 0.0
    """Degrees of freedom that no moderated variance exceeds: those of one contrast, for contrasts share runs."""

    def moderated(self, values: Sequence[float]) -> tuple[float, float]:
        """The variance of these values with what the others say, and its degrees of freedom."""
        own = len(values) - 1
        variance = statistics.variance(values)
        if self.freedom == 0:
            return variance, own
        if math.isinf(self.freedom):
            return self.variance, max(own, self.most)
        together = own + self.freedom
        return (own * variance + self.freedom * self.variance) / together, max(own, min(together, self.most))


def has_none(values: Sequence[float]) -> bool:
    """Whether values are the same but for rounding, as where both runs of every pair took one trajectory."""
    return max(values) - min(values) <= SAME


def pooled(contrasts: Iterable[Sequence[float]]) -> Spread:
    """The spread of several contrasts; of none that has fewer than two values, or no spread at all."""
    found = [values for values in contrasts if len(values) > 1 and not has_none(values)]
    most = float(max((len(values) - 1 for values in found), default=0))
    if len(found) < 2:
        return Spread()
    halves = [(len(values) - 1) / 2 for values in found]
    logs = [
        math.log(statistics.variance(values)) - float(digamma(half)) + math.log(half)
        for values, half in zip(found, halves, strict=True)
    ]
    mean = statistics.fmean(logs)
    excess = statistics.variance(logs) - statistics.fmean(float(polygamma(1, half)) for half in halves)
    if excess <= 0:
        return Spread(math.exp(mean), math.inf, most)
    half = _inverse_trigamma(excess)
    return Spread(math.exp(mean + float(digamma(half)) - math.log(half)), 2 * half, most)


def _inverse_trigamma(value: float) -> float:
    """The x at which the trigamma function has this value."""
    low, high = 1e-6, 1e9
    if value >= float(polygamma(1, low)) or value <= float(polygamma(1, high)):
        return low if value > 1 else high
    return float(brentq(lambda x: float(polygamma(1, x)) - value, low, high))
