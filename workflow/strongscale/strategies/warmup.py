"""The linear scaling rule after a warm-up (Goyal et al., 2017): the rate grows from eta to n·eta, then stays."""

from dataclasses import dataclass
from typing import Annotated

from strongscale.common.schema import POSITIVE
from strongscale.strategies.base import Plan, Progress, Strategy


@dataclass(frozen=True)
class Warmup(Strategy):
    """Minibatch n·B, learning rate from eta up to n·eta, linearly over `epochs` epochs."""

    epochs: Annotated[float, POSITIVE, "epochs over which the learning rate grows"] = 5.0

    def plan(self, base: Plan, progress: Progress) -> Plan:
        grown = min(1.0, progress.epochs_done / self.epochs)
        return Plan(progress.workers * base.batch, base.rate * (1 + (progress.workers - 1) * grown))
