"""The density layer against torch.distributions, against float64, and against numerical gradients."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from strongscale.models.deepdensity import DeepDensity
from strongscale.models.density import mixture

WIDTH = {1: 16, 2: 16, 3: 8}


def random_parameters(dimensions, components=5, batch=3, spread=1.0, dtype=torch.float64):
    """log-weights, means, deviations, partial correlations, as the heads would give them."""
    generator = torch.Generator().manual_seed(dimensions)
    pairs = dimensions * (dimensions - 1) // 2

    def normal(*shape):
        return spread * torch.randn(batch, components, *shape, generator=generator, dtype=dtype)

    sigma = 0.07 + 0.93 * torch.sigmoid(normal(dimensions))
    partial = mixture.MAX_CORRELATION * torch.sigmoid(normal(pairs))
    return torch.log_softmax(normal(), 1), torch.tanh(normal(dimensions)), sigma, partial


def correlation_matrix(partial, dimensions):
    """Equation (6)'s correlations, written out from the partial ones."""
    matrix = torch.eye(dimensions, dtype=partial.dtype).expand(*partial.shape[:-1], dimensions, dimensions).clone()
    if dimensions >= 2:
        matrix[..., 0, 1] = matrix[..., 1, 0] = partial[..., 0]
    if dimensions == 3:
        r12, r13, p = partial.unbind(-1)
        r23 = r12 * r13 + p * torch.sqrt((1 - r12**2) * (1 - r13**2))
        matrix[..., 0, 2] = matrix[..., 2, 0] = r13
        matrix[..., 1, 2] = matrix[..., 2, 1] = r23
    return matrix


def reference(log_alpha, mu, sigma, partial, points):
    """The mixture by torch.distributions."""
    dimensions = mu.shape[-1]
    covariance = correlation_matrix(partial, dimensions) * sigma.unsqueeze(-1) * sigma.unsqueeze(-2)
    normals = MultivariateNormal(mu, covariance)
    together = MixtureSameFamily(Categorical(logits=log_alpha), normals)
    return torch.stack([together.log_prob(point.expand(len(mu), dimensions)).exp() for point in points], dim=1)


@pytest.mark.parametrize("spread", [0.3, 1.0, 8.0, 60.0])  # 60: softmax, tanh and sigmoid are all saturated
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_density_agrees_with_torch_distributions(dimensions, spread):
    parameters = random_parameters(dimensions, spread=spread)
    points = mixture.grid(WIDTH[dimensions], dimensions)
    ours = mixture.density(mixture.coefficients(*parameters), mixture.monomials(points))
    torch.testing.assert_close(ours, reference(*parameters, points), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("spread", [0.3, 1.0, 8.0, 60.0])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_float32_stays_close_to_float64(dimensions, spread):
    parameters = random_parameters(dimensions, spread=spread)
    points = mixture.monomials(mixture.grid(WIDTH[dimensions], dimensions))
    exact = mixture.density(mixture.coefficients(*parameters), points)
    single = mixture.density(mixture.coefficients(*[p.float() for p in parameters]), points.float())
    assert torch.isfinite(single).all()
    assert float((single - exact).abs().max() / exact.max()) < (1e-5 if spread <= 1 else 1e-2)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_any_partial_correlations_make_a_positive_definite_matrix(dimensions):
    partial = random_parameters(dimensions, spread=100.0)[3]
    matrix = correlation_matrix(partial, dimensions)
    assert float(torch.linalg.eigvalsh(matrix).min()) > 0


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_gradients_agree_with_numerical_ones(dimensions):
    parameters = [p.requires_grad_() for p in random_parameters(dimensions, components=2, batch=2)]
    points = mixture.monomials(mixture.grid(4, dimensions))
    assert torch.autograd.gradcheck(lambda *p: mixture.density(mixture.coefficients(*p), points), parameters)


def test_the_batched_product_for_gpus_has_the_same_values_and_gradients():
    coefficients = mixture.coefficients(*random_parameters(3)).requires_grad_()
    points = mixture.monomials(mixture.grid(6, 3))
    batched = torch.matmul(coefficients, points).exp().sum(1)
    (expected,) = torch.autograd.grad(batched.square().sum(), coefficients)
    ours = mixture.density(coefficients, points)
    (gradient,) = torch.autograd.grad(ours.square().sum(), coefficients)
    torch.testing.assert_close(ours, batched)
    torch.testing.assert_close(gradient, expected)


def test_the_density_integrates_to_one():
    width = 200
    parameters = (torch.zeros(1, 1), torch.zeros(1, 1, 1), torch.full((1, 1, 1), 0.1), torch.empty(1, 1, 0))
    values = mixture.density(mixture.coefficients(*parameters), mixture.monomials(mixture.grid(width, 1)).float())
    assert float(values.sum() * 2 / (width - 1)) == pytest.approx(1, abs=1e-4)
    assert float(values.max()) == pytest.approx(1 / (0.1 * math.sqrt(2 * math.pi)), rel=1e-2)


def make(dimensions=3, voxels=16, **settings):
    model = DeepDensity(dimensions=dimensions, **settings).create(voxels)
    model.initialise(torch.Generator().manual_seed(0))
    return model


def test_the_papers_model_has_a_code_of_2048_and_about_1_19_million_parameters():
    model = make(mass="paper")
    assert model.encoder(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 2048)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_191_220


@pytest.mark.parametrize(("dimensions", "numbers"), [(1, 3), (2, 6), (3, 10)])
def test_the_heads_give_the_papers_count_of_numbers(dimensions, numbers):
    assert make(dimensions, mass="paper").decoder.out_features == 50 * numbers


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, {"padding": "same"}, {"filters": (4, 8), "kernels": (3, 5), "components": 7}])
def test_the_model_gives_a_density_of_the_cubes_own_shape(dimensions, settings):
    cubes = torch.rand(2, *(18,) * dimensions)
    prediction = make(dimensions, 18, **settings)(cubes)
    assert prediction.shape == cubes.shape
    assert bool((prediction >= 0).all())


def test_initial_weights_depend_on_the_seed_alone():
    first, second = make(), make()
    torch.manual_seed(99)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_saturated_heads_still_give_finite_gradients():
    model = make()
    with torch.no_grad():
        noise = torch.randn(501, generator=torch.Generator().manual_seed(1))
        model.decoder.bias.copy_(noise * torch.cat([torch.full((500,), 1e3), torch.ones(1)]))
    model(torch.rand(2, 16, 16, 16)).sum().backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in model.parameters())
