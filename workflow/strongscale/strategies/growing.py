"""A growing minibatch in place of a falling rate (Smith et al., 2018): the noise of steps falls alike, in fewer of them.

The path is the same on any number of workers, as in strong scaling; there is more to share out as it goes on.
"""

from dataclasses import dataclass
from typing import Annotated

from strongscale.common.schema import AT_LEAST_1, Between, NonEmpty
from strongscale.strategies.base import Plan, Progress, Strategy


@dataclass(frozen=True)
class Growing(Strategy):
    """Minibatch B, times `factor` at each of `epochs`, at most the whole training set; learning rate eta."""

    epochs: Annotated[
        tuple[Annotated[int, AT_LEAST_1], ...], NonEmpty(), "whole epochs after which a rate would fall"
    ] = (60, 120, 160)
    factor: Annotated[float, Between(low=1), "by which the minibatch grows each time, as a rate would fall"] = 5.0

    def plan(self, base: Plan, progress: Progress) -> Plan:
        grown = sum(progress.epoch >= epoch for epoch in self.epochs)
        return Plan(max(base.batch, min(round(base.batch * self.factor**grown), progress.samples)), base.rate)
