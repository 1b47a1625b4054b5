"""All ranks hold the same weights: compared, because a sum over ranks hides the one that went astray."""

import hashlib
import platform
from collections import Counter
from collections.abc import Iterable

from torch import Tensor

from strongscale.common.errors import RunError
from strongscale.distributed.world import World, name_ranks


def digest(tensors: Iterable[Tensor]) -> str:
    """A short digest: equal only if every bit is."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def compare(world: World, found: str, what: str) -> None:
    """Stop on all ranks, unless they all have the same digest; the fewer are named, and of two the one that isn't rank 0"""
    told = world.all_gather((found, platform.node()))
    usual, _ = Counter(theirs for theirs, _ in told).most_common(1)[0]
    astray = [rank for rank, (theirs, _) in enumerate(told) if theirs != usual]
    if astray:
        hosts = ", ".join(sorted({told[rank][1] for rank in astray}))
        others = [rank for rank in range(world.size) if rank not in astray]
        raise RunError(
            f"{what}: {name_ranks(astray)} (host {hosts}) differ from {name_ranks(others)}, so nothing of this is kept; "
            "a memory or a network that errs, or hosts with other versions, processors or GPUs"
        )
