"""Handwritten digits: scikit-learn's 1797 images of 8 x 8 pixels, told apart by a small convolutional network.

Small and real: from data to verdict in a minute or two. The images come in the order of their writers, and the last fifth
is for validation, so that some of its writers were never seen.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from strongscale.common.schema import AT_LEAST_1
from strongscale.tasks.base import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from strongscale.tasks.base import Batch

NUM_VALIDATION = 360
NUM_CLASSES = 10


@dataclass(frozen=True)
class Digits(Task):
    """Samples are images (B, 1, 8, 8) in [0, 1] and labels (B,); the loss is the cross-entropy."""

    filters: Annotated[int, AT_LEAST_1, "filters of the first convolution; the second has twice as many"] = 16

    def samples(self) -> "tuple[Batch, Batch]":
        """All images but the last ones, and the last ones."""
        import torch
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        samples = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)
        return tuple(one[:-NUM_VALIDATION] for one in samples), tuple(one[-NUM_VALIDATION:] for one in samples)

    def create_model(self) -> "nn.Module":
        """Two convolutions and a dense layer."""
        from torch import nn

        return nn.Sequential(
            nn.Conv2d(1, self.filters, 3),
            nn.ReLU(),
            nn.Conv2d(self.filters, 2 * self.filters, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * self.filters * 4 * 4, NUM_CLASSES),
        )

    def losses(self, model: "nn.Module", batch: "Batch") -> "Tensor":
        """Minus the logarithm of the probability that the model gives the right class."""
        from torch.nn.functional import cross_entropy

        images, labels = batch
        return cross_entropy(model(images), labels, reduction="none")

    def constant_loss(self, training: "Batch", validation: "Batch") -> float:
        """Of always answering with the frequencies of the classes in the training set."""
        frequencies = training[1].bincount(minlength=NUM_CLASSES).double() / len(training[1])
        return float(-frequencies[validation[1]].log().mean())

    def constant_measures(self, training: "Batch", validation: "Batch") -> dict[str, float]:
        """The share told right by the class that is most frequent in the training set."""
        return {"accuracy": float((validation[1] == training[1].mode().values).float().mean())}

    def measures(self, model: "nn.Module", batch: "Batch") -> "dict[str, Tensor]":
        """The share that is told right."""
        images, labels = batch
        return {"accuracy": (model(images).argmax(1) == labels).float()}
