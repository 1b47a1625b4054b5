"""AdaScale (Johnson et al., 2020): n times the minibatch, and a rate that rises as far as averaging its gradients gains.

    gain = (s + m) / (s/n + m);   rate = eta · gain^power       s: variance of a worker's mean gradient of B samples
                                                                m: squared norm of the true gradient

Where gradients are mostly noise the gain is n, the linear rule; where they agree it is 1. Both are averaged over about
1000/n steps, apart from one another, from the gradients of parts of each minibatch.

Simplified: the paper counts progress in gains and shortens the schedule by it; here an epoch stays an epoch. A step's gain is
that of the steps before it, for plans are made before gradients are known. The paper is about SGD, power 1; for Adam the
code beside Pollux (Qiao et al., 2021) takes the gain's root, power 0.5, and that of gradients as Adam scales them. Ours is of
plain gradients.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from strongscale.common.schema import Between
from strongscale.strategies.base import Plan, Progress, Statistics, Strategy

STEPS = 1000  # over which the paper averages, of one worker's minibatches


@dataclass(frozen=True)
class Adascale(Strategy):
    """Minibatch n·B, learning rate from eta to n·eta by what the gradients told."""

    reads_statistics: ClassVar[bool] = True
    power: Annotated[float, Between(above=0, high=1), "of the gain, in the rate: 1 for SGD, 0.5 for Adam"] = 1.0

    def plan(self, base: Plan, progress: Progress) -> Plan:
        if progress.statistics and len(progress.statistics.part_sizes) > 1:
            _take_in(progress.statistics, base.batch, progress)
        return Plan(progress.workers * base.batch, base.rate * _gain(progress) ** self.power)


def _take_in(told: Statistics, batch: int, progress: Progress) -> None:
    """Remember moving averages of both estimates, negative ones too, which alone make them right on average."""
    kept = max(0.0, 1 - progress.workers / STEPS)
    for name, value in {"variance": told.sample_variance / batch, "square": told.true_square}.items():
        progress.memory[name] = kept * progress.memory.get(name, value) + (1 - kept) * value


def _gain(progress: Progress) -> float:
    """From 1 to n."""
    variance, square = (max(0.0, progress.memory.get(name, 0.0)) for name in ("variance", "square"))
    if not variance:
        return 1.0
    return (variance + square) / (variance / progress.workers + square)
