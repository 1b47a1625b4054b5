"""What a scaling strategy answers: how large the minibatch of all workers is, and how large the learning rate.

How the workers' work becomes one update is shared by all strategies so far: the sum over all samples of the
gradient, divided by their number, given to Adam. A strategy knows nothing of ranks, devices or models.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Strategy:
    """The sequential run's own settings, whatever the number of workers: the base of every strategy.

    The fields of a subclass are its parameters, to be set in config.yaml.
    """

    def minibatch(self, base: int, workers: int, epochs_done: int) -> int:
        """Samples in one step of all workers together; `base` is the sequential run's."""
        return base

    def learning_rate(self, base: float, workers: int, epochs_done: float) -> float:
        """The rate of the next step; `epochs_done` counts fractions of an epoch; `base` is the sequential run's."""
        return base
