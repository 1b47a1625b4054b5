"""The linear scaling rule after a warm-up (Goyal et al., 2017): the rate grows from eta to n·eta, then stays."""

from dataclasses import dataclass
from typing import Annotated

from strongscale.common.schema import POSITIVE
from strongscale.strategies.weak import Weak


@dataclass(frozen=True)
class Warmup(Weak):
    """Minibatch n·B, learning rate from eta up to n·eta, linearly over `epochs` epochs."""

    epochs: Annotated[float, POSITIVE, "epochs over which the learning rate grows"] = 5.0

    def learning_rate(self, base: float, workers: int, epochs_done: float) -> float:
        grown = min(1.0, epochs_done / self.epochs)
        return base * (1 + (workers - 1) * grown)
