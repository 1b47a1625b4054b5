"""The validation loss: every validation sample exactly once, in fixed chunks that are shared out over the ranks."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from strongscale.distributed.world import World
from strongscale.gradients.passes import Batch, Passes, rows_of
from strongscale.tasks.base import Task
from strongscale.timing.clock import Clock


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What else a task tells of the trained network: by name, all values of which the mean is reported."""

    values: dict[str, NDArray[np.float64]]
    is_of_groups: bool
    """Whether a value is one of a group of samples, and not of one sample."""


@dataclass(kw_only=True)
class Evaluation:
    """What is needed to evaluate a network; chunks don't depend on ranks, so that losses don't either."""

    task: Task
    model: nn.Module
    passes: Passes
    validation: Batch
    chunk: int
    world: World
    clock: Clock

    @property
    def num_samples(self) -> int:
        """Validation samples."""
        return len(self.validation[0])

    @property
    def chunks(self) -> list[slice]:
        """Of all ranks."""
        starts = range(0, self.num_samples, self.chunk)
        return [slice(start, min(start + self.chunk, self.num_samples)) for start in starts]

    @property
    def own_chunks(self) -> list[slice]:
        """Of this rank."""
        return self.chunks[self.world.rank :: self.world.size]

    def prepare(self) -> None:
        """Record on a GPU what an evaluation takes."""
        with self._evaluating():
            for chunk in self.own_chunks:
                self.passes.prepare(rows_of(self.validation, chunk), "losses")

    def loss(self) -> float:
        """The mean validation loss."""
        losses = torch.zeros(self.num_samples, device=self.validation[0].device)
        with self._evaluating():
            for chunk in self.own_chunks:
                with self.clock.evaluating():
                    losses[chunk] = self.passes.losses(rows_of(self.validation, chunk))
        return self.mean(losses)

    @torch.no_grad()
    def measures(self) -> Measured:
        """What else the task tells of the network, after training, of all validation samples; a collective call."""
        found: dict[str, Tensor] = {}
        with self._evaluating():
            for name in self.task.measures(self.model, rows_of(self.validation, slice(0, 1))):
                found[name] = torch.zeros(self.num_samples, device=self.validation[0].device)
            for chunk in self.own_chunks if found else []:
                for name, values in self.task.measures(self.model, rows_of(self.validation, chunk)).items():
                    found[name][chunk] = values
        for values in found.values():
            self.world.all_reduce(values)
        found = {name: values.cpu() for name, values in found.items()}
        groups = self.task.of_groups(found, tuple(tensor.cpu() for tensor in self.validation)) if found else None
        told = {name: values.numpy().astype(np.float64) for name, values in (groups or found).items()}
        return Measured(values=told, is_of_groups=groups is not None)

    def mean(self, values: Tensor) -> float:
        """The mean of all samples' values, in float64 and in the order of their places; a collective call."""
        with self.clock.communicating():
            self.world.all_reduce(values)
        return float(np.mean(values.cpu().numpy(), dtype=np.float64))

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Eval mode, though a model that computes otherwise in it is refused (suitability)."""
        self.model.eval()
        yield
        self.model.train()
