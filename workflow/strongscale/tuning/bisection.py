"""A bracket around a threshold, halved on the logarithmic scale: pure mathematics, which knows nothing of what is tried."""

import math
from collections.abc import Callable
from dataclasses import dataclass

MOST_DOUBLINGS = 4
DIGITS = 3  # of the numbers that are tried: the threshold isn't known any better


@dataclass(frozen=True)
class Bracket:
    """The largest number known to pass, and the smallest known to fail; None where none was found that does."""

    lower: float
    upper: float | None


def tidy(value: float) -> float:
    """A number of a few digits."""
    return float(f"{value:.{DIGITS}g}")


def search(lower: float, upper: float, passes: Callable[[float], bool], *, resolution: float) -> Bracket:
    """Where numbers cease to pass, between these two; `lower` is known to pass.

    While the upper end passes, it becomes the lower one, and its double is tried. Then the middle on the logarithmic
    scale takes the place of the end that it is like, until the ends' ratio is at most the resolution.
    """
    fails = None
    for _ in range(1 + MOST_DOUBLINGS):
        if not passes(upper):
            fails = upper
            break
        lower, upper = upper, tidy(2 * upper)
    if fails is None:
        return Bracket(lower, None)
    while fails / lower > resolution:
        middle = tidy(math.sqrt(lower * fails))
        if passes(middle):
            lower = middle
        else:
            fails = middle
    return Bracket(lower, fails)
