"""Weak scaling with the linear scaling rule (Goyal et al., 2017): n times the minibatch, n times the rate."""

from dataclasses import dataclass

from strongscale.strategies.base import Plan, Progress, Strategy


@dataclass(frozen=True)
class Linear(Strategy):
    """Minibatch n·B, learning rate n·eta."""

    def plan(self, base: Plan, progress: Progress) -> Plan:
        return Plan(progress.workers * base.batch, base.rate * progress.workers)
