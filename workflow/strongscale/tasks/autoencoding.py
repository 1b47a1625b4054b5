"""The paper's task: a nodule's cube in, its reconstruction out, compared by the mean squared logarithmic error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongscale.models import WithLosses
from strongscale.tasks.base import NoduleTask

if TYPE_CHECKING:
    from torch import Tensor, nn

    from strongscale.tasks.base import Batch


@dataclass(frozen=True)
class Autoencoding(NoduleTask):
    """Samples are cubes (B, W, W, W), their slices or their lines: input and target at once."""

    def losses(self, model: "nn.Module", batch: "Batch") -> "Tensor":
        """Of the reconstructions; some models know a shorter way to it."""
        (cubes,) = batch
        return model.losses(cubes) if isinstance(model, WithLosses) else msle(model(cubes), cubes)


def msle(prediction: "Tensor", cubes: "Tensor") -> "Tensor":
    """The mean over voxels of (log(1 + prediction) - log(1 + input))²: (B, ...) -> (B,)."""
    difference = prediction.log1p() - cubes.log1p()
    return difference.square().flatten(1).mean(1)
