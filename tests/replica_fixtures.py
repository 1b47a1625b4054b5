"""Update rules whose learners hold weights of their own, on a model that NumPy knows as well."""

import contextlib

import numpy as np
import torch

from strongscale.common.schema import build
from strongscale.distributed.world import World
from strongscale.gradients.engine import Engine
from strongscale.gradients.flat import FlatParameters
from strongscale.gradients.passes import Passes
from strongscale.gradients.reduction import ExactReduction, FastReduction
from strongscale.optimizers.sgd import Sgd
from strongscale.strategies.base import Plan
from strongscale.updates.base import Update

CURVES = np.array([0.5, 1.0, 2.0])
START = np.array([1.0, -2.0, 3.0])
RATE = 0.1
STEPS, BATCH = 12, 12

RULES = {
    "sma": {"kind": "sma", "learners": 2, "every": 2, "alpha": 0.3, "momentum": 0.8},
    "local": {"kind": "local", "every": 2},
    "diloco": {"kind": "diloco", "every": 2},
    "easgd": {"kind": "easgd", "every": 2},
}
"""One of each, as config.yaml would have it."""


class Bowl(torch.nn.Module):
    """Its gradient for a sample x is curves · (w - x)."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(START, dtype=torch.float32))

    def forward(self, samples):
        return (torch.tensor(CURVES, dtype=torch.float32) / 2 * (self.weight - samples).square()).sum(1)


class NoLaps:
    """Nobody asks how long it takes."""

    def computing(self, samples):
        return contextlib.nullcontext()

    communicating = updating = contextlib.nullcontext


def begun(rule, workers, samples, *, microbatch=None, optimizer=None, measures=False):
    """An update rule on a bowl with these samples, before its first step."""
    model = Bowl()
    flat = FlatParameters(model)
    common = (flat, Passes(flat, lambda batch: model(*batch)), World(), workers, measures)
    reduction = ExactReduction(*common, microbatch=microbatch) if microbatch else FastReduction(*common)
    update = build(Update, rule, "update")
    data = (torch.tensor(samples, dtype=torch.float32),)
    update.begin(Engine(data, flat, reduction, optimizer or Sgd(momentum=0.0), NoLaps()))
    return update


def centres(update, rates, batch):
    """The weights that count after each step, of minibatches in the samples' own order: (steps, 3)."""
    found = []
    for number, rate in enumerate(rates):
        update.step(torch.arange(number * batch, (number + 1) * batch), Plan(batch, rate))
        found.append(update.engine.flat.values.detach().double().numpy().copy())
    return np.array(found)


def drawn(steps, batch, seed=0):
    """Samples for so many steps: (steps · batch, 3)."""
    return np.random.default_rng(seed).normal(size=(steps * batch, 3))


def gradients(weights, samples, learners):
    """Of each learner's share at its own weights: (learners, 3)."""
    return CURVES * (weights - samples.reshape(learners, -1, 3).mean(1))
