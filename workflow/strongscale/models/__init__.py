"""The autoencoders that can be trained: one file each, with one subclass of `Model`. To add one, add a file.

Beside them, as packages, are the networks: density, and unet, which the task `segmentation` trains.

To be used: base.Model (what every model's settings are), and below how a network is made ready for training.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn


@runtime_checkable
class WithLosses(Protocol):
    """A model that knows a shorter way to its losses than its reconstruction."""

    def losses(self, cubes: "Tensor") -> "Tensor":
        """What `autoencoding.msle` says of the model's reconstruction: (B, ...) -> (B,)."""


@runtime_checkable
class WithStart(Protocol):
    """A model that can begin where its output is as bright as its samples are in the mean."""

    def begin_at(self, brightness: float) -> None:
        """Set what the untrained model's output is."""


def initialise(network: "nn.Module", seed: int, brightness: float | None) -> None:
    """Draw initial weights; where a brightness is given, and the network knows how, its output begins there.

    A network without `initialise(generator)` keeps the weights that it was created with.
    """
    from torch import Generator

    if callable(getattr(network, "initialise", None)):
        network.initialise(Generator().manual_seed(seed))  # type: ignore[operator]
    if brightness is not None and isinstance(network, WithStart):
        network.begin_at(brightness)


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
