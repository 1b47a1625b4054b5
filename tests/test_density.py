"""The loss and gradient of the density layer in one pass, against float64 and against the layer and the loss apart."""

import importlib.util
import logging
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, environment

from strongscale.models import density
from strongscale.models.density import MixtureLoss, cpu, mixture, plain
from strongscale.tasks.autoencoding import msle

WIDTH = {1: 16, 2: 11, 3: 8}
KERNELS = {"cpu": cpu.sums, "plain": plain.sums}
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def random_coefficients(dimensions, width, batch=3, components=7, spread=1.0, mass=1.0):
    """Coefficients in float64 from random heads; spread 60 saturates them: least deviations, correlations at the bound.

    The first sample's mixture has that mass, the second's half as much, and so on.
    """
    generator = torch.Generator().manual_seed(dimensions)
    pairs = dimensions * (dimensions - 1) // 2
    least = 1 / (width - 1)

    def normal(*shape):
        return spread * torch.randn(batch, components, *shape, generator=generator, dtype=torch.float64)

    return mixture.coefficients(
        torch.log_softmax(normal(), 1) + torch.log(mass / torch.arange(1, batch + 1).double()).unsqueeze(1),
        torch.tanh(normal(dimensions)),
        least + (1 - least) * torch.sigmoid(normal(dimensions)),
        mixture.MAX_CORRELATION * torch.sigmoid(normal(pairs)),
    )


def random_cubes(width, dimensions, batch=3):
    return torch.rand(batch, *(width,) * dimensions, generator=torch.Generator().manual_seed(1))


def reference(coefficients, cubes):
    """Losses and the gradient of their sum, by the layer and the loss apart, in float64."""
    coefficients = coefficients.detach().double().requires_grad_()
    points = mixture.monomials(mixture.grid(cubes.shape[-1], cubes.dim() - 1))
    losses = msle(mixture.density(coefficients, points).view_as(cubes), cubes.double())
    return losses.detach(), torch.autograd.grad(losses.sum(), coefficients)[0]


def ours(coefficients, cubes):
    """The same in one pass."""
    coefficients = coefficients.detach().requires_grad_()
    losses = MixtureLoss(cubes.shape[-1], cubes.dim() - 1)(coefficients, cubes)
    return losses.detach(), torch.autograd.grad(losses.sum(), coefficients)[0]


def difference(value, expected):
    """Relative, by the norm."""
    return float((value.double() - expected).norm() / expected.norm())


@pytest.fixture(params=KERNELS)
def kernel(request, monkeypatch):
    """Each kernel in turn, whatever the device."""
    monkeypatch.setattr(density, "kernel_for", lambda device_type, components: KERNELS[request.param])


@pytest.mark.parametrize("mass", [1.0, 2 * math.pi])
@pytest.mark.parametrize("spread", [0.3, 1.0, 8.0, 60.0])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_float64_coefficients_give_float32_accuracy_however_narrow_and_correlated(kernel, dimensions, spread, mass):
    coefficients = random_coefficients(dimensions, WIDTH[dimensions], spread=spread, mass=mass)
    cubes = random_cubes(WIDTH[dimensions], dimensions)
    for value, expected in zip(ours(coefficients, cubes), reference(coefficients, cubes), strict=True):
        assert difference(value, expected) < 1e-5


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_float32_coefficients_give_the_same_as_the_layer_and_the_loss_apart(kernel, dimensions):
    coefficients = random_coefficients(dimensions, WIDTH[dimensions], spread=0.3).float()
    cubes = random_cubes(WIDTH[dimensions], dimensions)
    for value, expected in zip(ours(coefficients, cubes), reference(coefficients, cubes), strict=True):
        assert difference(value, expected) < 1e-5


@pytest.mark.parametrize("batch", [1, 3, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_and_gradients_have_the_shapes_and_types_that_belong_to_them(kernel, batch, dtype):
    coefficients = random_coefficients(3, 8, batch=batch).to(dtype)
    losses, gradient = ours(coefficients, random_cubes(8, 3, batch))
    assert (losses.shape, losses.dtype) == ((batch,), torch.float32)
    assert (gradient.shape, gradient.dtype) == (coefficients.shape, dtype)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_in_float64_the_gradient_agrees_with_numerical_ones(kernel, dimensions):
    coefficients = random_coefficients(dimensions, 4, batch=2, components=2).detach().requires_grad_()
    loss, cubes = MixtureLoss(4, dimensions).double(), random_cubes(4, dimensions, 2).double()
    assert torch.autograd.gradcheck(lambda numbers: loss(numbers, cubes), coefficients)


def test_each_sample_may_count_differently():
    coefficients, cubes = random_coefficients(3, 8), random_cubes(8, 3)
    weights = torch.tensor([0.0, 1.0, -2.0])
    leaf = coefficients.detach().requires_grad_()
    (gradient,) = torch.autograd.grad((MixtureLoss(8, 3)(leaf, cubes) * weights).sum(), leaf)
    torch.testing.assert_close(gradient, ours(coefficients, cubes)[1] * weights.view(3, 1, 1).double())


def test_several_blocks_of_unequal_size_give_the_sum_over_all_voxels():
    coefficients, cubes = random_coefficients(3, 17, batch=1, components=50), random_cubes(17, 3, 1)
    assert cpu.BLOCK_NUMBERS < 17**3 * 50
    for value, expected in zip(ours(coefficients, cubes), reference(coefficients, cubes), strict=True):
        assert difference(value, expected) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_has_the_same_bits_whatever_the_batch_it_comes_in(dtype):
    coefficients = random_coefficients(3, 16, batch=5, components=50).to(dtype)
    cubes = random_cubes(16, 3, 5)
    losses, gradient = ours(coefficients, cubes)
    for part in (slice(0, 1), slice(1, 2), slice(2, 5), slice(4, 5)):
        some_losses, some_gradient = ours(coefficients[part], cubes[part])
        assert torch.equal(some_losses, losses[part])
        assert torch.equal(some_gradient, gradient[part])


def test_without_gradients_the_losses_are_the_same_bits_and_nothing_is_recorded():
    coefficients, cubes = random_coefficients(3, 8).requires_grad_(), random_cubes(8, 3)
    with torch.no_grad():
        losses = MixtureLoss(8, 3)(coefficients, cubes)
    assert not losses.requires_grad
    assert torch.equal(losses, ours(coefficients, cubes)[0])


def test_a_component_too_far_away_to_be_seen_changes_nothing():
    coefficients = random_coefficients(3, 8).float()
    away = coefficients.clone()
    away[:, 0, -1] = -1e4
    cubes = random_cubes(8, 3)
    torch.testing.assert_close(ours(away, cubes)[0], ours(coefficients[:, 1:], cubes)[0])
    assert float(ours(away, cubes)[1][:, 0].abs().max()) < 1e-25


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", [float("nan"), 1e6])
def test_a_sample_gone_astray_shows_in_its_own_loss_only(kernel, dtype, number):
    coefficients, cubes = random_coefficients(3, 8).to(dtype), random_cubes(8, 3)
    coefficients[1, 0, -1] = number
    finite = torch.isfinite(ours(coefficients, cubes)[0])
    assert finite.tolist() == [True, False, True]


def test_without_triton_a_gpu_falls_back_to_plain_pytorch_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "strongscale.models.density.triton_kernel", None)
    density.kernel_for.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert density.kernel_for("cuda", 50) is plain.sums
        assert density.kernel_for("cuda", 50) is plain.sums
    density.kernel_for.cache_clear()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "Triton" in caplog.text


def test_a_kernel_that_gives_other_numbers_is_refused():
    def wrong(*arguments):
        sums, gradient = plain.sums(*arguments)
        return sums, -gradient

    with pytest.raises(ValueError, match="differ"):
        density.check(wrong, torch.device("cpu"), 50)
    density.check(cpu.sums, torch.device("cpu"), 50)


def cases():
    """Coefficients and cubes of 1, 2 and 3 dimensions, of one and two parts, tame and extreme, of several masses."""
    for dimensions, components, spread, mass in [
        (1, 5, 1.0, 1.0),
        (2, 50, 8.0, 2.5),
        (3, 7, 60.0, 6.3),
        (3, 70, 1.0, 9.0),
    ]:
        for dtype in (torch.float32, torch.float64):
            coefficients = random_coefficients(
                dimensions, WIDTH[dimensions], components=components, spread=spread, mass=mass
            )
            loss = MixtureLoss(WIDTH[dimensions], dimensions)
            parts = loss.parts(coefficients.to(dtype) * loss.scale.to(dtype))
            yield parts, random_cubes(WIDTH[dimensions], dimensions).flatten(1), loss.monomials


@needs_triton
def test_the_triton_kernel_agrees_with_float64_in_the_interpreter(tmp_path):
    numbers = {
        f"{index}/{name}": tensor.numpy()
        for index, case in enumerate(cases())
        for name, tensor in zip(("parts", "cubes", "monomials"), case, strict=True)
    }
    np.savez(tmp_path / "in.npz", **numbers)
    command = [sys.executable, ROOT / "tests" / "triton_interpreter.py", tmp_path / "in.npz", tmp_path / "out.npz"]
    variables = environment() | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, env=variables, check=True, timeout=120)
    answers = np.load(tmp_path / "out.npz")
    for index, case in enumerate(cases()):
        sums, gradient = plain.sums(*(tensor.double() for tensor in case), True)
        tolerance = 1e-5 if case[0].shape[1] == 2 or index < 2 else 1e-2  # one part: narrow components' digits cancel
        assert difference(torch.from_numpy(answers[f"{index}/sums"]), sums) < tolerance
        assert difference(torch.from_numpy(answers[f"{index}/gradient"]), gradient) < tolerance
        assert np.array_equal(answers[f"{index}/sums"], answers[f"{index}/without"])


@needs_gpu
def test_the_kernel_of_a_gpu_agrees_with_float64():
    for case in cases():
        kernel = density.kernel_for("cuda", case[0].shape[2])
        assert kernel is not plain.sums
        values = kernel(*(tensor.cuda() for tensor in case), True)
        for value, expected in zip(values, plain.sums(*(tensor.double() for tensor in case), True), strict=True):
            assert difference(value.cpu(), expected) < (1e-5 if case[0].shape[1] == 2 else 1e-2)
