"""Models whose losses depend on more than weights and the sample are refused by name, before anything is trained."""

import copy
import re

import pytest
import torch
from torch import nn

from strongscale.common.errors import UserError
from strongscale.distributed.world import World
from strongscale.models.deepdensity import DeepDensity
from strongscale.training import suitability
from strongscale.training.run import train

CUBES = torch.rand(5, 4, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _same_weights():
    """Whatever ran before: by bad luck weights may hide what is between them."""
    torch.manual_seed(1)


class Model(nn.Module):
    """Two convolutions, with what is given between them."""

    def __init__(self, between):
        super().__init__()
        self.first, self.between, self.last = nn.Conv3d(1, 4, 3, padding=1), between, nn.Conv3d(4, 1, 1)

    def forward(self, cubes):
        return self.last(self.between(self.first(cubes[:, None])))[:, 0]

    def losses(self, cubes):
        return (self(cubes) - cubes).square().mean((1, 2, 3))

    def initialise(self, generator):
        pass


class Function(nn.Module):
    """What no list of layers knows."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(self, x)


class Counting(nn.Module):
    """A buffer of its own that a pass changes, without a change of the losses."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        return x


def check(model, samples=CUBES):
    suitability.check(model, lambda model, batch: model.losses(*batch), (samples,), "model.kind: 'mine'")


BY_KIND = {
    nn.BatchNorm3d(4): "takes its mean over the samples of a batch",
    nn.SyncBatchNorm(4): "takes its mean over the samples of a batch",
    nn.BatchNorm3d(4, track_running_stats=False): "takes its mean over the samples of a batch",
    nn.InstanceNorm3d(4, track_running_stats=True): "keeps a running mean",
    nn.Dropout(0.5): "draws random numbers",
    nn.Dropout3d(0.5): "draws random numbers",
    nn.AlphaDropout(0.5): "draws random numbers",
    nn.RReLU(): "draws random slopes",
}


@pytest.mark.parametrize(("layer", "why"), BY_KIND.items(), ids=lambda value: str(value).partition("(")[0])
def test_a_layer_that_computes_otherwise_in_training_is_refused_by_name(layer, why):
    with pytest.raises(UserError) as told:
        check(Model(nn.Sequential(nn.ReLU(), layer)))
    words = f"model.kind: 'mine': its layer between.1 ({type(layer).__name__}) {why}"
    assert str(told.value).startswith(words)
    assert "\n" not in str(told.value)


BY_TRYING = {
    "dropout": (lambda self, x: nn.functional.dropout(x, 0.5), "a forward pass draws random numbers"),
    "only in training": (
        lambda self, x: 2 * x if self.training else x,
        "its losses in eval() aren't those in training",
    ),
    "of the batch": (lambda self, x: x - x.mean(0), "a sample's loss depends on the samples beside it"),
    "norm": (
        lambda self, x: nn.functional.batch_norm(x, None, None, training=True),
        "a sample's loss depends on the samples beside it",
    ),
}


@pytest.mark.parametrize(("function", "why"), BY_TRYING.values(), ids=BY_TRYING.keys())
def test_what_no_list_knows_is_found_by_trying(function, why):
    with pytest.raises(UserError, match=re.escape(f"model.kind: 'mine': {why}")):
        check(Model(Function(function)))


def test_a_buffer_that_a_pass_changes_is_named():
    with pytest.raises(UserError, match="a forward pass changes its buffer between.passes"):
        check(Model(Counting()))


def test_losses_that_change_by_themselves_are_found():
    numbers = iter(range(100))
    with pytest.raises(UserError, match="have other losses the second time"):
        check(Model(Function(lambda self, x: x + next(numbers))))


def test_one_loss_for_all_samples_is_refused():
    with pytest.raises(UserError, match=r"losses of the shape \(\); allowed: one loss a sample"):
        suitability.check(Model(nn.ReLU()), lambda model, batch: model.losses(*batch).mean(), (CUBES,), "mine")


FINE = [
    nn.GroupNorm(2, 4),
    nn.InstanceNorm3d(4),
    nn.Dropout(0.0),
    nn.LeakyReLU(),
]


@pytest.mark.parametrize("layer", FINE, ids=lambda layer: type(layer).__name__)
def test_others_are_taken_and_neither_they_nor_chance_are_changed(layer):
    model = Model(layer)
    before, chance = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    check(model)
    check(model, CUBES[:1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), chance)
    assert model.training


def test_losses_that_are_not_finite_at_the_start_are_refused():
    with pytest.raises(UserError, match="its losses aren't finite at the start: nan, nan, nan"):
        check(Model(Function(lambda self, x: x * torch.nan)))


def test_a_parameter_that_no_gradient_reaches_is_named():
    model = Model(nn.ReLU())
    model.forgotten = nn.Linear(2, 2)
    with pytest.raises(UserError, match="no gradient reaches its parameter forgotten.weight; use it in the loss"):
        check(model)


def test_losses_that_are_cut_off_from_the_parameters_are_refused():
    with pytest.raises(UserError, match="no gradient reaches its parameters: its losses are computed without them"):
        suitability.check(Model(nn.ReLU()), lambda model, batch: model.losses(*batch).detach(), (CUBES,), "mine")


def test_a_frozen_parameter_is_named():
    model = Model(nn.ReLU())
    model.last.bias.requires_grad_(False)
    with pytest.raises(UserError, match=r"its parameter last.bias is frozen \(requires_grad=False\); make it a buffer"):
        check(model)


def test_a_model_without_parameters_is_refused():
    with pytest.raises(UserError, match="it has no parameters"):
        suitability.check(nn.Identity(), lambda model, batch: batch[0].mean((1, 2, 3)), (CUBES,), "mine")


def test_a_run_with_such_a_model_is_refused_before_it_trains(make_cell, monkeypatch):
    monkeypatch.setattr(DeepDensity, "create", lambda self, voxels: Model(nn.BatchNorm3d(4)))
    folder = make_cell("strong", 2)
    with pytest.raises(UserError, match=r"its layer between \(BatchNorm3d\) takes its mean .* take GroupNorm"):
        train(folder, World())
    assert not (folder / "epochs.csv").exists()
    assert not (folder / "result.json").exists()
