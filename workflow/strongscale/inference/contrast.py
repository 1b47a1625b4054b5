"""Is one thing faster than another? The logarithms of ratios, seed by seed, some of them known only to be beyond a bound.

Where every pair has its ratio, the mean log-ratio with a moderated t answers. Where a run of some pair never arrived there
is no mean; then the share of pairs beyond a limit answers, which is to ask for the median: a pair that isn't known to lie
beyond the limit counts as one that doesn't.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from scipy.stats import t

from strongscale.inference import shares
from strongscale.inference.spread import Spread, has_none


@dataclass(frozen=True)
class Known:
    """What is known of one pair's log-ratio: the least and the most that it may be, which are the same where it is a number."""

    low: float
    high: float

    @property
    def is_number(self) -> bool:
        """Whether it is a number, not a bound."""
        return self.low == self.high and math.isfinite(self.low)


def exactly(value: float) -> Known:
    """A log-ratio that is known."""
    return Known(value, value)


NOTHING = Known(-math.inf, math.inf)


@dataclass(frozen=True)
class Contrast:
    """The log-ratios of some pairs, and what other contrasts say of their spread."""

    pairs: tuple[Known, ...]
    spread: Spread = field(default_factory=Spread)

    @property
    def values(self) -> list[float]:
        """The log-ratios, where every pair has one; else none."""
        numbers = [pair.low for pair in self.pairs if pair.is_number]
        return numbers if len(numbers) == len(self.pairs) else []

    @property
    def is_computed(self) -> bool:
        """Whether the ratio is the same in every pair, so that nothing is left to chance."""
        return len(self.values) > 1 and has_none(self.values)

    @property
    def mean(self) -> float:
        """The mean log-ratio; NaN where a pair has none."""
        return statistics.fmean(self.values) if self.values else math.nan

    def interval(self, confidence: float) -> tuple[float, float]:
        """Of the mean log-ratio; NaN with one pair, or where a pair has no number."""
        error, freedom = self._error()
        if math.isnan(error):
            return math.nan, math.nan
        reach = error * float(t.ppf((1 + confidence) / 2, freedom)) if error else 0.0
        return self.mean - reach, self.mean + reach

    def p_above(self, limit: float) -> float:
        """How surprising such pairs would be if the log-ratio weren't above a limit."""
        if self.values:
            return self._p(self.mean - limit)
        return shares.p_above(sum(pair.low > limit for pair in self.pairs), len(self.pairs), 0.5)

    def p_below(self, limit: float) -> float:
        """The same of below."""
        if self.values:
            return self._p(limit - self.mean)
        return shares.p_above(sum(pair.high < limit for pair in self.pairs), len(self.pairs), 0.5)

    def p_within(self, limit: float) -> float:
        """How surprising they would be if it were farther from zero than that: two one-sided tests."""
        return max(self.p_above(-limit), self.p_below(limit))

    def leaning(self, limit: float) -> int:
        """Which way the pairs point, however few they are: 1 where above a limit, -1 where below its opposite."""
        if self.values:
            return (self.mean > limit) - (self.mean < -limit)
        above, below = sum(pair.low > limit for pair in self.pairs), sum(pair.high < -limit for pair in self.pairs)
        return (2 * above > len(self.pairs)) - (2 * below > len(self.pairs))

    def _error(self) -> tuple[float, float]:
        """The standard error of the mean and its degrees of freedom."""
        if len(self.values) < 2:
            return math.nan, 0.0
        if self.is_computed:
            return 0.0, 1.0
        variance, freedom = self.spread.moderated(self.values)
        return math.sqrt(variance / len(self.values)), freedom

    def _p(self, distance: float) -> float:
        error, freedom = self._error()
        if math.isnan(error):
            return 1.0
        if error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(t.sf(distance / error, freedom))


def of_numbers(values: Sequence[float], spread: Spread | None = None) -> Contrast:
    """A contrast whose pairs are all known."""
    return Contrast(tuple(exactly(value) for value in values), spread or Spread())
