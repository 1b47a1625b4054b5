"""The models: one file each, with a function `create(settings, cube_voxels)`. To add one, add a file."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from strongscale.config import Model
from strongscale.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn


@runtime_checkable
class WithLosses(Protocol):
    """A model that knows a shorter way to its losses than its reconstruction."""

    def losses(self, cubes: "Tensor") -> "Tensor":
        """What `loss.msle` says of the model's reconstruction: (B, ...) -> (B,)."""


def create(settings: Model, cube_voxels: int) -> "nn.Module":
    """The model that the settings name, for cubes of that many voxels a side: (B, voxels, ...) -> the same shape."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    if settings.kind not in names:
        raise UserError(f"model.kind: no file {settings.kind}.py in {__path__[0]}; there are: {', '.join(names)}")
    model: nn.Module = importlib.import_module(f"{__name__}.{settings.kind}").create(settings, cube_voxels)
    return model
