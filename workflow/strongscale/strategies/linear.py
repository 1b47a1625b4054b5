"""Weak scaling with the linear scaling rule (Goyal et al., 2017): n times the minibatch, n times the rate."""

from dataclasses import dataclass

from strongscale.strategies.weak import Weak


@dataclass(frozen=True)
class Linear(Weak):
    """Minibatch n·B, learning rate n·eta."""

    def learning_rate(self, base: float, workers: int, epochs_done: float) -> float:
        return base * workers
