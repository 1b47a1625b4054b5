"""One fixed binary tree of additions: the same bits whoever adds what.

Leaf i is micro-batch i; a node of level l covers 2^l leaves, aligned; a node without a right half is its left half. Since
a + b = b + a in floating point, only the shape of the tree decides the bits, not the order of the additions.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from strongscale.distributed.world import World
from strongscale.gradients.shares import size_of, split

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

    Each rank is given one segment of every node, adds that up in the tree, and hands the sum on: for one node a rank,
    2·(p-1)/p of the bytes, as in Rabenseifner's all-reduce. `total` may be the only one of `own`.
    """
    num_leaves = leaves[-1].stop
    keys = [keys_of(share, num_leaves) for share in leaves]
    segments = split(len(total), world.size)
    mine = size_of(segments[world.rank])
    sent = own[0] if len(own) == 1 else torch.cat([node[part] for part in segments for node in own] or [total[:0]])
    received = total.new_empty(mine * sum(map(len, keys)))
    world.all_to_all(
        sent, [size_of(part) * len(own) for part in segments], received, [mine * len(rank_keys) for rank_keys in keys]
    )
    tree: Tree[Tensor] = Tree(num_leaves, Tensor.add_)
    all_keys: Iterable[Key] = (key for rank_keys in keys for key in rank_keys)
    for key, segment in zip(
        all_keys, received.view(-1, mine) if mine else [received] * sum(map(len, keys)), strict=True
    ):
        tree.insert(key, segment)
    (root,) = tree.nodes.values()
    world.all_gather_into(root, total, [size_of(part) for part in segments])
