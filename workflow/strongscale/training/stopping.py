"""When a run ends, and what its end is called: from the losses so far, and from whether it still uses its input."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from strongscale.settings.config import Collapse

Status = Literal["converged", "exhausted", "diverged"]

NEW_BEST = 0.99  # a loss counts as a new best when it is at least one per cent better: noise on a plateau is not


@dataclass(frozen=True)
class Verdict:
    """The end of a run: its status, and for a diverged one why."""

    status: Status
    because: Literal["not finite", "collapsed"] | None = None


def judge(
    training: Sequence[float],
    validation: Sequence[float],
    *,
    target: float | None,
    stop_at_target: bool = True,
    max_epochs: int,
    constant_loss: float,
    settled: int,
    collapse: Collapse,
    ignores_input: Callable[[], bool],
) -> Verdict | None:
    """The verdict after the last epoch of these losses, `settled` steps after the rate last rose, or None: go on.

    Whether the output ignores its input is asked only where the answer decides. With a small validation set a constant
    output may by luck lie below `constant_loss`, so that a run has not converged on its loss alone. A run that goes on
    beyond its target has converged if it ever was there, and still uses its input at its end.
    """
    if not (math.isfinite(training[-1]) and math.isfinite(validation[-1])):
        return Verdict("diverged", "not finite")
    is_last = len(validation) == max_epochs
    lately = validation[-1:] if stop_at_target else validation
    arrived = target is not None and min(lately) <= target and min(lately) < constant_loss
    reached = arrived and (stop_at_target or is_last)
    may_collapse = settled >= collapse.min_steps
    stopped = collapse.stop and may_collapse and has_stopped_improving(validation, collapse.patience)
    ignores = (reached or stopped or is_last) and ignores_input()
    if reached and not ignores:
        return Verdict("converged")
    if ignores and may_collapse and (stopped or is_last):
        return Verdict("diverged", "collapsed")
    return Verdict("exhausted") if is_last else None


def settled_steps(steps: Sequence[int], rates: Sequence[float]) -> int:
    """Steps since the end of the last epoch in which the rate rose, as in a warm-up: all of them where it never did.

    Both are of the epochs' last steps.
    """
    for epoch in range(len(rates) - 1, 0, -1):
        if rates[epoch] > rates[epoch - 1]:
            return steps[-1] - steps[epoch]
    return steps[-1]


def has_stopped_improving(validation: Sequence[float], patience: int) -> bool:
    """Whether none of the last so many losses is a new best."""
    recent, before = validation[-patience:], validation[:-patience]
    return bool(before) and min(recent) > NEW_BEST * min(before)
