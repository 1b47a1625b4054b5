"""Who isn't decidedly slower than the fastest.

Each line is held against the one with the least median, seed by seed, all at one level (Holm over as many tests as there are
rivals: against the best, not all pairs). What isn't decided is a tie. A run that doesn't arrive took at least the time it was given,
or would have been: a bound, which stands for its time, so that against a rival that arrives it counts for less than it was.
"""

from collections.abc import Mapping

from strongscale.inference.contrast import Contrast, Known, exactly
from strongscale.inference.outcome import holm


def by_bounds(found: Contrast) -> Contrast:
    """The same pairs, each with a number: what is known only to be beyond a bound stands at it; of nothing known, 0."""
    return Contrast(tuple(exactly(_number(pair)) for pair in found.pairs), found.spread)


def _number(pair: Known) -> float:
    if pair.is_number:
        return pair.low
    bounds = [bound for bound in (pair.low, pair.high) if abs(bound) != float("inf")]
    return bounds[0] if bounds else 0.0


def slower(to_fastest: Mapping[str, Contrast], level: float) -> set[str]:
    """The lines that are decidedly slower than the fastest, by the logarithms of their times over its time."""
    adjusted = holm([by_bounds(found).p_above(0.0) for found in to_fastest.values()])
    return {line for line, p in zip(to_fastest, adjusted, strict=True) if p <= level}
