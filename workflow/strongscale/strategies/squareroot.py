"""Weak scaling with the square-root rule (Krizhevsky, 2014; Hoffer et al., 2017): n times the minibatch, sqrt(n) times the rate.

A step's noise then has the variance that the sequential step's has.
"""

from dataclasses import dataclass
from math import sqrt

from strongscale.strategies.base import Plan, Progress, Strategy


@dataclass(frozen=True)
class Squareroot(Strategy):
    """Minibatch n·B, learning rate sqrt(n)·eta."""

    def plan(self, base: Plan, progress: Progress) -> Plan:
        return Plan(progress.workers * base.batch, base.rate * sqrt(progress.workers))
