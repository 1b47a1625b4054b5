"""Weak scaling: every worker takes a whole minibatch of its own; the learning rate stays."""

from dataclasses import dataclass

from strongscale.strategies.base import Strategy


@dataclass(frozen=True)
class Weak(Strategy):
    """Minibatch n·B, learning rate eta."""

    def minibatch(self, base: int, workers: int, epochs_done: int) -> int:
        return base * workers
