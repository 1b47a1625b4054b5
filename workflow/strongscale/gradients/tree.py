"""One fixed binary tree of additions: the same bits whoever adds what.

Leaf i is micro-batch i; a node of level l covers 2^l leaves, aligned; a node without a right half is its left half. Since
a + b = b + a in floating point, only the shape of the tree decides the bits, not the order of the additions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from strongscale.distributed.world import World
from strongscale.gradients.shares import split

Node = TypeVar("Node")
Key = tuple[int, int]
"""Level and index."""


@dataclass
class Tree(Generic[Node]):
    """The nodes that are known so far; two halves of a larger one become that one by `add`, which may change the left."""

    num_leaves: int
    add: Callable[[Node, Node], Node]
    nodes: dict[Key, Node] = field(default_factory=dict)

    def insert(self, key: Key, node: Node) -> None:
        """Put a node in its place; wherever both halves of a larger one are there, add them."""
        level, index = key
        while 2**level < self.num_leaves:
            has_right_half = (index | 1) * 2**level < self.num_leaves
            if has_right_half or index % 2:
                sibling = self.nodes.pop((level, index ^ 1), None)
                if sibling is None:
                    break
                node = self.add(sibling, node)
            level, index = level + 1, index // 2
        self.nodes[level, index] = node


def keys_of(leaves: slice, num_leaves: int) -> list[Key]:
    """The nodes that a rank with these leaves ends up with, in order: at most two a level."""
    tree: Tree[str] = Tree(num_leaves, lambda left, right: left + right)
    for leaf in range(leaves.start, leaves.stop):
        tree.insert((0, leaf), "node")
    return sorted(tree.nodes, key=lambda key: key[1] << key[0])


def add_up(world: World, leaves: Sequence[slice], own: Sequence[Tensor], total: Tensor) -> None:
    """Make `total` the sum of all ranks' nodes, on every rank; `leaves`: of each rank, `own`: this one's nodes, flat.

    Each rank is given its segment of every other's nodes, adds up in the tree, and hands the sum on: for one node a rank,
    2·(p-1)/p of the bytes, as in Rabenseifner's all-reduce. `total` may be the only one of `own`, and `own` is used up.
    """
    num_leaves = leaves[-1].stop
    keys = [keys_of(share, num_leaves) for share in leaves]
    segments = split(len(total), world.size)
    here = total[segments[world.rank]]
    received = [total.new_empty(len(rank_keys) * len(here)) for rank_keys in keys]
    world.swap([_joined([node[segment] for node in own], total) for segment in segments], received)

    def add(left: Tensor, right: Tensor) -> Tensor:
        return right.add_(left) if right.data_ptr() == here.data_ptr() else left.add_(right)  # where the sum belongs

    tree: Tree[Tensor] = Tree(num_leaves, add)
    for rank, rank_keys in enumerate(keys):
        theirs = [node[segments[rank]] for node in own] if rank == world.rank else received[rank].split(len(here) or 1)
        for number, key in enumerate(rank_keys):
            tree.insert(key, theirs[number] if len(here) else here)
    (root,) = tree.nodes.values()
    if root.data_ptr() != here.data_ptr():
        here.copy_(root)
    world.swap([here] * world.size, [total[segment] for segment in segments])


def _joined(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """The parts one after another; a single one as it is."""
    return parts[0] if len(parts) == 1 else torch.cat([*parts, like[:0]])
