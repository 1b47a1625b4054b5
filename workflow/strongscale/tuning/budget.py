"""What each search is given: the same samples, or the same updates of weights. Steps are those that its plan takes."""

import itertools
from collections.abc import Iterator
from typing import Literal

from strongscale.strategies.base import Plan, Strategy, planned


def steps_each(strategy: Strategy, base: Plan, workers: int, num_training: int) -> Iterator[int]:
    """The steps of one epoch after the other."""
    return (len(plans) for plans in planned(strategy, base, workers, num_training))


def steps_in(epochs: int, each: Iterator[int]) -> int:
    """Steps of so many epochs."""
    return sum(itertools.islice(each, epochs))


def full_epochs(budget: Literal["epochs", "steps"], epochs: int, steps: int, each: Iterator[int]) -> int:
    """Epochs of a full run, where the sequential one has so many, and so many steps: as many, or those with as many steps."""
    if budget == "epochs":
        return epochs
    totals = itertools.accumulate(each)
    return next(count for count, total in enumerate(totals, start=1) if total >= steps)
