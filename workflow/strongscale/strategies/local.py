"""Local SGD's plan: every worker takes whole minibatches by itself, and weights are averaged now and then."""

from dataclasses import dataclass

from strongscale.strategies.weak import Weak


@dataclass(frozen=True)
class Local(Weak):
    """Minibatch n·B, learning rate eta; weights are averaged every few steps (updates/local.py)."""

    def update(self) -> str:
        return "local"
