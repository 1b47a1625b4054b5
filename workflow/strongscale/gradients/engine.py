"""What steps are made of: one network, its samples, the sum of its gradients, an optimizer, a stopwatch."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from strongscale.gradients import cuda_graph
from strongscale.gradients.flat import FlatParameters
from strongscale.gradients.passes import Batch, rows_of
from strongscale.gradients.reduction import Reduction
from strongscale.gradients.shares import size_of
from strongscale.optimizers.base import Optimizer, State


class Laps(Protocol):
    """What takes the time of a step's parts."""

    def computing(self, samples: int) -> contextlib.AbstractContextManager[None]:
        """One worker's shard."""

    def communicating(self) -> contextlib.AbstractContextManager[None]:
        """What ranks say to one another."""

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """The optimizer's step."""


@dataclass
class Engine:
    """The tools of an update rule, on each rank for the workers that it carries."""

    training: Batch
    flat: FlatParameters
    """The network's weights and their gradient; what is put into the weights is what the next pass computes with."""
    reduction: Reduction
    optimizer: Optimizer
    laps: Laps
    _recordings: dict[int, tuple[cuda_graph.Work, dict[str, Tensor], State]] = field(default_factory=dict)

    @property
    def workers(self) -> range:
        """The workers of this rank."""
        return self.reduction.own_workers

    @property
    def num_workers(self) -> int:
        """The workers of all ranks."""
        return self.reduction.workers

    @property
    def gradient_bytes(self) -> int:
        """Of a gradient, or of the weights."""
        return self.flat.gradient.numel() * self.flat.gradient.element_size()

    def shards(self, num_samples: int) -> list[slice]:
        """Which samples of a minibatch are whose."""
        return self.reduction.shards(num_samples)

    def start_sum(self, num_samples: int) -> Tensor:
        """Begin the sum of a minibatch's gradients; a place for each sample's loss."""
        self.reduction.start(num_samples)
        return torch.zeros(num_samples, device=self.flat.gradient.device)

    def add_gradient(self, samples: Tensor, worker: int) -> Tensor:
        """Add the sum over one worker's samples, perhaps none, to it; the samples' losses."""
        if not len(samples):
            return torch.zeros(0, device=samples.device)
        with self.laps.computing(len(samples)):
            return self.reduction.add(rows_of(self.training, samples), worker)

    def finish_sum(self) -> None:
        """Make the flat gradient the sum over all samples of the minibatch, on every rank."""
        with self.laps.communicating():
            self.reduction.finish()

    def take_gradient(self, samples: Tensor) -> Tensor:
        """Make the flat gradient the sum over these samples alone, at the weights as they are; the samples' losses.

        The losses are good until the next call.
        """
        with self.laps.computing(len(samples)):
            losses, gradients = self.reduction.passes.gradients(rows_of(self.training, samples))
            self.flat.fill_gradient(gradients)
        return losses

    def add_up(self, own: Sequence[Tensor], each: int) -> Tensor:
        """The sum of flat tensors, `each` of every worker, on every rank; `own`: this rank's in order, which are used up."""
        with self.laps.communicating():
            return self.reduction.add_up(own, each)

    def apply(self, num_samples: int, rate: float, state: State) -> None:
        """weights <- optimizer(weights, gradient / num_samples), where the flat gradient is a sum over so many samples."""
        with self.laps.updating():
            if cuda_graph.is_wanted(self.flat.gradient.device):
                work, numbers, _ = self._recorded(state)
                numbers["num_samples"].fill_(num_samples)
                numbers["rate"].fill_(rate)
                work()
            else:
                self._apply(num_samples, rate, state)

    @torch.no_grad()
    def _apply(self, num_samples: int | Tensor, rate: float | Tensor, state: State) -> None:
        gradient = self.flat.gradient.div_(num_samples)
        self.optimizer.step(self.flat.values.data, gradient, state, rate, self.flat.layers)

    def _recorded(self, state: State) -> tuple[cuda_graph.Work, dict[str, Tensor], State]:
        """The step recorded for this very state, which it keeps alive, and the numbers that it reads where they lie."""
        if id(state) not in self._recordings:
            zero = torch.zeros((), device=self.flat.values.device)
            numbers = {"num_samples": zero + 1, "rate": zero.clone()}
            changes: Sequence[Tensor] = [self.flat.values.data, self.flat.gradient, *state.values()]
            work = cuda_graph.record(lambda: self._apply(numbers["num_samples"], numbers["rate"], state), changes)
            self._recordings[id(state)] = (work, numbers, state)
        return self._recordings[id(state)]

    def prepare(self, num_samples: int, *states: State) -> None:
        """Record on a GPU what a minibatch of so many samples takes."""
        shards = self.reduction.shards(num_samples)
        for size in {size_of(shards[worker]) for worker in self.workers} - {0}:
            self.reduction.prepare(tuple(tensor[:size] for tensor in self.training))
        self._prepare_steps(states)

    def prepare_alone(self, sizes: Iterable[int], *states: State) -> None:
        """Record on a GPU what `take_gradient` of so many samples takes."""
        for size in sizes:
            self.reduction.passes.prepare(rows_of(self.training, slice(0, size)), "gradients")
        self._prepare_steps(states)

    def _prepare_steps(self, states: Iterable[State]) -> None:
        if cuda_graph.is_wanted(self.flat.values.device):
            for state in states:
                self._recorded(state)
