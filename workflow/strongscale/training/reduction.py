"""How the workers' gradients become one sum: fast, or exact to the bit.

`fast` adds up as it goes, a whole shard at a time, and leaves the rest to one all-reduce: the sum's rounding depends on
who computed what. `exact` cuts the minibatch into micro-batches that don't depend on the number of workers, and adds
their gradients in one fixed binary tree, within a rank and between ranks: the same bits whoever computes what.

The tree: leaf i is micro-batch i; a node of level l covers 2^l leaves, aligned; a node without a right half is its left
half. Since a + b = b + a in floating point, only the shape of the tree decides the bits, not the order of the additions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from strongscale.distributed.world import World
from strongscale.training.flat import FlatParameters
from strongscale.training.passes import Passes
from strongscale.training.sampler import split


@dataclass
class FastReduction:
    """One backward pass a shard, one all-reduce a step."""

    flat: FlatParameters
    passes: Passes
    world: World
    _is_empty: bool = True

    def shards(self, num_samples: int, workers: int) -> list[slice]:
        """The samples of each worker."""
        return split(num_samples, workers)

    def prepare(self, samples: Tensor) -> None:
        """Get ready for one worker's share of so many samples."""
        self.passes.prepare(samples, "gradients")

    def connect(self) -> None:
        """Let the ranks meet once, as they will in every step: the first time takes longer."""
        self.world.sum(torch.zeros_like(self.flat.gradient))

    def start(self, num_samples: int) -> None:
        """Begin a minibatch."""
        self._is_empty = True

    def add(self, samples: Tensor, first: int) -> Tensor:
        """Take in the gradient of one worker's samples; their losses."""
        losses, gradients = self.passes.gradients(samples)
        if self._is_empty:
            self.flat.fill_gradient(gradients)
        else:
            self.flat.add_to_gradient(gradients)
        self._is_empty = False
        return losses

    def finish(self) -> None:
        """Make the flat gradient the sum over all samples of the minibatch, on every rank."""
        if self._is_empty:
            self.flat.gradient.zero_()
        self.world.sum(self.flat.gradient)


@dataclass
class ExactReduction:
    """A backward pass a micro-batch; gradients added in the fixed tree."""

    flat: FlatParameters
    passes: Passes
    world: World
    microbatch: int
    _num_leaves: int = 0
    _nodes: dict[tuple[int, int], Sequence[Tensor]] = field(default_factory=dict)

    def shards(self, num_samples: int, workers: int) -> list[slice]:
        """The samples of each worker: whole micro-batches."""
        leaves = split(self._count(num_samples), workers)
        size = self.microbatch
        return [slice(min(leaf.start * size, num_samples), min(leaf.stop * size, num_samples)) for leaf in leaves]

    def prepare(self, samples: Tensor) -> None:
        """Get ready for one worker's share of so many samples: whole micro-batches, and what is left."""
        for chunk in (samples[: self.microbatch], samples[: len(samples) % self.microbatch]):
            if len(chunk):
                self.passes.prepare(chunk, "gradients")

    def connect(self) -> None:
        """Let the ranks meet once, as they will in every step: the first time takes longer."""
        numbers = torch.zeros_like(self.flat.gradient)
        if _is_power_of_two(self.world.size):
            self.world.sum_in_tree(numbers)
        else:
            self.world.broadcast(numbers, 0)

    def start(self, num_samples: int) -> None:
        """Begin a minibatch."""
        self._num_leaves = self._count(num_samples)
        self._nodes.clear()

    def add(self, samples: Tensor, first: int) -> Tensor:
        """Take in the gradients of one worker's micro-batches, the first at sample `first` of the minibatch."""
        shares = torch.empty(len(samples), device=samples.device)
        for number, chunk in enumerate(samples.split(self.microbatch)):
            share, gradients = self.passes.gradients(chunk)
            shares[number * self.microbatch :][: len(chunk)] = share
            self._insert(0, first // self.microbatch + number, gradients)
        return shares

    def finish(self) -> None:
        """Add what the ranks hold: halving exchanges where each holds one node of the same level, else all to all."""
        keys = self.world.gather(sorted(self._nodes))
        level = next((key[0] for rank_keys in keys for key in rank_keys), 0)
        one_each = keys == [[(level, rank)] for rank in range(self.world.size)]
        aligned = one_each and _is_power_of_two(self.world.size)
        if not aligned:
            self._exchange_all(keys)
        (total,) = self._nodes.values()
        self.flat.fill_gradient(total)
        if aligned:
            self.world.sum_in_tree(self.flat.gradient)
        self._nodes.clear()

    def _exchange_all(self, keys: list[list[tuple[int, int]]]) -> None:
        """Give every rank the nodes of all ranks: each then adds the rest of the tree by itself."""
        own, self._nodes = self._nodes, {}
        for rank, rank_keys in enumerate(keys):
            for level, index in rank_keys:
                if rank == self.world.rank:
                    self.flat.fill_gradient(own[level, index])
                self.world.broadcast(self.flat.gradient, rank)
                self._insert(level, index, self.flat.split(self.flat.gradient.clone()))

    def _count(self, num_samples: int) -> int:
        return -(-num_samples // self.microbatch)

    def _insert(self, level: int, index: int, node: Sequence[Tensor]) -> None:
        """Put a node in its place; wherever both halves of a larger one are there, add them."""
        while 2**level < self._num_leaves:
            has_right_half = (index | 1) * 2**level < self._num_leaves
            if has_right_half or index % 2:
                sibling = self._nodes.pop((level, index ^ 1), None)
                if sibling is None:
                    break
                for left, right in zip(sibling, node, strict=True):
                    left.add_(right)
                node = sibling
            level, index = level + 1, index // 2
        self._nodes[level, index] = node


Reduction = FastReduction | ExactReduction


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
