"""The models: one file each, with a function `create(settings, cube_voxels)`. To add one, add a file."""

import ast
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from strongscale.common.errors import UserError
from strongscale.settings.config import Model

if TYPE_CHECKING:
    from torch import Tensor, nn


@runtime_checkable
class WithLosses(Protocol):
    """A model that knows a shorter way to its losses than its reconstruction."""

    def losses(self, cubes: "Tensor") -> "Tensor":
        """What `loss.msle` says of the model's reconstruction: (B, ...) -> (B,)."""


@runtime_checkable
class WithStart(Protocol):
    """A model that can begin where its output is as bright as its samples are in the mean."""

    def begin_at(self, brightness: float) -> None:
        """Set what the untrained model's output is."""


def kinds() -> list[str]:
    """The files here that define `create`. They are looked into, not imported: a login node may lack PyTorch."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return [name for name in names if _defines_create(Path(__path__[0], f"{name}.py"))]


def _defines_create(path: Path) -> bool:
    if not path.exists():  # a folder: part of a model
        return False
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (SyntaxError, ValueError):  # the matter of those who name it
        return True
    return any(isinstance(node, ast.FunctionDef) and node.name == "create" for node in tree.body)


def create(settings: Model, cube_voxels: int) -> "nn.Module":
    """The model that the settings name, for cubes of that many voxels a side: (B, voxels, ...) -> the same shape.

    Its `initialise(generator)` draws its initial weights.
    """
    if settings.kind not in kinds():
        raise UserError(f"model.kind: no model {settings.kind!r} in {__path__[0]}; allowed: {', '.join(kinds())}")
    model: nn.Module = importlib.import_module(f"{__name__}.{settings.kind}").create(settings, cube_voxels)
    if not callable(getattr(model, "initialise", None)):
        raise UserError(
            f"model.kind: {settings.kind}.py makes a {type(model).__name__} without `initialise(generator)`, which draws "
            "its initial weights from that torch.Generator: give it one"
        )
    return model


def initialise(model: "nn.Module", seed: int, brightness: float | None) -> None:
    """Draw a model's initial weights; where a brightness is given, and it knows how, its output begins there."""
    from torch import Generator

    model.initialise(Generator().manual_seed(seed))  # type: ignore[operator]
    if brightness is not None and isinstance(model, WithStart):
        model.begin_at(brightness)


def lay_out(model: "nn.Module") -> None:
    """Put weights into the order in memory that CPUs compute fast in, whatever their shapes say.

    3-D convolutions: channels next to one another, a single one too, or each layer reorders all that it is given. Dense
    layers: outputs next to one another, or the gradient of a handful of samples takes several times as long.
    """
    from torch import contiguous_format, nn

    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            channels_last = module.weight.data.permute(0, 2, 3, 4, 1).clone(memory_format=contiguous_format)
            module.weight.data = channels_last.permute(0, 4, 1, 2, 3)
        elif isinstance(module, nn.Linear):
            module.weight.data = module.weight.data.T.contiguous().T
