"""What a model's settings are to whoever trains it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from strongscale.common.parts import Part

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Model(Part, ABC):
    """The settings of a model for cubes of nodules, their slices or their lines."""

    noun: ClassVar[str] = "model"
    room: ClassVar[str] = "strongscale.models"
    usual: ClassVar[str | None] = "deepdensity"

    dimensions: Annotated[Literal[1, 2, 3], "3: cubes, 2: their central slices, 1: the central lines of those"] = 3
    start: Annotated[
        Literal["mean", "zero"],
        "where training starts; mean: the untrained output is as bright as the training samples are in the mean (a model "
        "without `begin_at` starts as it is drawn); zero: as it is drawn",
    ] = "mean"

    @abstractmethod
    def create(self, voxels: int) -> "nn.Module":
        """The network for samples of that many voxels a side: (B, voxels, ...) -> the same shape."""

    def check(self, voxels: int) -> None:
        """Refuse, with a `UserError`, what can't be done to samples of that many voxels a side."""
