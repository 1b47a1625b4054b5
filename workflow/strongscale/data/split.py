"""Split samples by patient or scan, with an exact number of validation samples."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from strongscale.common.errors import UserError

Name = TypeVar("Name", str, tuple[str, str])


def validation_groups(counts: Mapping[Name, int], num_validation: int, seed: int, kind: str = "scans") -> set[Name]:
    """The groups (patients, or scans) that hold exactly `num_validation` of the samples; the others are for training.

    `counts` is the number of samples of each group. Groups are shuffled by `seed`, and each in turn is taken if the
    number can still be reached with those after it.
    """
    total = sum(counts.values())
    names = sorted(counts)
    shuffled = [names[position] for position in np.random.default_rng(seed).permutation(len(names))]
    reachable = [1]  # bit s of the i-th number: the last i groups can hold s samples together
    for name in reversed(shuffled):
        reachable.append(reachable[-1] | reachable[-1] << counts[name])
    if num_validation >= total or not reachable[-1] >> num_validation & 1:
        raise UserError(_refusal(num_validation, total, f"{kind} ({len(names)} of them)", reachable[-1]))
    chosen = set()
    left = num_validation
    for position, name in enumerate(shuffled):
        others = reachable[len(names) - position - 1]
        if counts[name] <= left and others >> (left - counts[name]) & 1:
            chosen.add(name)
            left -= counts[name]
    return chosen


def _refusal(num_validation: int, total: int, groups: str, reachable: int) -> str:
    """Why the split can't be made, and which numbers nearby are possible."""
    possible = [number for number in range(1, total) if reachable >> number & 1]
    below = max((number for number in possible if number < num_validation), default=None)
    above = min((number for number in possible if number > num_validation), default=None)
    nearby = " or ".join(str(number) for number in (below, above) if number is not None)
    return (
        f"num_validation: {num_validation} of {total} samples can't be split off by whole {groups} "
        f"with some left for training; nearby: {nearby or 'nothing, more are needed'}"
    )
