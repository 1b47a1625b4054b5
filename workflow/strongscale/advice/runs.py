"""Measured runs to a target, as the law of batch size takes them, whoever measured them. Shape: N runs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Runs:
    """An element a run."""

    batches_N: Numbers
    """Samples a step."""
    steps_N: Numbers
    """To the target; where it wasn't reached, how far the run went."""
    reached_N: NDArray[np.bool_]

    def where(self, chosen_N: NDArray[np.bool_]) -> "Runs":
        """Some of the runs."""
        return Runs(
            batches_N=self.batches_N[chosen_N], steps_N=self.steps_N[chosen_N], reached_N=self.reached_N[chosen_N]
        )

    @property
    def sizes(self) -> Numbers:
        """The batch sizes, rising."""
        return np.unique(self.batches_N)
