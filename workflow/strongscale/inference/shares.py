"""The share of runs that do something, from a few of them: Jeffreys' interval, and exact tests of which side of a limit it is on."""

from scipy.stats import beta, binom

CONFIDENCE = 0.95


def interval(count: int, of: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Jeffreys' interval of a share; it reaches 0 where none did, and 1 where all did."""
    if of == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low, high = (float(beta.ppf(end, count + 0.5, of - count + 0.5)) for end in (tail, 1 - tail))
    return (0.0 if count == 0 else low), (1.0 if count == of else high)


def p_below(count: int, of: int, limit: float) -> float:
    """How likely so few are, were the share at the limit: small where it lies below it."""
    return float(binom.cdf(count, of, limit)) if of else 1.0


def p_above(count: int, of: int, limit: float) -> float:
    """How likely so many are, were the share at the limit: small where it lies above it."""
    return float(binom.sf(count - 1, of, limit)) if of else 1.0
