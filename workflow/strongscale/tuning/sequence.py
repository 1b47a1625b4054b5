"""The points of the search: rates and warm-ups from one low-discrepancy sequence, the same for each batch size, scaled.

Sobol's sequence, scrambled (Owen, 1998) with a fixed seed: any batch size has the same points in the unit square. Across it
goes the logarithm of the rate, from eta/4 to 4·n·eta for a minibatch n times the sequential one, so that the linear rule's
n·eta and the plain eta are both inside; upwards go the warm-ups, in equal parts. The range of a larger batch is wider, so that
its points lie further apart: eight of them by half an octave for the sequential batch, by 0.9 for one of eight times its size.
"""

from dataclasses import dataclass

from scipy.stats import qmc

WARMUPS = (0.0, 0.05, 0.2)
"""Shares of a full run's steps."""
REACH = 4.0
SCRAMBLING = 1
DIGITS = 4
"""Of a rate: more would tell nothing, and stand in the way in names."""


@dataclass(frozen=True, order=True)
class Point:
    """What is tried."""

    learning_rate: float
    warmup: float
    """As a share of a full run's steps."""

    @property
    def name(self) -> str:
        """The folder of its trials."""
        return f"rate{self.learning_rate:g}_warmup{self.warmup:g}"


def points(count: int, around: float, times: float) -> list[Point]:
    """So many points, a power of two, for a minibatch of so many `times` the sequential one."""
    square = qmc.Sobol(2, scramble=True, rng=SCRAMBLING).random_base2(count.bit_length() - 1)
    low, high = around / REACH, around * REACH * times
    return [Point(rounded(low * (high / low) ** across), WARMUPS[int(len(WARMUPS) * up)]) for across, up in square]


def rounded(rate: float) -> float:
    """To a few digits."""
    return float(f"{rate:.{DIGITS}g}")
