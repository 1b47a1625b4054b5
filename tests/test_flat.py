"""One buffer for all parameters, and one for all gradients, each in the parameter's own order in memory."""

import pytest
import torch
from torch import nn

from strongscale import models
from strongscale.gradients.flat import FlatParameters


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 3, 2), nn.Conv3d(3, 4, (1, 2, 2)), nn.Flatten(), nn.Linear(48, 5))


@pytest.mark.parametrize("laid_out", [False, True])
def test_values_shapes_and_orders_stay(model, laid_out):
    if laid_out:
        models.lay_out(model)
    before = [(parameter.detach().clone(), parameter.stride()) for parameter in model.parameters()]
    flat = FlatParameters(model)
    assert flat.values.numel() == sum(value.numel() for value, _ in before)
    for parameter, (value, stride) in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.is_contiguous() or parameter.stride() == stride
        assert parameter.grad.stride() == parameter.stride()


def test_a_model_that_is_laid_out_computes_the_same(model):
    cubes = torch.rand(2, 1, 4, 4, 4)
    expected = model(cubes)
    expected_gradients = torch.autograd.grad(expected.sum(), list(model.parameters()))
    models.lay_out(model)
    flat = FlatParameters(model)
    assert [model[layer].weight.stride(1) for layer in (0, 1)] == [1, 1]  # a single channel too
    assert model[3].weight.T.is_contiguous()
    result = model(cubes)
    torch.testing.assert_close(result, expected)
    flat.fill_gradient(torch.autograd.grad(result.sum(), flat.parameters))
    for parameter, expected_gradient in zip(model.parameters(), expected_gradients, strict=True):
        torch.testing.assert_close(parameter.grad, expected_gradient)


def test_gradients_are_filled_in_whatever_order_they_come(model):
    models.lay_out(model)
    flat = FlatParameters(model)
    gradients = [torch.rand(parameter.shape) for parameter in flat.parameters]
    flat.fill_gradient(gradients)
    for parameter, gradient, part in zip(flat.parameters, gradients, flat.split(flat.gradient), strict=True):
        assert torch.equal(parameter.grad, gradient)
        assert torch.equal(part, gradient)
