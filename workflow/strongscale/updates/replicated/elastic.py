"""Learners on springs: each is drawn towards the centre, and the centre towards them.

    c_j = alpha (w_j - z)                   of the weights before the step's gradients
    w_j <- optimizer(w_j, ...) - c_j
    z   <- z + c_1 + ... + c_k

The differences are known before the gradients are, so their sum travels while workers compute, and is priced as a message
that does. On the wall clock ranks send it after their passes, and wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from strongscale.common.schema import Between
from strongscale.updates.replicated.rule import Replicated

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Elastic(Replicated):
    """The base of rules with a spring between each learner and the centre."""

    is_overlapped: ClassVar[bool] = True
    usual_sum: ClassVar[float]
    """Of the alphas of all learners, where none is given."""

    alpha: Annotated[
        float | None,
        Between(low=0, high=1),
        "share of the way to the centre that a learner goes back; null: 1 (sma) or 0.9 (easgd) over the number of learners",
    ] = None

    def pulls(self, centre: "Tensor") -> list["Tensor"]:
        """The corrections."""
        alpha = self.usual_sum / self.num_learners if self.alpha is None else self.alpha
        return [(replica - centre).mul_(alpha) for replica in self.replicas.values()]

    def meet(self, centre: "Tensor", pulls: Sequence["Tensor"]) -> None:
        """Each learner takes its correction, the centre those of all."""
        for replica, pull in zip(self.replicas.values(), pulls, strict=True):
            replica.sub_(pull)
        centre.add_(self.add_up(pulls))
