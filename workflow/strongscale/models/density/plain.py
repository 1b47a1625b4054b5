"""All samples at once by PyTorch's own operations: for devices without a kernel of their own, and to check those."""

import torch
from torch import Tensor


def sums(
    parts_BxSxKxM: Tensor, cubes_BxV: Tensor, monomials_MxV: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """See `density.Kernel`."""
    terms_BxVxK = torch.matmul(monomials_MxV.T, parts_BxSxKxM[:, 0].mT)
    for part_BxKxM in parts_BxSxKxM.unbind(1)[1:]:
        terms_BxVxK += torch.matmul(monomials_MxV.T, part_BxKxM.mT)
    terms_BxVxK.exp2_()
    density_BxV = terms_BxVxK.sum(2)
    difference_BxV = torch.log1p(density_BxV) - torch.log1p(cubes_BxV)
    squares = difference_BxV.square().sum(1)
    if not with_gradient:
        return squares, None
    slope_BxV = difference_BxV / (1 + density_BxV)
    return squares, torch.matmul(terms_BxVxK.mT, slope_BxV.unsqueeze(2) * monomials_MxV.T)
