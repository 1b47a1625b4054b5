"""Optimizers that go by layers, against their papers' equations in NumPy."""

import numpy as np
import pytest
import torch

from strongscale.optimizers.lamb import Lamb
from strongscale.optimizers.lars import Lars

LAYERS = [slice(0, 6), slice(6, 8), slice(8, 12)]
START = np.random.default_rng(1).normal(size=12)
RATE = 0.05


def lars(w, gradients, momentum, trust, decay):
    """Algorithm 1 of You, Gitman and Ginsburg, with the trust coefficient of its equation 6."""
    v = 0 * w
    for g in gradients:
        for layer in LAYERS:
            norm = np.linalg.norm(w[layer])
            local = trust * norm / (np.linalg.norm(g[layer]) + decay * norm)
            v[layer] = momentum * v[layer] + RATE * local * (g[layer] + decay * w[layer])
        w = w - v
    return w


def lamb(w, gradients, beta1, beta2, epsilon, decay):
    """Algorithm 2 of You et al., with the identity for phi."""
    m, v = 0 * w, 0 * w
    for t, g in enumerate(gradients, start=1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        r = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon) + decay * w
        step = r.copy()
        for layer in LAYERS:
            step[layer] *= np.linalg.norm(w[layer]) / np.linalg.norm(r[layer])
        w = w - RATE * step
    return w


def moved(optimizer, gradients, start=START, rate=RATE):
    """The weights after a step by each of these gradients."""
    weights = torch.tensor(start, dtype=torch.float32)
    state = optimizer.start(weights)
    for gradient in gradients:
        optimizer.step(weights, torch.tensor(gradient, dtype=torch.float32), state, rate, LAYERS)
    return weights.numpy()


@pytest.fixture
def gradients():
    """Seven, of layers of very different sizes."""
    return np.random.default_rng(2).normal(size=(7, 12)) * np.repeat([1, 100, 0.01], [6, 2, 4])


@pytest.mark.parametrize(("trust", "decay"), [(0.001, 0.0005), (0.5, 0.1), (0.02, 0.0)])
def test_lars_is_the_papers(gradients, trust, decay):
    found = moved(Lars(momentum=0.8, trust=trust, weight_decay=decay), gradients)
    np.testing.assert_allclose(found, lars(START, gradients, 0.8, trust, decay), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("decay", [0.01, 0.0])
def test_lamb_is_the_papers(gradients, decay):
    found = moved(Lamb(beta1=0.8, beta2=0.99, weight_decay=decay), gradients)
    np.testing.assert_allclose(found, lamb(START, gradients, 0.8, 0.99, 1e-6, decay), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [Lars(), Lamb()])
def test_a_layer_of_zeros_moves_and_one_without_a_gradient_stays_finite(optimizer, gradients):
    start = np.where(np.arange(12) < 6, 0, START)
    gradients[:, 6:8] = 0
    found = moved(optimizer, gradients, start)
    assert np.isfinite(found).all()
    assert (found[:6] != 0).all()


@pytest.mark.parametrize("optimizer", [Lars(), Lamb()])
def test_the_rate_may_be_a_tensor(optimizer, gradients):
    """As where a step is recorded on a GPU."""
    found = moved(optimizer, gradients, rate=torch.tensor(RATE))
    np.testing.assert_allclose(found, moved(optimizer, gradients), rtol=1e-5)


@pytest.mark.parametrize(("optimizer", "rate"), [(Lars(), 20.0), (Lamb(), 0.02)])
def test_a_run_with_it_learns(run_cell, optimizer, rate):
    trainer = run_cell("strong", 2, optimizer=optimizer, learning_rate=rate)
    assert trainer.epoch_log.validation[-1] < trainer.epoch_log.validation[0]
