"""What each batch size is given: the same samples, or the same updates of weights."""

import math
from typing import Literal


def steps_in(epochs: int, batch: int, num_training: int) -> int:
    """Steps of so many epochs."""
    return epochs * math.ceil(num_training / batch)


def full_epochs(
    budget: Literal["epochs", "steps"], epochs: int, batch: int, sequential_batch: int, num_training: int
) -> int:
    """Epochs of a full run, where the sequential one has so many: as many, or those that have as many steps."""
    if budget == "epochs":
        return epochs
    return math.ceil(steps_in(epochs, sequential_batch, num_training) / steps_in(1, batch, num_training))


def warmup_steps(share: float, epochs: int, batch: int, num_training: int) -> int:
    """Steps of a warm-up over a share of a full run."""
    return round(share * steps_in(epochs, batch, num_training))
