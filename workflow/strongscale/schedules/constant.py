"""No schedule: the rate is what the strategy plans."""

from dataclasses import dataclass

from strongscale.schedules.base import Schedule


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """1 in every epoch."""

    def at(self, epoch: int, max_epochs: int) -> float:
        """Always 1."""
        return 1.0
