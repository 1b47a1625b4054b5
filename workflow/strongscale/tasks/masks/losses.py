"""The loss of a sample, and what its Dice is made of."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from strongscale.tasks.masks import EPSILON


def soft_dice_and_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """The mean over voxels of the cross-entropy, and 1 minus the soft Dice of all voxels: (B, ...), (B, ...) -> (B,)."""
    truth, probabilities = masks.to(logits.dtype), logits.sigmoid()
    cross_entropy = binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(1).mean(1)
    overlap = (probabilities * truth).flatten(1).sum(1)
    size = probabilities.flatten(1).sum(1) + truth.flatten(1).sum(1)
    return cross_entropy + 1 - (2 * overlap + EPSILON) / (size + EPSILON)


def overlap_and_size(logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Voxels in answer and mask both, and in each of them together, of every sample: (B,)."""
    answers, truth = logits > 0, masks > 0
    both = (answers & truth).flatten(1).sum(1)
    return {"overlap": both.float(), "size": (answers.flatten(1).sum(1) + truth.flatten(1).sum(1)).float()}


def dice_by_nodule(measured: dict[str, Tensor], nodules: Tensor) -> Tensor:
    """2 overlap / size, each summed over a nodule's samples; 1 where both answer and mask are empty."""
    numbers, places = nodules.unique(return_inverse=True)
    overlap, size = (
        torch.zeros(len(numbers), dtype=torch.float64).index_add(0, places, measured[name].double())
        for name in ("overlap", "size")
    )
    return torch.where(size > 0, 2 * overlap / size.clamp(min=1), 1.0)
