"""When a run ends, and what its end is called: a pure function of the losses so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from strongscale.config import Collapse

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
    max_epochs: int,
    null_loss: float,
    collapse: Collapse,
) -> Verdict | None:
    """The verdict after the last epoch of these losses, or None: go on."""
    if not (math.isfinite(training[-1]) and math.isfinite(validation[-1])):
        return Verdict("diverged", "not finite")
    if target is not None and validation[-1] <= target:
        return Verdict("converged")
    collapsed = has_collapsed(validation, null_loss, collapse)
    if collapsed and (collapse.stop or len(validation) == max_epochs):
        return Verdict("diverged", "collapsed")
    return Verdict("exhausted") if len(validation) == max_epochs else None


def has_collapsed(validation: Sequence[float], null_loss: float, collapse: Collapse) -> bool:
    """Whether the loss lies near that of predicting nothing and has stopped falling.

    A slow starter lies there too, but it improves; a collapsed model ignores its input and stays.
    """
    recent = validation[-collapse.patience :]
    before = validation[: -collapse.patience]
    if not before or min(recent) < collapse.fraction * null_loss:
        return False
    return min(recent) > NEW_BEST * min(before)
