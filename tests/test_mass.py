"""The mass of the decoder's mixture, its least deviation, and a start that is as bright as the samples."""

import math

import pytest
import torch

from strongscale import models
from strongscale.common.errors import UserError
from strongscale.models import density
from strongscale.models.deepdensity import DeepDensity
from strongscale.models.density import cpu, plain
from strongscale.tasks.autoencoding import msle

DIMENSIONS = [1, 2, 3]
MASSES = ["unit", "paper", 3.5, "learnt"]
SMALL = {"components": 3, "filters": (2,), "kernels": (3,)}


def make(dimensions, voxels=8, seed=0, brightness=None, **settings):
    model = DeepDensity(dimensions=dimensions, **SMALL | settings).create(voxels)
    models.initialise(model, seed, brightness)
    return model


def narrow_numbers(model):
    """Heads that put all components in the cube's middle, two voxels wide."""
    alpha, mu, sigma, rho, mass = (torch.zeros(1, size, dtype=torch.float64) for size in model.heads)
    sigma += math.log(0.1)
    return torch.cat([alpha, mu, sigma, rho - 20, mass + math.log(7.0)], dim=1)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize(
    ("mass", "expected"),
    [("unit", [1, 1, 1]), ("paper", [1, math.sqrt(2 * math.pi), 2 * math.pi]), (3.5, [3.5] * 3), ("learnt", [7] * 3)],
)
def test_the_density_integrates_to_its_mass(dimensions, mass, expected):
    model = make(dimensions, 64, mass=mass, smallest_sigma=0.5).double()
    integral = float(model.decode(narrow_numbers(model)).sum()) * (2 / 63) ** dimensions
    assert integral == pytest.approx(expected[dimensions - 1], rel=1e-4)


def test_only_a_learnt_mass_needs_another_output():
    assert [make(3, mass=mass).decoder.out_features for mass in MASSES] == [30, 30, 30, 31]


@pytest.mark.parametrize("kernel", [cpu.sums, plain.sums])
@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("mass", MASSES)
def test_losses_and_gradients_of_the_heads_are_those_of_the_reconstruction(monkeypatch, kernel, dimensions, mass):
    monkeypatch.setattr(density, "kernel_for", lambda device_type, components: kernel)
    model = make(dimensions, mass=mass).double()
    cubes = torch.rand(2, *(8,) * dimensions, dtype=torch.float64)
    found = torch.autograd.grad(model.losses(cubes).sum(), model.decoder.bias)[0]
    expected = torch.autograd.grad(msle(model(cubes), cubes).sum(), model.decoder.bias)[0]
    torch.testing.assert_close(model.losses(cubes), msle(model(cubes), cubes), rtol=1e-5, atol=0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("mass", MASSES)
def test_gradients_of_the_heads_agree_with_numerical_ones(dimensions, mass):
    model = make(dimensions, 5, mass=mass).double()
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randn(2, sum(model.heads), dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(model.decode, numbers)


@pytest.mark.parametrize("smallest", [0.05, 0.5, 2.0])
def test_no_deviation_is_below_the_least(smallest):
    model = make(3, 16, smallest_sigma=smallest)
    *_, sigma, _ = model.parameters_of_mixture(torch.full((1, sum(model.heads)), -50.0))
    assert float(sigma.min()) == float(sigma.max()) == pytest.approx(smallest * 2 / 15)


def test_a_least_deviation_as_wide_as_the_cube_is_refused():
    with pytest.raises(UserError, match=r"smallest_sigma: 8 is not allowed; allowed: less than half of 16 voxels"):
        make(3, 16, smallest_sigma=8.0)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("brightness", [0.01, 0.2, 0.9])
def test_a_learnt_mass_starts_as_bright_as_the_samples(dimensions, brightness):
    model = make(dimensions, 16, mass="learnt", brightness=brightness)
    assert float(model(torch.zeros(1, *(16,) * dimensions)).detach().mean()) == pytest.approx(brightness, rel=1e-5)


@pytest.mark.parametrize(("mass", "brightness"), [("paper", 0.35), ("paper", 0.6), (2.0, 0.15), ("unit", 0.1)])
def test_a_fixed_mass_is_spread_until_it_is_as_bright_as_the_samples(mass, brightness):
    model = make(3, 16, mass=mass, brightness=brightness)
    assert float(model(torch.zeros(1, 16, 16, 16)).detach().mean()) == pytest.approx(brightness, rel=1e-4)


@pytest.mark.parametrize(("mass", "brightness"), [("paper", 0.01), ("unit", 0.5)])
def test_a_fixed_mass_that_cannot_be_so_bright_or_dim_comes_near_and_can_still_learn(mass, brightness):
    model, untouched = (make(3, 16, mass=mass, brightness=value) for value in (brightness, None))
    ours, plain_start = (float(one(torch.zeros(1, 16, 16, 16)).detach().mean()) for one in (model, untouched))
    assert abs(ours - brightness) < abs(plain_start - brightness)
    assert float(model.decoder.bias.detach().abs().max()) <= 2


def test_without_a_brightness_all_biases_are_zero():
    assert not make(3, mass="learnt").decoder.bias.any()


def test_a_model_that_knows_no_start_begins_as_it_is_drawn():
    class Plain(torch.nn.Linear):
        def initialise(self, generator):
            """All ones."""
            torch.nn.init.ones_(self.weight)

    model = Plain(1, 1, bias=False)
    models.initialise(model, 0, 0.2)
    assert model.weight.item() == 1
