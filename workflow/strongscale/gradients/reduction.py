"""How the workers' gradients become one sum: fast, or exact to the bit.

`fast` adds up as it goes, a whole shard at a time, and leaves the rest to one all-reduce: the sum's rounding depends on
who computed what. `exact` cuts the minibatch into micro-batches that don't depend on the number of workers, and adds
their gradients in one fixed tree, within a rank and between ranks: the same bits whoever computes what.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from strongscale.distributed.world import World
from strongscale.gradients import tree
from strongscale.gradients.flat import FlatParameters
from strongscale.gradients.passes import Batch, Passes, chunks_of
from strongscale.gradients.shares import size_of, split
from strongscale.strategies.base import Statistics


@dataclass
class Reduction(ABC):
    """The sum over all samples of a minibatch, of which each rank computes some workers' shares."""

    flat: FlatParameters
    passes: Passes
    world: World
    workers: int
    """Of all ranks together."""
    measures: bool = False
    """Whether each part's squared norm is taken down, for `statistics`."""
    _num_samples: int = 0
    _squares: Tensor = field(init=False)

    @property
    def own_workers(self) -> range:
        """The workers that this rank carries, one after another."""
        return range(self.workers)[split(self.workers, self.world.size)[self.world.rank]]

    @abstractmethod
    def shards(self, num_samples: int) -> list[slice]:
        """The samples of each worker."""

    @abstractmethod
    def parts(self, num_samples: int) -> list[slice]:
        """The samples whose gradients are computed by themselves."""

    @abstractmethod
    def prepare(self, samples: Batch) -> None:
        """Get ready for one worker's shard of so many samples."""

    def connect(self) -> None:
        """Let the ranks meet once, as they will in every step: the first time takes longer."""
        self.world.all_reduce(torch.zeros_like(self.flat.gradient))

    def start(self, num_samples: int) -> None:
        """Begin a minibatch."""
        self._num_samples = num_samples
        if self.measures:
            self._squares = self.flat.gradient.new_zeros(len(self.parts(num_samples)), dtype=torch.float64)

    @abstractmethod
    def add(self, samples: Batch, worker: int) -> Tensor:
        """Take in the gradient of one worker's shard; its samples' losses."""

    @abstractmethod
    def finish(self) -> Tensor:
        """The sum over all samples of the minibatch, on every rank: the flat gradient."""

    @abstractmethod
    def add_up(self, own: Sequence[Tensor], each: int) -> Tensor:
        """The sum of flat tensors, `each` of every worker, on every rank; `own`: this rank's in order, which are used up."""

    def statistics(self) -> Statistics | None:
        """Of the minibatch just finished, if they were asked for; a collective call."""
        if not self.measures:
            return None
        self.world.all_reduce(self._squares)
        sizes = [size_of(part) for part in self.parts(self._num_samples)]
        found = [(size, square / size**2) for size, square in zip(sizes, self._squares.tolist(), strict=True) if size]
        whole = float(self.flat.gradient.double().square().sum()) / self._num_samples**2
        return Statistics(tuple(size for size, _ in found), tuple(square for _, square in found), whole)

    def _measure(self, part: int, gradients: Sequence[Tensor]) -> None:
        if self.measures:
            self._squares[part] = sum(gradient.double().square().sum() for gradient in gradients)


@dataclass
class FastReduction(Reduction):
    """One backward pass a shard, one all-reduce a step."""

    _is_empty: bool = True

    def shards(self, num_samples: int) -> list[slice]:
        """The samples of each worker."""
        return split(num_samples, self.workers)

    def parts(self, num_samples: int) -> list[slice]:
        """The samples whose gradients are computed by themselves: the shards."""
        return self.shards(num_samples)

    def prepare(self, samples: Batch) -> None:
        """Get ready for one worker's shard of so many samples."""
        self.passes.prepare(samples, "gradients")

    def start(self, num_samples: int) -> None:
        """Begin a minibatch."""
        super().start(num_samples)
        self._is_empty = True

    def add(self, samples: Batch, worker: int) -> Tensor:
        """Take in the gradient of one worker's shard; its samples' losses."""
        losses, gradients = self.passes.gradients(samples)
        self._measure(worker, gradients)
        if self._is_empty:
            self.flat.fill_gradient(gradients)
        else:
            self.flat.add_to_gradient(gradients)
        self._is_empty = False
        return losses

    def finish(self) -> Tensor:
        """The sum over all samples of the minibatch, on every rank: the flat gradient."""
        if self._is_empty:
            self.flat.gradient.zero_()
        self.world.all_reduce(self.flat.gradient)
        return self.flat.gradient

    def add_up(self, own: Sequence[Tensor], each: int) -> Tensor:
        """The sum of flat tensors, one all-reduce of the ranks' sums."""
        total, *others = own
        for tensor in others:
            total.add_(tensor)
        self.world.all_reduce(total)
        return total


@dataclass(kw_only=True)
class ExactReduction(Reduction):
    """A backward pass a micro-batch; gradients added in the fixed tree."""

    microbatch: int
    _tree: tree.Tree[Sequence[Tensor]] = field(init=False)

    def shards(self, num_samples: int) -> list[slice]:
        """The samples of each worker: whole micro-batches."""
        size = self.microbatch
        return [
            slice(min(leaves.start * size, num_samples), min(leaves.stop * size, num_samples))
            for leaves in self._leaves(num_samples)
        ]

    def parts(self, num_samples: int) -> list[slice]:
        """The samples whose gradients are computed by themselves: the micro-batches."""
        starts = range(0, num_samples, self.microbatch)
        return [slice(start, min(start + self.microbatch, num_samples)) for start in starts]

    def prepare(self, samples: Batch) -> None:
        """Get ready for one worker's shard of so many samples: whole micro-batches, and what is left."""
        num_samples = len(samples[0])
        for size in {min(self.microbatch, num_samples), num_samples % self.microbatch} - {0}:
            self.passes.prepare(tuple(tensor[:size] for tensor in samples), "gradients")

    def connect(self) -> None:
        """Let the ranks meet once, as they will in every step: the first time takes longer."""
        zeros = torch.zeros_like(self.flat.gradient)
        if self.world.size > 1:
            tree.add_up(self.world, [slice(rank, rank + 1) for rank in range(self.world.size)], [zeros], zeros)

    def start(self, num_samples: int) -> None:
        """Begin a minibatch."""
        super().start(num_samples)
        self._tree = tree.Tree(self._count(num_samples), _add)

    def add(self, samples: Batch, worker: int) -> Tensor:
        """Take in the gradient of one worker's shard; its samples' losses."""
        losses = torch.empty(len(samples[0]), device=samples[0].device)
        first = self._leaves(self._num_samples)[worker].start
        for number, chunk in enumerate(chunks_of(samples, self.microbatch)):
            losses_of_chunk, gradients = self.passes.gradients(chunk)
            self._measure(first + number, gradients)
            losses[number * self.microbatch :][: len(chunk[0])] = losses_of_chunk
            self._tree.insert((0, first + number), gradients)
        return losses

    def finish(self) -> Tensor:
        """The sum over all samples of the minibatch, on every rank: the flat gradient."""
        nodes, total = self._tree.nodes, self.flat.gradient
        if self.world.size == 1 or len(nodes) == 1:
            self.flat.fill_gradient(*nodes.values())
        if self.world.size > 1:
            flat_nodes = [total] if len(nodes) == 1 else [self.flat.join(nodes[key]) for key in _in_order(nodes)]
            tree.add_up(self.world, self._leaves_of_ranks(), flat_nodes, total)
        nodes.clear()
        return total

    def add_up(self, own: Sequence[Tensor], each: int) -> Tensor:
        """The sum of flat tensors in a fixed tree of their own, in which each is a leaf."""
        shares = [slice(each * workers.start, each * workers.stop) for workers in split(self.workers, self.world.size)]
        leaves: tree.Tree[Tensor] = tree.Tree(each * self.workers, Tensor.add_)
        for leaf, tensor in enumerate(own, start=shares[self.world.rank].start):
            leaves.insert((0, leaf), tensor)
        nodes = [leaves.nodes[key] for key in _in_order(leaves.nodes)]
        total = nodes[0] if len(nodes) == 1 else torch.empty_like(nodes[0])
        if self.world.size > 1:
            tree.add_up(self.world, shares, nodes, total)
        return total

    def _leaves(self, num_samples: int) -> list[slice]:
        """The micro-batches of each worker."""
        return split(self._count(num_samples), self.workers)

    def _leaves_of_ranks(self) -> list[slice]:
        """The micro-batches of each rank."""
        leaves = self._leaves(self._num_samples)
        return [
            slice(leaves[workers.start].start, leaves[workers.stop - 1].stop)
            for workers in split(self.workers, self.world.size)
        ]

    def _count(self, num_samples: int) -> int:
        return -(-num_samples // self.microbatch)


def _in_order(nodes: Iterable[tree.Key]) -> list[tree.Key]:
    return sorted(nodes, key=lambda key: key[1] << key[0])


def _add(left: Sequence[Tensor], right: Sequence[Tensor]) -> Sequence[Tensor]:
    torch._foreach_add_(list(left), list(right))
    return left
