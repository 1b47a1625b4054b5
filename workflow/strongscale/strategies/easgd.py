"""Elastic averaging's plan: every worker takes a whole minibatch by itself."""

from dataclasses import dataclass

from strongscale.strategies.weak import Weak


@dataclass(frozen=True)
class Easgd(Weak):
    """Minibatch n·B, learning rate eta; workers and a centre are on springs (updates/easgd.py)."""

    def update(self) -> str:
        return "easgd"
