"""A mixture of normal densities on a grid, as one matrix product, an exponential and a sum.

The exponent of a normal density is a polynomial of second degree in the coordinates: in three dimensions 10
coefficients times the 10 monomials x², y², z², xy, xz, yz, x, y, z, 1. The logarithms of the weight and of the
normalising factor go into the constant coefficient. So component k has the density exp(c_k · m(x)).

Shapes: B samples, K components, n dimensions, P = n(n-1)/2 pairs, M monomials, V voxels.
"""

import functools
import itertools
import math
from typing import Any

import torch
from torch import Tensor

MAX_CORRELATION = 0.95  # a component stays as wide as its voxels, and float32 exact enough: the polynomial cancels


def log_mass(mass: float | str, dimensions: int) -> float:
    """The logarithm of a mixture's integral over all space, for a setting that fixes it.

    `paper`: the factor (2 pi Sigma)^(-1/2) of its equation 5 as it is printed, with |Sigma| for Sigma, in place of the
    usual (2 pi)^(-n/2) |Sigma|^(-1/2).
    """
    if mass == "paper":
        return 0.5 * (dimensions - 1) * math.log(2 * math.pi)
    return 0.0 if mass == "unit" else math.log(float(mass))


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


def coefficients(log_alpha_BxK: Tensor, mu_BxKxN: Tensor, sigma_BxKxN: Tensor, partial_BxKxP: Tensor) -> Tensor:
    """The polynomial of each component: (B, K, M), in the order of `monomials`.

    In three dimensions the numbers `partial` are rho12, rho13 and the partial correlation p of 2 and 3 given 1:
    rho23 = rho12·rho13 + p·sqrt((1-rho12²)(1-rho13²)). Whatever they are in (-1, 1), the matrix is positive definite.
    """
    result: Tensor = _Coefficients.apply(log_alpha_BxK, mu_BxKxN, sigma_BxKxN, partial_BxKxP)  # type: ignore[no-untyped-call]
    return result


class _Coefficients(torch.autograd.Function):
    """z = A (x - mu) is standard normal, where A = (inverse Cholesky factor of the correlations) · diag(1/sigma).

    So the exponent is -½ xᵀ (AᵀA) x + (AᵀA mu)·x - ½ |A mu|² + log det A + log alpha - ½ n log 2π. The gradient is
    written out, because a small step has little else to do than to start autograd's operations.
    """

    @staticmethod
    def forward(
        ctx: Any, log_alpha_BxK: Tensor, mu_BxKxN: Tensor, sigma_BxKxN: Tensor, partial_BxKxP: Tensor
    ) -> Tensor:
        dimensions = mu_BxKxN.shape[-1]
        secant_BxKxP = torch.rsqrt(1 - partial_BxKxP.square())
        tangent_BxKxP = partial_BxKxP * secant_BxKxP
        A_BxKxNxN = _inverse_cholesky(secant_BxKxP, tangent_BxKxP, dimensions) / sigma_BxKxN.unsqueeze(-2)
        shift_BxKxN = _apply(A_BxKxNxN, mu_BxKxN)
        log_determinant_BxK = secant_BxKxP.log().sum(-1) - sigma_BxKxN.log().sum(-1)
        constant_BxK = log_alpha_BxK + log_determinant_BxK - 0.5 * shift_BxKxN.square().sum(-1)
        second_order = torch.matmul(A_BxKxNxN.mT, A_BxKxNxN).flatten(-2) @ _choice(dimensions, mu_BxKxN)
        first_order = _apply(A_BxKxNxN.mT, shift_BxKxN)
        ctx.save_for_backward(mu_BxKxN, sigma_BxKxN, secant_BxKxP, tangent_BxKxP, A_BxKxNxN, shift_BxKxN)
        return torch.cat(
            [second_order, first_order, constant_BxK.unsqueeze(-1) - 0.5 * dimensions * math.log(2 * math.pi)], dim=-1
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mu, sigma, secant, tangent, A, shift = ctx.saved_tensors
        dimensions = mu.shape[-1]
        second_order, first_order, constant = gradients[0].split(
            [gradients[0].shape[-1] - dimensions - 1, dimensions, 1], -1
        )
        to_product = (second_order @ _choice(dimensions, mu).T).unflatten(-1, (dimensions, dimensions))
        to_shift = _apply(A, first_order) - constant * shift
        to_A = 2 * torch.matmul(A, to_product)
        to_A += shift.unsqueeze(-1) * first_order.unsqueeze(-2) + to_shift.unsqueeze(-1) * mu.unsqueeze(-2)
        to_secant, to_tangent = _inverse_cholesky_backward(to_A / sigma.unsqueeze(-2), secant, tangent)
        to_secant += constant / secant
        return (
            constant.squeeze(-1),
            _apply(A.mT, to_shift),
            ((to_A * A).sum(-2) + constant) / -sigma,
            secant.square() * (to_secant * tangent + to_tangent * secant),
        )


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    products: Tensor = torch.matmul(matrices, vectors.unsqueeze(-1))
    return products.squeeze(-1)


@functools.cache
def _choose(dimensions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    choice = torch.zeros(dimensions, dimensions, dimensions * (dimensions + 1) // 2, dtype=dtype)
    for i in range(dimensions):
        choice[i, i, i] = -0.5
    for place, (i, j) in enumerate(itertools.combinations(range(dimensions), 2), start=dimensions):
        choice[i, j, place] = choice[j, i, place] = -0.5
    flat: Tensor = choice.flatten(0, 1)
    return flat.to(device)


def _choice(dimensions: int, like: Tensor) -> Tensor:
    """From the entries of a symmetric matrix S to the coefficients of -½ xᵀSx: (n², n(n+1)/2)."""
    return _choose(dimensions, like.dtype, like.device)


def _inverse_cholesky(secant_BxKxP: Tensor, tangent_BxKxP: Tensor, dimensions: int) -> Tensor:
    """The inverse Cholesky factor of the correlation matrix: (B, K, n, n), or what is broadcast to it.

    Secant and tangent of partial correlations, as if those were sines of angles: 1/sqrt(1-rho²) and rho/sqrt(1-rho²).
    """
    if dimensions == 1:
        return secant_BxKxP.new_ones(1, 1)
    one = torch.ones_like(secant_BxKxP[..., 0])
    zero = torch.zeros_like(one)
    if dimensions == 2:
        entries = [one, zero, -tangent_BxKxP[..., 0], secant_BxKxP[..., 0]]
    else:
        s12, s13, s23 = secant_BxKxP.unbind(-1)
        t12, t13, t23 = tangent_BxKxP.unbind(-1)
        entries = [one, zero, zero, -t12, s12, zero, t12 * t23 - t13 * s23, -t23 * s12, s13 * s23]
    factor: Tensor = torch.stack(entries, dim=-1).unflatten(-1, (dimensions, dimensions))
    return factor


def _inverse_cholesky_backward(gradient: Tensor, secant: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of secants and tangents, from that of the factor."""
    dimensions = gradient.shape[-1]
    if dimensions == 1:
        return torch.zeros_like(secant), torch.zeros_like(tangent)
    if dimensions == 2:
        return gradient[..., 1, 1:].clone(), -gradient[..., 1, :1]
    s12, s13, s23 = secant.unbind(-1)
    t12, t13, t23 = tangent.unbind(-1)
    g10, g11, g20, g21, g22 = (gradient[..., i, j] for i, j in ((1, 0), (1, 1), (2, 0), (2, 1), (2, 2)))
    return (
        torch.stack([g11 - g21 * t23, g22 * s23, g22 * s13 - g20 * t13], dim=-1),
        torch.stack([g20 * t23 - g10, -g20 * s23, g20 * t12 - g21 * s12], dim=-1),
    )


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
