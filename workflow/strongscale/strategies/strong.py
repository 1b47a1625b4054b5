"""Strong scaling: the sequential minibatch, split over the workers. The path of the sequential run, in less time."""

from dataclasses import dataclass

from strongscale.strategies.base import Strategy


@dataclass(frozen=True)
class Strong(Strategy):
    """Minibatch B, learning rate eta: nothing changes but who computes what."""
