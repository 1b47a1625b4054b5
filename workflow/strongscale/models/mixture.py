"""A mixture of normal densities on a grid, as one matrix product, an exponential and a sum.

The exponent of a normal density is a polynomial of second degree in the coordinates: in three dimensions 10
coefficients times the 10 monomials x², y², z², xy, xz, yz, x, y, z, 1. The logarithms of the weight and of the
normalising factor go into the constant coefficient. So component k has the density exp(c_k · m(x)).

Shapes: B samples, K components, n dimensions, P = n(n-1)/2 pairs, M monomials, V voxels.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MAX_CORRELATION = 0.95  # a component stays as wide as its voxels, and float32 exact enough: the polynomial cancels


def grid(width: int, dimensions: int) -> Tensor:
    """The voxels of [-1, 1]^n in the order of a flattened cube, in float64: (V, n)."""
    axis = torch.linspace(-1, 1, width, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * dimensions).reshape(-1, dimensions)


def monomials(points_VxN: Tensor) -> Tensor:
    """Squares, products of pairs, coordinates and one: (V, n) -> (M, V)."""
    coordinates = points_VxN.unbind(-1)
    squares = [x * x for x in coordinates]
    products = [x * y for x, y in itertools.combinations(coordinates, 2)]
    return torch.stack([*squares, *products, *coordinates, torch.ones_like(coordinates[0])])


def inverse_cholesky(partial_BxKxP: Tensor, dimensions: int) -> list[list[Tensor]]:
    """Rows of the inverse Cholesky factor of the correlation matrix, a closed form of the partial correlations.

    The three numbers are rho12, rho13 and the partial correlation p of 2 and 3 given 1:
    rho23 = rho12·rho13 + p·sqrt((1-rho12²)(1-rho13²)). Whatever they are in (-1, 1), the matrix is positive definite.
    """
    if dimensions == 1:
        return [[partial_BxKxP.new_ones(())]]
    rho = partial_BxKxP.unbind(-1)
    root12 = torch.sqrt(1 - rho[0] ** 2)
    rows = [[torch.ones_like(root12)], [-rho[0] / root12, 1 / root12]]
    if dimensions == 3:
        root13 = torch.sqrt(1 - rho[1] ** 2)
        root23 = torch.sqrt(1 - rho[2] ** 2)
        last = 1 / (root13 * root23)
        middle = -rho[2] / (root12 * root23)
        rows.append([-(rho[1] * last) - rho[0] * middle, middle, last])
    return rows


def coefficients(log_alpha_BxK: Tensor, mu_BxKxN: Tensor, sigma_BxKxN: Tensor, partial_BxKxP: Tensor) -> Tensor:
    """The polynomial of each component: (B, K, M), in the order of `monomials`."""
    dimensions = mu_BxKxN.shape[-1]
    mu, sigma = mu_BxKxN.unbind(-1), sigma_BxKxN.unbind(-1)
    # z = A (x - mu) is standard normal, where A = (inverse Cholesky factor of the correlations) · diag(1/sigma)
    rows = [[entry / sigma[j] for j, entry in enumerate(row)] for row in inverse_cholesky(partial_BxKxP, dimensions)]
    shifts = [_sum(entry * mu[j] for j, entry in enumerate(row)) for row in rows]
    squares = [-0.5 * _sum(row[j] ** 2 for row in rows[j:]) for j in range(dimensions)]
    products = [-_sum(row[i] * row[j] for row in rows[j:]) for i, j in itertools.combinations(range(dimensions), 2)]
    linear = [_sum(row[j] * shift for row, shift in zip(rows[j:], shifts[j:], strict=True)) for j in range(dimensions)]
    log_factor = _sum(torch.log(rows[j][j]) for j in range(dimensions)) - 0.5 * dimensions * math.log(2 * math.pi)
    constant = log_alpha_BxK + log_factor - 0.5 * _sum(shift**2 for shift in shifts)
    return torch.stack([*squares, *products, *linear, constant], dim=-1)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(operator.add, terms)


class _Density(torch.autograd.Function):
    """sum_k exp(c_k · m(x)), sample by sample, so that a sample's K x V exponentials stay in the cache."""

    @staticmethod
    def forward(ctx: Any, coefficients_BxKxM: Tensor, monomials_MxV: Tensor) -> Tensor:
        terms = [torch.mm(sample_KxM, monomials_MxV).exp_() for sample_KxM in coefficients_BxKxM]
        ctx.save_for_backward(monomials_MxV, *terms)
        return torch.stack([term_KxV.sum(0) for term_KxV in terms])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        monomials_MxV, *terms = ctx.saved_tensors
        slopes = [
            torch.mm(term_KxV, (monomials_MxV * gradient_V).T)
            for term_KxV, gradient_V in zip(terms, gradients[0], strict=True)
        ]
        return torch.stack(slopes), None


def density(coefficients_BxKxM: Tensor, monomials_MxV: Tensor) -> Tensor:
    """The mixture on the grid: (B, V). On a GPU one batched product serves all samples."""
    if coefficients_BxKxM.is_cuda:
        return torch.matmul(coefficients_BxKxM, monomials_MxV).exp().sum(1)
    result: Tensor = _Density.apply(coefficients_BxKxM, monomials_MxV)  # type: ignore[no-untyped-call]
    return result
