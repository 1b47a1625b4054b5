"""A schedule: by what the rate that a strategy plans is multiplied as a run goes on, the same with every strategy."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from strongscale.common.parts import Part


@dataclass(frozen=True, kw_only=True)
class Schedule(Part, ABC):
    """The fields of a subclass are its parameters, to be set in config.yaml.

    It counts whole epochs, so that in the same epoch all strategies have the same factor, however many steps theirs has.
    """

    noun: ClassVar[str] = "schedule"
    room: ClassVar[str] = "strongscale.schedules"
    usual: ClassVar[str | None] = "constant"

    @abstractmethod
    def at(self, epoch: int, max_epochs: int) -> float:
        """The factor of all steps of an epoch, counted from 0, of a run of at most so many epochs."""
