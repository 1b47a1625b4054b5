"""How many learners pay on a worker: CROSSBOW's rule (Koliousis et al., 2019), on seconds that were measured beforehand.

One more as long as that raises a worker's samples a second by more than a share of what one learner has. CROSSBOW counts while
it trains, so that its number hangs on the stopwatch; here a run must be repeatable to the bit, so the number is settled before.
"""

from collections.abc import Sequence
from pathlib import Path

from strongscale.common.errors import UserError
from strongscale.timing.timings import Timings

THRESHOLD = 0.1
"""Of one learner's throughput."""
MOST = 16
"""Learners that are tried."""


def does_last_pay(seconds: Sequence[float]) -> bool:
    """Whether the last learner pays, of a step's seconds with 1, 2, 3, ... learners of equally many samples each."""
    throughputs = [learners / each_s for learners, each_s in enumerate(seconds, start=1)]
    return len(throughputs) < 2 or throughputs[-1] - throughputs[-2] > THRESHOLD * throughputs[0]


def number_of(seconds: Sequence[float]) -> int:
    """The learners that pay, before the first that doesn't."""
    number = 1
    while number < len(seconds) and does_last_pay(seconds[: number + 1]):
        number += 1
    return number


def find(path: Path, timings: Timings, samples: int) -> int:
    """The number of learners of so many samples each that the timings in a file tell."""
    seconds = timings.tried(samples)
    if not seconds:
        raise UserError(
            f"{path}: knows no steps of 1, 2, ... learners of {samples} samples each, of which learners: auto becomes a "
            "number; allowed: timings measured for that, or a number of learners"
        )
    return number_of(seconds)
