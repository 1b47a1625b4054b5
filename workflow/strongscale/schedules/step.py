"""The rate falls by a factor after some epochs, as image classifiers are mostly trained."""

from dataclasses import dataclass
from typing import Annotated

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_1, Between, NonEmpty
from strongscale.schedules.base import Schedule


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """`factor` to the power of how many of `epochs` are done."""

    epochs: Annotated[
        tuple[Annotated[int, AT_LEAST_1], ...], NonEmpty(), "after how many epochs the rate falls, rising"
    ] = (30, 60)
    factor: Annotated[float, Between(above=0, high=1), "by which it is multiplied each time"] = 0.1

    def __post_init__(self) -> None:
        if list(self.epochs) != sorted(self.epochs):
            raise UserError(f"epochs: {list(self.epochs)} is not allowed; allowed: rising numbers")

    def at(self, epoch: int, max_epochs: int) -> float:
        """Of so many falls."""
        return float(self.factor ** sum(epoch >= fall for fall in self.epochs))
