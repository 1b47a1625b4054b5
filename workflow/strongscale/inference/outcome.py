"""From evidence to one of four outcomes, and what is left of it where several statements are judged at once."""

from collections.abc import Sequence
from dataclasses import dataclass

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
EQUIVALENT = "equivalent"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Evidence:
    """For one statement: how surprising the data would be if it weren't true, weren't false, weren't a tie. 1: no evidence."""

    supports: float = 1.0
    contradicts: float = 1.0
    equivalent: float = 1.0


NONE = Evidence()


def together(evidence: Sequence[Evidence]) -> Evidence:
    """For several statements at once: true if each is, false if one is, a tie if none is more than that and one is."""
    if not evidence:
        return NONE
    return Evidence(
        supports=max(one.supports for one in evidence),
        contradicts=min(1.0, len(evidence) * min(one.contradicts for one in evidence)),
        equivalent=max(min(one.supports, one.equivalent) for one in evidence)
        if any(one.equivalent < 1 for one in evidence)
        else 1.0,
    )


def p_of(evidence: Evidence) -> float:
    """Of the outcome that the evidence speaks for, on two sides."""
    return min(1.0, 2 * min(evidence.supports, evidence.contradicts, evidence.equivalent))


def outcome_of(evidence: Evidence, p: float, alpha: float) -> str:
    """The outcome, given its p-value, its own or one that is adjusted."""
    if p > alpha:
        return UNDECIDED
    least = min(evidence.supports, evidence.contradicts, evidence.equivalent)
    named = {SUPPORTED: evidence.supports, CONTRADICTED: evidence.contradicts, EQUIVALENT: evidence.equivalent}
    return next(outcome for outcome, value in named.items() if value == least)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several statements, adjusted so that all that fall below a level are true at once with that confidence."""
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
