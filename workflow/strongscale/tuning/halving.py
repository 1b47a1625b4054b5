"""Successive halving (Jamieson and Talwalkar, 2016), and beyond the border where the best point lies there.

All points are trained for a quarter of a full run, the better half of them on to the half of it, and the better half of those
to its end. A run goes on from where it stopped, so that 8 points cost 8/4 + 4/4 + 2/2 = 4 full runs; the longest warm-up is
over before any of them is judged. Points are compared by their best validation loss so far; one that diverged comes last.
Where the best has the largest rate that was tried, or the smallest, one with twice or half that rate is trained to the end
too, and again, a bounded number of times: the best is then inside what was tried, or it is said that it isn't. The warm-ups
aren't extended.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from strongscale.tuning.sequence import Point, rounded

RUNGS = 3
STEP = 2.0
"""By which a rate beyond the border is larger, or smaller."""


@dataclass(frozen=True)
class Rung:
    """So many points, trained until the end of this epoch."""

    points: int
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """What a point has come to."""

    point: Point
    loss: float
    """The best so far; infinite where a run diverged."""
    epochs: int
    """That it was trained for, of all its seeds together: the cost."""
    is_extension: bool = False
    is_finalist: bool = False
    """Whether it was trained to the end, so that it may be chosen."""

    @property
    def rank(self) -> tuple[float, Point]:
        """By which outcomes are ordered; of two alike the smaller rate comes first."""
        return self.loss, self.point


Train = Callable[[Point, int], Outcome]
"""Trains a point on to the end of an epoch."""


def rungs(trials: int, epochs: int) -> list[Rung]:
    """Of a search whose full runs have so many epochs."""
    return [Rung(max(1, trials // 2**number), math.ceil(epochs / 2 ** (RUNGS - 1 - number))) for number in range(RUNGS)]


def planned_cost(ladder: Sequence[Rung]) -> float:
    """In full runs, without extensions, if no run diverges."""
    before = [0, *(rung.epochs for rung in ladder)]
    epochs = sum(rung.points * (rung.epochs - start) for rung, start in zip(ladder, before, strict=False))
    return epochs / ladder[-1].epochs


def halve(points: Sequence[Point], ladder: Sequence[Rung], train: Train) -> list[Outcome]:
    """The outcome of each point, at the last rung that it reached."""
    found: dict[Point, Outcome] = {}
    going = list(dict.fromkeys(points))
    for rung in ladder:
        for point in going[: rung.points]:
            found[point] = train(point, rung.epochs)
        going = sorted(going[: rung.points], key=lambda point: found[point].rank)
    return [replace(found[point], is_finalist=point in going) for point in found]


def best_of(outcomes: Sequence[Outcome]) -> Outcome:
    """The best of those that were trained to the end."""
    return min((outcome for outcome in outcomes if outcome.is_finalist), key=lambda outcome: outcome.rank)


def beyond(outcomes: Sequence[Outcome]) -> Point | None:
    """The next point outside, where the best has the largest or the smallest rate of all; None where it lies inside."""
    best, rates = best_of(outcomes).point, [outcome.point.learning_rate for outcome in outcomes]
    if best.learning_rate == max(rates):
        return replace(best, learning_rate=rounded(best.learning_rate * STEP))
    if best.learning_rate == min(rates):
        return replace(best, learning_rate=rounded(best.learning_rate / STEP))
    return None


def extend(outcomes: Sequence[Outcome], most: int, epochs: int, train: Train) -> list[Outcome]:
    """The outcomes, and those of at most so many points outside, each trained to the end."""
    found = list(outcomes)
    for _ in range(most):
        point = beyond(found)
        if point is None:
            break
        found.append(replace(train(point, epochs), is_extension=True, is_finalist=True))
    return found


def search(points: Sequence[Point], ladder: Sequence[Rung], extensions: int, train: Train) -> list[Outcome]:
    """The outcome of every point that was tried; `best_of` tells which is taken."""
    return extend(halve(points, ladder, train), extensions, ladder[-1].epochs, train)


def objective(losses: Sequence[float], *, diverged: bool) -> float:
    """Of one run: its best validation loss so far; infinite if it diverged, or has none that is finite."""
    return math.inf if diverged or not all(map(math.isfinite, losses)) else min(losses, default=math.inf)
