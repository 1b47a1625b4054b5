"""A CUDA graph without a GPU: records the operations on tensors, and does them again without any Python of the work.

As in a real one, the operations meet the same places in memory each time, numbers that aren't in tensors stay what they
were, and asking for a tensor's value is an error.
"""

import contextlib
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
        self.has_failed = False
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in ASKS_FOR_A_VALUE:
            self.has_failed = True
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


class FakeGpu:
    """As much of torch.cuda as recording needs. As there, memory isn't freed any more once a recording has failed."""

    def __init__(self) -> None:
        self.is_spoilt = False

    def install(self, monkeypatch: Any) -> None:
        """Take the place of torch.cuda's own functions."""
        gpu = self

        class Stream:
            def __init__(self, device: int = 0) -> None:
                pass

            def wait_stream(self, other: Any) -> None:
                pass

        class Graph:
            def __init__(self) -> None:
                self._double = GraphDouble()
                self.replay = self._double.replay

            def capture_begin(self, capture_error_mode: str) -> None:
                self._double.__enter__()

            def capture_end(self) -> None:
                self._double.__exit__(None, None, None)
                if self._double.has_failed:
                    gpu.is_spoilt = True
                    raise RuntimeError("operation failed due to a previous error during capture")

        def empty_cache() -> None:
            if gpu.is_spoilt:
                raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

        places = {
            "Stream": Stream,
            "CUDAGraph": Graph,
            "current_stream": Stream,
            "current_device": lambda: 0,
            "stream": contextlib.nullcontext,
            "set_stream": lambda stream: None,
            "synchronize": lambda: None,
            "empty_cache": empty_cache,
        }
        for name, place in places.items():
            monkeypatch.setattr(torch.cuda, name, place)
