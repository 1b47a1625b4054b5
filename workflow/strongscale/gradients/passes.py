"""From samples to their losses, and to the sum of their gradients: each time anew, or recorded and replayed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from strongscale.gradients import cuda_graph
from strongscale.gradients.flat import FlatParameters

Batch = tuple[Tensor, ...]
"""Samples: as many tensors as a task needs (inputs, targets, ...), in each a row a sample."""

LossesOf = Callable[[Batch], Tensor]
"""The losses of these samples, one each, with their graph: (B,)."""


def rows_of(samples: Batch, rows: Tensor | slice) -> Batch:
    """Some of the samples."""
    return tuple(tensor[rows] for tensor in samples)


def chunks_of(samples: Batch, size: int) -> list[Batch]:
    """The samples, so many at a time."""
    return list(zip(*(tensor.split(size) for tensor in samples), strict=True))


@dataclass
class Passes:
    """Forward and backward through the model."""

    flat: FlatParameters
    losses_of: LossesOf

    def prepare(self, samples: Batch, name: str) -> None:
        """Get ready for `losses` or `gradients` of as many samples, which the clock shouldn't see."""

    @torch.no_grad()
    def losses(self, samples: Batch) -> Tensor:
        """The loss of each sample: (B,)."""
        return self.losses_of(samples)

    def gradients(self, samples: Batch) -> tuple[Tensor, Sequence[Tensor]]:
        """The loss of each sample, and the sum of their gradients, new tensors in the shapes of the parameters."""
        losses = self.losses_of(samples)
        gradients = torch.autograd.grad(losses.sum(), self.flat.parameters, materialize_grads=True)
        return losses.detach(), gradients


@dataclass
class RecordedPasses(Passes):
    """The same, recorded once for each number of samples; losses are good until the next call."""

    _recordings: dict[tuple[str, int], "_Recording"] = field(default_factory=dict)

    def prepare(self, samples: Batch, name: str) -> None:
        """Record what isn't recorded yet."""
        key = (name, len(samples[0]))
        if key not in self._recordings:
            work = {"losses": self._losses, "gradients": self._gradients}[name]
            self._recordings[key] = _Recording(work, samples)

    def losses(self, samples: Batch) -> Tensor:
        """The loss of each sample: (B,)."""
        (losses,) = self._replay("losses", samples)
        return losses

    def gradients(self, samples: Batch) -> tuple[Tensor, Sequence[Tensor]]:
        """The loss of each sample, and the sum of their gradients, new tensors in the shapes of the parameters."""
        losses, gradient = self._replay("gradients", samples)
        return losses, self.flat.split(gradient.clone())

    def _replay(self, name: str, samples: Batch) -> tuple[Tensor, ...]:
        self.prepare(samples, name)
        return self._recordings[name, len(samples[0])](samples)

    def _losses(self, samples: Batch) -> tuple[Tensor, ...]:
        return (super().losses(samples),)

    def _gradients(self, samples: Batch) -> tuple[Tensor, ...]:
        losses, gradients = super().gradients(samples)
        return losses, self.flat.join(gradients)


class _Recording:
    """Work on a fixed number of samples: they are put where it looks for them, and its results lie where they always do."""

    def __init__(self, work: Callable[[Batch], tuple[Tensor, ...]], samples: Batch):
        self._work, self._samples = work, tuple(tensor.clone() for tensor in samples)
        self._replay = cuda_graph.record(self._run)

    def _run(self) -> None:
        self._results = self._work(self._samples)

    def __call__(self, samples: Batch) -> tuple[Tensor, ...]:
        for place, tensor in zip(self._samples, samples, strict=True):
            place.copy_(tensor)
        self._replay()
        return self._results


def create(flat: FlatParameters, losses_of: LossesOf) -> Passes:
    """The fastest passes for the device that the parameters lie on."""
    return (RecordedPasses if cuda_graph.is_wanted(flat.values.device) else Passes)(flat, losses_of)
