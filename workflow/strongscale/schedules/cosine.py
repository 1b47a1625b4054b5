"""Half a wave of the cosine over a run's epochs (Loshchilov and Hutter, 2017, without restarts)."""

import math
from dataclasses import dataclass
from typing import Annotated

from strongscale.common.schema import Between
from strongscale.schedules.base import Schedule


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """From 1 down to `floor` over the run's own `max_epochs`."""

    floor: Annotated[
        float,
        Between(low=0, high=1),
        "the factor that the last epoch comes near to; runs of fewer max_epochs (pilots, trials, tries at the edge) come down sooner",
    ] = 0.0

    def at(self, epoch: int, max_epochs: int) -> float:
        """Slowly at first and at last."""
        done = min(1.0, epoch / max_epochs)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * done)) / 2
