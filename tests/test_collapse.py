"""Whether a model has collapsed: measured on its outputs, in every run alike."""

import json

import numpy as np
import pytest
import torch
from conftest import mpirun
from torch import nn

from strongscale.distributed.world import World
from strongscale.models.deepdensity import DeepDensity
from strongscale.settings.config import Collapse
from strongscale.training import collapse, samples, setup
from strongscale.training.run import train

AT_ONCE = Collapse(min_steps=0)
CUBES = torch.rand(19, 4, 4, 4, generator=torch.Generator().manual_seed(0))


class Faint(nn.Module):
    """One cube for all, and a share of what each input adds to it."""

    def __init__(self, share, cube=None, noise=0.0):
        super().__init__()
        self.share = share
        self.cube = nn.Parameter(torch.full((4, 4, 4), 0.3) if cube is None else cube)
        self.noise = nn.Dropout(noise)

    def initialise(self, generator):
        """Nothing is drawn."""

    def forward(self, cubes):
        return self.noise(self.cube + self.share * cubes)


@pytest.mark.parametrize(("share", "expected"), [(0.0, True), (9e-7, True), (0.005, True), (0.02, False), (1.0, False)])
def test_an_output_that_hardly_moves_with_its_input_ignores_it(share, expected):
    assert collapse.ignores_input(Faint(share), (CUBES,), chunk=4) is expected


def test_looking_changes_nothing():
    model, before = Faint(0.5, noise=0.5), torch.get_rng_state()
    collapse.ignores_input(model, (CUBES,), chunk=4)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert model.cube.grad is None


def test_samples_that_are_all_the_same_tell_nothing():
    assert not collapse.ignores_input(Faint(0.0), (CUBES[:1],), chunk=4)
    assert not collapse.ignores_input(Faint(0.0), (CUBES[:1].expand(5, -1, -1, -1),), chunk=4)


@pytest.fixture
def best_constant(monkeypatch, tiny_dataset):
    """A model that gives one cube whatever its input: the best for the validation samples."""
    validation = np.load(tiny_dataset / "cubes.npy")[50:].astype(np.float64)
    cube = torch.from_numpy(np.exp(np.log1p(validation).mean(axis=0)) - 1).float()
    monkeypatch.setattr(DeepDensity, "create", lambda settings, voxels: Faint(0.0, cube))


def result_of(folder):
    train(folder, World())
    return json.loads((folder / "result.json").read_text())


def test_a_run_whose_output_is_the_mean_cube_has_collapsed(make_cell, best_constant):
    """Its loss is far below that of predicting zero."""
    result = result_of(make_cell("sequential", max_epochs=9, learning_rate=1e-12, collapse=AT_ONCE))
    assert (result["status"], result["diverged_because"], result["epochs"]) == ("diverged", "collapsed", 6)
    assert result["final_validation_loss"] < 0.5 * result["null_loss"]


def test_a_constant_that_is_lucky_in_the_validation_samples_does_not_converge(make_cell, best_constant):
    folder = make_cell("sequential", max_epochs=2, learning_rate=1e-12, target=1e-9)
    constant = samples.read(folder, setup.read_settings(folder)).constant_loss
    result = result_of(
        make_cell(
            "sequential", name="lucky", max_epochs=2, learning_rate=1e-12, target=0.999 * constant, collapse=AT_ONCE
        )
    )
    assert result["best_validation_loss"] < 0.999 * constant == result["target_loss"]
    assert (result["status"], result["diverged_because"]) == ("diverged", "collapsed")


def test_a_run_of_few_steps_is_not_called_collapsed(make_cell, best_constant):
    result = result_of(make_cell("sequential", max_epochs=9, learning_rate=1e-12))
    assert (result["status"], result["epochs"]) == ("exhausted", 9)


def test_ranks_agree_on_a_collapse(make_cell):
    """At such a rate the first steps leave an output that no longer moves."""
    folders = [
        make_cell("strong", 3, learning_rate=0.1, max_epochs=12, name=f"ranks{ranks}", collapse=AT_ONCE)
        for ranks in (1, 3)
    ]
    train(folders[0], World())
    answer = mpirun(3, "strongscale.training", folders[1])
    assert answer.returncode == 0, answer.stderr
    alone, together = (json.loads((folder / "result.json").read_text()) for folder in folders)
    assert (alone["status"], alone["diverged_because"]) == ("diverged", "collapsed")
    assert [together[key] for key in ("status", "diverged_because", "epochs")] == [
        alone[key] for key in ("status", "diverged_because", "epochs")
    ]
