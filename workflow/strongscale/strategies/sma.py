"""CROSSBOW's plan (Koliousis et al., 2019): every worker takes a whole minibatch and deals it among its own learners."""

from dataclasses import dataclass

from strongscale.strategies.weak import Weak


@dataclass(frozen=True)
class Sma(Weak):
    """Minibatch n·B, learning rate eta; learners are drawn to one average model (updates/sma.py)."""

    def update(self) -> str:
        return "sma"
