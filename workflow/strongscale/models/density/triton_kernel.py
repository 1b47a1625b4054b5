"""One Triton kernel from coefficients to losses and gradients: nothing of the size K x V leaves the chip.

A program takes a few tiles of voxels of one sample and keeps all components of a tile in registers. What it adds up
goes to a place of its own, and a second kernel adds these in a fixed order: no atomic additions, the same bits every
time, and for a sample whatever the batch it comes in. Products are in float32 (`ieee`), never TF32. No host
synchronisation and no allocation that depends on values: it can be captured in a CUDA graph.

Any number of dimensions with at most 16 monomials (1, 2 or 3), any number of components up to a few hundred.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# (Triton, not Python, gives a kernel's arguments their types)

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 32  # voxels: with 50 components, all registers are just enough
TILES = 8  # of a program
MONOMIALS = 16  # padded: the least that a product of tiles takes
CHUNK = 256  # numbers that a program of the second kernel adds up


def sums(
    parts_BxSxKxM: Tensor, cubes_BxV: Tensor, monomials_MxV: Tensor, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """See `density.Kernel`."""
    batch, num_parts, components, num_monomials = parts_BxSxKxM.shape
    voxels = monomials_MxV.shape[1]
    shares = triton.cdiv(voxels, TILE * TILES)
    size = components * num_monomials + 1 if with_gradient else 1  # the gradient, and last the loss
    partial = parts_BxSxKxM.new_empty(batch, shares, size)
    total = parts_BxSxKxM.new_empty(batch, size)
    padded = max(16, triton.next_power_of_2(components))
    with torch.cuda.device_of(total):
        _partial_sums[(batch, shares)](
            parts_BxSxKxM.contiguous(),
            cubes_BxV.contiguous(),
            monomials_MxV,
            partial,
            voxels,
            components,
            num_monomials,
            size,
            PARTS=num_parts,
            GRADIENT=with_gradient,
            PADDED=padded,
            MONOMIALS=MONOMIALS,
            TILE=TILE,
            TILES=TILES,
            num_warps=4 if padded <= 64 else 8,
        )
        _add_up[(batch, triton.cdiv(size, CHUNK))](partial, total, shares, size, CHUNK=CHUNK)
    gradient = total[:, :-1].view(batch, components, num_monomials) if with_gradient else None
    return total[:, -1], gradient


@triton.jit
def _partial_sums(
    parts,  # (B, PARTS, K, M)
    cubes,  # (B, V)
    monomials,  # (M, V)
    partial,  # (B, shares, size)
    voxels,
    components,
    num_monomials,
    size,
    PARTS: tl.constexpr,
    GRADIENT: tl.constexpr,
    PADDED: tl.constexpr,
    MONOMIALS: tl.constexpr,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
):
    """The sums over one program's voxels of one sample."""
    sample, share = tl.program_id(0), tl.program_id(1)
    k = tl.arange(0, PADDED)
    m = tl.arange(0, MONOMIALS)
    is_coefficient = (k < components)[:, None] & (m < num_monomials)[None, :]
    places = k[:, None] * num_monomials + m[None, :]
    part = parts + sample * PARTS * components * num_monomials + places
    first = tl.load(part, mask=is_coefficient, other=0.0)
    if PARTS == 2:
        second = tl.load(part + components * num_monomials, mask=is_coefficient, other=0.0)
    gradient = tl.zeros((PADDED, MONOMIALS), tl.float32)
    squares = tl.zeros((TILE,), tl.float32)
    for tile in range(TILES):
        v = (share * TILES + tile) * TILE + tl.arange(0, TILE)
        is_voxel = v < voxels
        block_MxV = tl.load(
            monomials + m[:, None] * voxels + v[None, :],
            mask=(m < num_monomials)[:, None] & is_voxel[None, :],
            other=0.0,
        )
        exponents_KxV = tl.dot(first, block_MxV, input_precision="ieee")
        if PARTS == 2:
            exponents_KxV = tl.dot(second, block_MxV, exponents_KxV, input_precision="ieee")
        terms_KxV = tl.where((k < components)[:, None], tl.exp2(exponents_KxV), 0.0)
        density = tl.sum(terms_KxV, axis=0)
        cube = tl.load(cubes + sample * voxels + v, mask=is_voxel, other=0.0)
        difference = tl.where(is_voxel, _log_of_ratio(density, cube), 0.0)
        squares += difference * difference
        if GRADIENT:
            weighted_MxV = block_MxV * (difference / (1.0 + density))[None, :]
            gradient = tl.dot(terms_KxV, tl.trans(weighted_MxV), gradient, input_precision="ieee")
    row = partial + (sample * tl.num_programs(1) + share) * size
    tl.store(row + size - 1, tl.sum(squares, axis=0))
    if GRADIENT:
        tl.store(row + places, gradient, mask=is_coefficient)


@triton.jit
def _log_of_ratio(density, cube):
    """log((1 + density) / (1 + cube)), exact to float32 also near 0, where a logarithm of a rounded ratio isn't."""
    z = (density - cube) / (2.0 + density + cube)  # the logarithm is 2 artanh(z)
    square = z * z
    series = 2.0 * z * (1.0 + square * (1.0 / 3 + square * (0.2 + square * (1.0 / 7 + square * (1.0 / 9)))))
    return tl.where(tl.abs(z) < 0.15, series, tl.log((1.0 + density) / (1.0 + cube)))


@triton.jit
def _add_up(partial, total, shares, size, CHUNK: tl.constexpr):
    """(B, shares, size) -> (B, size), one share after another."""
    sample = tl.program_id(0)
    place = tl.program_id(1) * CHUNK + tl.arange(0, CHUNK)
    inside = place < size
    result = tl.zeros((CHUNK,), tl.float32)
    for share in range(shares):
        result += tl.load(partial + (sample * shares + share) * size + place, mask=inside, other=0.0)
    tl.store(total + sample * size + place, result, mask=inside)
