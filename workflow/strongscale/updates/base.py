"""An update rule: who holds which weights, how the workers' work becomes one change, and which messages that takes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from strongscale.common.errors import UserError
from strongscale.common.parts import Part
from strongscale.strategies.base import Plan, Statistics

if TYPE_CHECKING:
    from torch import Tensor

    from strongscale.gradients.engine import Engine


@dataclass(frozen=True)
class Message:
    """What one step makes workers say to one another: an all-reduce, whose price the network knows."""

    num_bytes: int
    workers: int
    """That take part in it."""
    is_overlapped: bool = False
    """Whether it travels while workers compute."""


@dataclass(frozen=True)
class Work:
    """What a step asks of the hardware: all that the clock must know of it."""

    passes: tuple[tuple[int, ...], ...]
    """Of each worker, the samples of each of its passes, one after another."""
    messages: tuple[Message, ...]
    num_updates: int = 1
    """How often each worker applies the optimizer, one after another."""


@dataclass(frozen=True, eq=False)
class Step:
    """What a step of all workers was: the record of the trajectory and the strategy are told."""

    losses: "Tensor"
    """One place a sample of the minibatch, those of other ranks' samples 0: (B,)."""
    passes: tuple[tuple[int, ...], ...]
    """Of each worker, the samples of each of its passes, one after another."""
    messages: tuple[Message, ...]
    num_updates: int = 1
    """How often each worker applied the optimizer, one after another."""
    statistics: Statistics | None = None

    @property
    def work(self) -> Work:
        """What it asked of the hardware."""
        return Work(self.passes, self.messages, self.num_updates)


@dataclass
class Update(Part, ABC):
    """The base of every update rule. The fields of a subclass are its parameters; `begin` is called before anything else.

    After each step the network's own weights, `engine.flat.values`, are those that count: they are the same on all ranks,
    and are evaluated and kept.
    """

    noun: ClassVar[str] = "update rule"
    room: ClassVar[str] = "strongscale.updates"
    usual: ClassVar[str | None] = "synchronous"

    @property
    def learners_each(self) -> int:
        """Into how many passes, one after another, a worker's samples are dealt."""
        return 1

    def of_learners(self, number: int | Literal["auto"]) -> Self:
        """The same rule with so many learners a worker, where a strategy says how many."""
        raise UserError(
            f"update: {self.kind!r} is not allowed with a strategy's learners: {number}, for it knows none; allowed: sma"
        )

    def begin(self, engine: "Engine") -> None:
        """Take over what steps are made of, with the initial weights in it."""
        self.engine = engine

    def prepare(self, num_samples: int) -> None:
        """Get ready for a minibatch of so many samples, before the clock starts."""
        self.engine.prepare(num_samples)

    def connect(self) -> None:
        """Let the ranks meet once, as they will in every step."""
        self.engine.reduction.connect()

    def work(self, num_samples: int, workers: int, num_bytes: int) -> Work | None:
        """A step of so many samples on any number of workers, with a gradient of so many bytes.

        None where the path that weights take depends on the number of workers, so that no other number can stand for it.
        """
        return None

    @abstractmethod
    def step(self, minibatch: "Tensor", plan: Plan) -> Step:
        """Change the weights by these samples, given by their numbers in the training set."""

    def shared(self) -> dict[str, "Tensor"]:
        """What all ranks hold alike besides the weights, by name, for checkpoints: flat tensors, or single numbers."""
        return {}

    def own(self) -> dict[int, dict[str, "Tensor"]]:
        """What each worker of this rank holds by itself, by the worker's number and by name: every worker the same names."""
        return {}
