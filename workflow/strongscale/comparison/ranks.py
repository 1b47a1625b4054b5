"""Ranks with their intervals: how many rivals are decidedly faster, and how many decidedly slower.

Each pair of lines is held against one another seed by seed; all pairs of a ranking share one level (Holm). What isn't decided
is a tie: the ranks of both then overlap.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from strongscale.inference.contrast import Contrast
from strongscale.inference.outcome import holm

Against = Callable[[str, str], Contrast]
"""Of a line and its rival: the logarithm of the rival's time over the line's, seed by seed."""


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Where a line stands among others."""

    best: int
    worst: int

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best} to {self.worst}"


def ranks(lines: Sequence[str], against: Against, level: float) -> dict[str, Rank]:
    """The ranks of all lines, with the level shared by all pairs."""
    pairs = list(itertools.combinations(lines, 2))
    found = [against(one, other) for one, other in pairs]
    faster = [(contrast.p_above(0.0), contrast.p_below(0.0)) for contrast in found]
    adjusted = holm([min(1.0, 2 * min(both)) for both in faster])
    ahead: dict[str, int] = dict.fromkeys(lines, 0)
    behind: dict[str, int] = dict.fromkeys(lines, 0)
    for (one, other), (first, second), p in zip(pairs, faster, adjusted, strict=True):
        if p <= level:
            winner, loser = (one, other) if first < second else (other, one)
            ahead[loser] += 1
            behind[winner] += 1
    return {line: Rank(best=1 + ahead[line], worst=len(lines) - behind[line]) for line in lines}
