"""Weak scaling: every worker takes a whole minibatch of its own; the learning rate stays."""

from dataclasses import dataclass

from strongscale.strategies.base import Plan, Progress, Strategy


@dataclass(frozen=True)
class Weak(Strategy):
    """Minibatch n·B, learning rate eta."""

    def plan(self, base: Plan, progress: Progress) -> Plan:
        return Plan(progress.workers * base.batch, base.rate)
