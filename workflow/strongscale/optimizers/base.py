"""An optimizer: how a gradient changes weights. All weights are one flat tensor, and so are all gradients."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from strongscale.common.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]
"""What an optimizer remembers, by name: flat tensors as long as the weights, or single numbers."""


@dataclass(frozen=True)
class Optimizer(Part, ABC):
    """The fields of a subclass are its parameters; what changes from step to step is in its state, which others keep.

    torch.optim's classes import a compiler that nothing here uses, for as long as PyTorch itself takes, and go through
    parameters one by one; their functions do neither.
    """

    noun: ClassVar[str] = "optimizer"
    room: ClassVar[str] = "strongscale.optimizers"
    usual: ClassVar[str | None] = "adam"

    @abstractmethod
    def start(self, weights: "Tensor") -> State:
        """What it remembers before the first step."""

    @abstractmethod
    def step(
        self, weights: "Tensor", gradient: "Tensor", state: State, rate: "float | Tensor", layers: Sequence[slice]
    ) -> None:
        """Change weights and state in place by the mean gradient, which may be spoilt; `layers`: where each tensor lies.

        On a GPU this is recorded once and replayed: `rate` is a tensor there, and no value may be asked for.
        """
