"""DiLoCo's plan: every worker takes whole minibatches by itself, for many steps."""

from dataclasses import dataclass

from strongscale.strategies.weak import Weak


@dataclass(frozen=True)
class Diloco(Weak):
    """Minibatch n·B, learning rate eta; an outer step every so many (updates/diloco.py)."""

    def update(self) -> str:
        return "diloco"
