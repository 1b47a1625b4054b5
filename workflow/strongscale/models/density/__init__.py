"""The mixture's loss and its gradient in one pass over the voxels: no exponential is computed twice or read back.

The loss at a voxel needs that voxel's density alone. So a block of voxels is enough to go from exponents to density,
to loss, to the gradient of the polynomials' coefficients, while its exponentials are at hand; `backward` only scales.
The gradient goes on to the heads through `mixture.coefficients`.

The exponent is taken in units of log(2), because 2^x is cheaper than e^x, and in the whole numbers u = x·(width - 1),
because their monomials are exact in float32. Coefficients in float32 are multiplied as they are: a
narrow, correlated component's polynomial cancels, and its exponent loses three or four digits. Coefficients in float64
are cut into two float32 numbers each, which keeps the exponent exact to float32, for a fifth of the time on top.

Shapes: B samples, K components, M monomials, V voxels, S = 1 or 2 parts of a coefficient.
"""

import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from strongscale.models.density import cpu, mixture, plain

log = logging.getLogger(__name__)

Kernel = Callable[[Tensor, Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]
"""Parts of the coefficients (B, S, K, M), cubes (B, V), monomials (M, V), whether to give the gradient
-> sums over voxels: the squared difference d of logarithms (B,), and d / (1 + density) · 2^exponent · monomial (B, K, M)."""


class MixtureLoss(nn.Module):
    """What `loss.msle` says of `mixture.density`, on the voxels of [-1, 1]^n."""

    monomials: Tensor
    scale: Tensor
    largest: Tensor

    def __init__(self, width: int, dimensions: int):
        super().__init__()
        step = 1 / (width - 1)
        whole_numbers = torch.round(mixture.grid(width, dimensions) / step)
        monomials = mixture.monomials(whole_numbers)
        pairs = dimensions * (dimensions + 1) // 2
        scale = torch.tensor([step**2] * pairs + [step] * dimensions + [1.0], dtype=torch.float64) / math.log(2)
        self.register_buffer("monomials", monomials.float(), persistent=False)
        self.register_buffer("largest", monomials.abs().amax(1), persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, coefficients_BxKxM: Tensor, cubes: Tensor) -> Tensor:
        """The loss of each sample: (B,), in the type of the cubes; coefficients in the order of `mixture.monomials`."""
        scaled = coefficients_BxKxM * self.scale.to(coefficients_BxKxM.dtype)
        kernel = kernel_for(cubes.device.type, scaled.shape[1])
        if torch.is_grad_enabled() and scaled.requires_grad:
            losses: Tensor = _Loss.apply(scaled, cubes, self, kernel)  # type: ignore[no-untyped-call]
            return losses
        sums, _ = kernel(self.parts(scaled), cubes.flatten(1), self.monomials, False)
        return sums / self.monomials.shape[1]

    def parts(self, scaled_BxKxM: Tensor) -> Tensor:
        """Numbers of the monomials' type that add up to the scaled coefficients: (B, S, K, M).

        The first of two are multiples of one power of two for all of a component, so coarse that the sum of its
        polynomial has no rounding, and so fine that the rest is too small for its own rounding to matter.
        """
        if scaled_BxKxM.dtype == self.monomials.dtype:
            return scaled_BxKxM.unsqueeze(1)
        bound = (scaled_BxKxM.abs() * self.largest).sum(-1, keepdim=True)
        quantum = torch.exp2(torch.ceil(torch.log2(bound.clamp_min(1e-30))) - 23)
        coarse = torch.round(scaled_BxKxM / quantum) * quantum
        return torch.stack([coarse, scaled_BxKxM - coarse], dim=1).to(self.monomials.dtype)


class _Loss(torch.autograd.Function):
    """The gradient comes with the loss."""

    @staticmethod
    def forward(ctx: Any, scaled_BxKxM: Tensor, cubes: Tensor, module: MixtureLoss, kernel: Kernel) -> Tensor:
        sums, gradient = kernel(module.parts(scaled_BxKxM), cubes.flatten(1), module.monomials, True)
        ctx.save_for_backward(gradient)
        ctx.voxels, ctx.dtype = module.monomials.shape[1], scaled_BxKxM.dtype
        losses: Tensor = sums / module.monomials.shape[1]
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_BxKxM,) = ctx.saved_tensors
        factors = slopes[0] * (2 * math.log(2) / ctx.voxels)
        return (gradient_BxKxM * factors.view(-1, 1, 1)).to(ctx.dtype), None, None, None


@functools.cache  # so that what it says is said once
def kernel_for(device_type: str, components: int) -> Kernel:
    """The fastest kernel that works on such a device, for so many components."""
    if device_type == "cpu":
        return cpu.sums
    if device_type != "cuda":
        return plain.sums
    try:
        from strongscale.models.density import triton_kernel

        check(triton_kernel.sums, torch.device(device_type), components)
    except Exception as error:  # a driver, a compiler or Triton itself may be missing or too old: the rest works
        reason = str(error).partition("\n")[0] or type(error).__name__
        log.warning("density layer: plain PyTorch, slower, because its Triton kernel doesn't work here: %s", reason)
        return plain.sums
    return triton_kernel.sums


def check(kernel: Kernel, device: torch.device, components: int) -> None:
    """Compare a kernel with the plain one on a few numbers: ValueError if they disagree."""
    generator = torch.Generator().manual_seed(0)
    loss = MixtureLoss(7, 2).to(device)
    parts = torch.randn(2, 1, components, 6, generator=generator).mul_(-0.1).to(device)
    cubes = torch.rand(2, 49, generator=generator).to(device)
    for with_gradient in (True, False):
        expected, found = (
            [value for value in sums(parts, cubes, loss.monomials, with_gradient) if value is not None]
            for sums in (plain.sums, kernel)
        )
        for one, other in zip(expected, found, strict=True):
            if not torch.allclose(one, other, rtol=1e-3, atol=1e-4):
                raise ValueError("its numbers differ from PyTorch's")
