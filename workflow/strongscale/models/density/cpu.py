"""Sample by sample and block by block, in place, so that a block's V x K exponentials stay in the second-level cache.

A sample's numbers depend on that sample alone, bit for bit: it always meets the same operations, on the same shapes
and alignments, whatever the batch it comes in.
"""

import torch
from torch import Tensor

BLOCK_NUMBERS = 2**17  # 512 KiB of exponentials: half of a usual second-level cache
LINE_NUMBERS = 16  # in a cache line: the matrix library may add up in another order where a matrix begins elsewhere

LEAST = -100.0  # 2^x: nothing beside 1 in float32; numbers near the least that there are would take far longer


def sums(
    parts_BxSxKxM: Tensor, cubes_BxV: Tensor, monomials_MxV: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """See `density.Kernel`."""
    num_monomials, voxels = monomials_MxV.shape
    batch, num_parts, components, _ = parts_BxSxKxM.shape
    parts_BxSxMxK = _aligned(parts_BxSxKxM, batch, num_parts, num_monomials, components).copy_(parts_BxSxKxM.mT)
    gradient_BxMxK = _aligned(parts_BxSxKxM, batch, num_monomials, components) if with_gradient else None
    targets_BxV = torch.log1p(cubes_BxV)
    squares_V = targets_BxV.new_empty(voxels)
    sums_B = targets_BxV.new_empty(batch)

    size = -(-voxels // -(-voxels * components // BLOCK_NUMBERS))
    blocks = [slice(start, min(start + size, voxels)) for start in range(0, voxels, size)]
    terms, ones = targets_BxV.new_empty(size, components), targets_BxV.new_ones(components)
    weighted = targets_BxV.new_empty(num_monomials, size)
    for sample, (first_MxK, *rest) in enumerate(parts_BxSxMxK):
        for block in blocks:
            block_MxV = monomials_MxV[:, block]
            terms_VxK = torch.mm(block_MxV.T, first_MxK, out=terms[: block_MxV.shape[1]])
            for part_MxK in rest:
                terms_VxK.addmm_(block_MxV.T, part_MxK)
            density_V = torch.mv(terms_VxK.clamp_min_(LEAST).exp2_(), ones)
            difference_V = torch.log1p(density_V).sub_(targets_BxV[sample, block])
            torch.mul(difference_V, difference_V, out=squares_V[block])
            if gradient_BxMxK is not None:
                weighted_MxV = weighted[:, : block_MxV.shape[1]]
                torch.mul(block_MxV, difference_V.div_(density_V.add_(1)), out=weighted_MxV)
                gradient_BxMxK[sample].addmm_(weighted_MxV, terms_VxK, beta=float(block.start > 0))
        torch.sum(squares_V, 0, out=sums_B[sample])
    return sums_B, None if gradient_BxMxK is None else gradient_BxMxK.mT


def _aligned(like: Tensor, *shape: int) -> Tensor:
    """An empty tensor, whose rows begin at cache lines."""
    padded = -(-shape[-1] // LINE_NUMBERS) * LINE_NUMBERS
    return like.new_empty(*shape[:-1], padded)[..., : shape[-1]]
