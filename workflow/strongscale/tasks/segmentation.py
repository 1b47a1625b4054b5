"""Where in an image is the nodule? A U-Net's answer for each voxel, compared with the nodule's mask.

In two dimensions samples are all axial slices through a nodule, in three its cube. Trained by the cross-entropy and the soft
Dice together, a usual choice where most voxels lie outside; told by the Dice of each nodule, all its slices together.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_1, Between
from strongscale.tasks.base import MaskTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from strongscale.tasks.base import Batch


LEAST_VOXELS = 2


@dataclass(frozen=True)
class Segmentation(MaskTask):
    """Samples are images (B, 1, ...) in [0, 1], their masks (B, 1, ...) and the numbers of their nodules (B,)."""

    dimensions: Annotated[Literal[2, 3], "2: the axial slices through a nodule, 3: its cube"] = 2
    filters: Annotated[int, AT_LEAST_1, "filters of the first level; each level below has twice as many"] = 16
    levels: Annotated[int, Between(low=1, high=6), "numbers of resolutions, each half as fine as the one above"] = 3

    def check(self, voxels: int) -> None:
        """Each level but the first has half as many voxels a side."""
        if voxels % 2 ** (self.levels - 1):
            raise UserError(
                f"levels: {self.levels} is not allowed for cubes of {voxels} voxels a side; allowed: as many as leave whole "
                f"numbers, so that 2^(levels - 1) divides {voxels}"
            )
        if voxels // 2 ** (self.levels - 1) < LEAST_VOXELS:
            raise UserError(
                f"levels: {self.levels} is not allowed for cubes of {voxels} voxels a side; allowed: as many as leave the last "
                f"{LEAST_VOXELS} voxels a side, or it has nothing to normalise over"
            )

    def samples_of(
        self, cubes_NDHW: "NDArray[np.float32]", masks_NDHW: "NDArray[np.uint8]", is_training_N: "NDArray[np.bool_]"
    ) -> "tuple[Batch, Batch]":
        """Those of each side of the split."""
        import numpy as np

        self.check(cubes_NDHW.shape[1])
        training, validation = (
            self._of(cubes_NDHW, masks_NDHW, np.flatnonzero(side_N)) for side_N in (is_training_N, ~is_training_N)
        )
        return training, validation

    def _of(
        self, cubes_NDHW: "NDArray[np.float32]", masks_NDHW: "NDArray[np.uint8]", nodules: "NDArray[np.int64]"
    ) -> "Batch":
        import numpy as np
        import torch

        where: tuple[NDArray[np.int64], ...] = (nodules,)
        if self.dimensions == 2:
            places, slices = np.nonzero(masks_NDHW[nodules].any(axis=(2, 3)))
            where = (nodules[places], slices)
        images, masks = (torch.from_numpy(array[where]).unsqueeze(1) for array in (cubes_NDHW, masks_NDHW))
        return images, masks, torch.from_numpy(where[0])

    def create_model(self) -> "nn.Module":
        """A U-Net with one logit a voxel."""
        from strongscale.models.unet.network import UNet

        return UNet(self.dimensions, self.filters, self.levels)

    def losses(self, model: "nn.Module", batch: "Batch") -> "Tensor":
        """The cross-entropy, and 1 minus the soft Dice: near 0 at best, above 1 for an answer that says nothing."""
        from strongscale.tasks.masks.losses import soft_dice_and_cross_entropy

        images, masks, _ = batch
        return soft_dice_and_cross_entropy(model(images), masks)

    def constant_loss(self, training: "Batch", validation: "Batch") -> float:
        """Of the map of probabilities that suits the training samples' masks best."""
        from strongscale.tasks.masks.constant import best_map, loss_of_map

        training_NV, validation_NV = (batch[1].flatten(1).numpy() for batch in (training, validation))
        return loss_of_map(best_map(training_NV), validation_NV)

    def constant_measures(self, training: "Batch", validation: "Batch") -> dict[str, float]:
        """The Dice of that map's voxels above one half."""
        import torch

        from strongscale.tasks.masks.constant import best_map
        from strongscale.tasks.masks.losses import dice_by_nodule, overlap_and_size

        masks, nodules = validation[1], validation[2]
        answer = torch.from_numpy(best_map(training[1].flatten(1).numpy()) - 0.5).view(masks.shape[1:])
        return {"dice": float(dice_by_nodule(overlap_and_size(answer.expand(masks.shape), masks), nodules).mean())}

    def outputs(self, model: "nn.Module", batch: "Batch") -> "Tensor":
        """Probabilities: logits may go on to differ where no answer does."""
        logits: Tensor = model(batch[0])
        return logits.sigmoid()

    def measures(self, model: "nn.Module", batch: "Batch") -> "dict[str, Tensor]":
        """What the Dice of a nodule is made of."""
        from strongscale.tasks.masks.losses import overlap_and_size

        images, masks, _ = batch
        return overlap_and_size(model(images), masks)

    def of_groups(self, measured: "dict[str, Tensor]", samples: "Batch") -> "dict[str, Tensor]":
        """The Dice of each nodule, all its slices together: slices at its ends would else count as much as its middle."""
        from strongscale.tasks.masks.losses import dice_by_nodule

        return {"dice": dice_by_nodule(measured, samples[2])}
