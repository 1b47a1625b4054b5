"""A CUDA graph without a GPU: records the operations on tensors, and does them again without any Python of the work.

As in a real one, the operations meet the same places in memory each time, numbers that aren't in tensors stay what they
were, and asking for a tensor's value is an error.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

ASKS_FOR_A_VALUE = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)


class GraphDouble(TorchDispatchMode):
    """Records what is done inside; `replay` does it again."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in ASKS_FOR_A_VALUE:
            raise RuntimeError("operation not permitted when stream is capturing")
        result = function(*args, **(kwargs or {}))
        self._calls.append(tree_map_only(torch.Tensor, torch.Tensor.detach, (function, args, kwargs or {}, result)))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """The same operations on the same places, whatever lies there now."""
        for function, args, kwargs, recorded in self._calls:
            for old, new in zip(_tensors(recorded), _tensors(function(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def _tensors(result: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def capture(work: Callable[[], None]) -> Callable[[], None]:
    """In place of `capture._capture`: warm up, then record (which doesn't do the work, in a real one)."""
    work()
    graph = GraphDouble()
    with graph:
        work()
    return graph.replay
