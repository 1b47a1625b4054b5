"""From samples to their losses, and to the sum of their gradients: each time anew, or recorded and replayed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from strongscale.training import cuda_graph
from strongscale.training.flat import FlatParameters

LossOf = Callable[[Tensor], Tensor]
"""The losses of these samples, one each, with their graph: (B, ...) -> (B,)."""


@dataclass
class Passes:
    """Forward and backward through the model."""

    flat: FlatParameters
    loss_of: LossOf

    def prepare(self, samples: Tensor, name: str) -> None:
        """Get ready for `losses` or `gradients` of as many samples, which the clock shouldn't see."""

    @torch.no_grad()
    def losses(self, samples: Tensor) -> Tensor:
        """The loss of each sample: (B,)."""
        return self.loss_of(samples)

    def gradients(self, samples: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The loss of each sample, and the sum of their gradients, new tensors in the shapes of the parameters."""
        losses = self.loss_of(samples)
        gradients = torch.autograd.grad(losses.sum(), self.flat.parameters, materialize_grads=True)
        return losses.detach(), gradients


@dataclass
class RecordedPasses(Passes):
    """The same, recorded once for each number of samples; losses are good until the next call."""

    _recordings: dict[tuple[str, int], "_Recording"] = field(default_factory=dict)

    def prepare(self, samples: Tensor, name: str) -> None:
        """Record what isn't recorded yet."""
        key = (name, len(samples))
        if key not in self._recordings:
            work = {"losses": self._losses, "gradients": self._gradients}[name]
            self._recordings[key] = _Recording(work, samples)

    def losses(self, samples: Tensor) -> Tensor:
        """The loss of each sample: (B,)."""
        (losses,) = self._replay("losses", samples)
        return losses

    def gradients(self, samples: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The loss of each sample, and the sum of their gradients, new tensors in the shapes of the parameters."""
        losses, gradient = self._replay("gradients", samples)
        return losses, self.flat.split(gradient.clone())

    def _replay(self, name: str, samples: Tensor) -> tuple[Tensor, ...]:
        self.prepare(samples, name)
        return self._recordings[name, len(samples)](samples)

    def _losses(self, samples: Tensor) -> tuple[Tensor, ...]:
        return (super().losses(samples),)

    def _gradients(self, samples: Tensor) -> tuple[Tensor, ...]:
        losses, gradients = super().gradients(samples)
        return losses, self.flat.join(gradients)


class _Recording:
    """Work on a fixed number of samples: they are put where it looks for them, and its results lie where they always do."""

    def __init__(self, work: Callable[[Tensor], tuple[Tensor, ...]], samples: Tensor):
        self._work, self._samples = work, samples.clone()
        self._replay = cuda_graph.record(self._run)

    def _run(self) -> None:
        self._results = self._work(self._samples)

    def __call__(self, samples: Tensor) -> tuple[Tensor, ...]:
        self._samples.copy_(samples)
        self._replay()
        return self._results


def create(flat: FlatParameters, loss_of: LossOf) -> Passes:
    """The fastest passes for the device that the parameters lie on."""
    return (RecordedPasses if cuda_graph.is_wanted(flat.values.device) else Passes)(flat, loss_of)
