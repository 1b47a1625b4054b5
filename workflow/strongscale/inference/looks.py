"""How many seeds are enough? Look after some of them, and go on only where it is still open who is faster.

A contrast is decided when it is clear, at a level that leaves room for four looks, that its ratio lies above a margin, below
it, or within it; at the last look it is left undecided. Its error rates are found by simulation in the tests.
"""

from strongscale.inference.contrast import Contrast

LEVEL = 0.02
"""On two sides, at each look."""

ABOVE, BELOW, WITHIN = "faster", "slower", "as fast"


def decision(found: Contrast, margin: float) -> str | None:
    """What a contrast of log-ratios says at a look; None while it is open."""
    p_values = {ABOVE: found.p_above(margin), BELOW: found.p_below(-margin), WITHIN: found.p_within(margin)}
    least = min(p_values, key=p_values.__getitem__)
    return least if p_values[least] <= LEVEL / 2 else None
