"""Elastic averaging SGD, its synchronous form (Zhang, Choromanska and LeCun, 2015): springs between workers and a centre.

    w_j <- optimizer(w_j, ...) - alpha (w_j - z);   z <- z + alpha · sum over j of (w_j - z)    each w_j as before the step

The paper's workers take plain SGD; with another optimizer its step takes the place of SGD's. Between meetings workers go on
alone.
"""

from dataclasses import dataclass
from typing import ClassVar

from strongscale.updates.replicated.elastic import Elastic


@dataclass
class Easgd(Elastic):
    """A centre on springs; alpha left out is 0.9 over the number of workers, the paper's beta of 0.9."""

    usual_sum: ClassVar[float] = 0.9
