"""CROSSBOW's plan (Koliousis et al., 2019): every learner takes a whole minibatch, and a worker has one learner or several."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from strongscale.common.schema import AT_LEAST_1
from strongscale.strategies.base import Plan, Progress
from strongscale.strategies.weak import Weak


@dataclass(frozen=True)
class Sma(Weak):
    """Minibatch n·learners·B, learning rate eta; learners are drawn to one average model (updates/sma.py).

    `auto` is a number before a cell's settings are written, and counts as 1 until then.
    """

    learners: Annotated[
        Annotated[int, AT_LEAST_1] | Literal["auto"],
        "a worker's, each with a minibatch of its own; auto: as many as pay on the device, found before any run",
    ] = 1

    @property
    def learners_each(self) -> int | Literal["auto"]:
        return self.learners

    @property
    def _number(self) -> int:
        return 1 if self.learners == "auto" else self.learners

    def plan(self, base: Plan, progress: Progress) -> Plan:
        plan = super().plan(base, progress)
        return replace(plan, batch=self._number * plan.batch)

    def update(self) -> dict[str, Any]:
        return {"kind": "sma", "learners": self._number}
