"""What cells take from the data and from other runs, before they are trained."""

import json
import logging
import shutil
from dataclasses import replace

import pytest
from conftest import TINY_MODEL
from torch import nn

from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import build, plain
from strongscale.data.dataset import brightness_of, load, loss_without_input
from strongscale.distributed.world import World
from strongscale.models.deepdensity import DeepDensity
from strongscale.settings.config import Study
from strongscale.training import prepare, setup
from strongscale.training.run import train


def write(output, dataset, **settings):
    """Write study.json or a cell.json, as the rules do."""
    raw = {"dataset": "tiny", "strategies": {"weak": {}}, "workers": [1, 2, 8]} | settings
    study = plain(build(Study, raw, "study"))
    options = ["--settings", json.dumps(study), "--output", str(output), "--dataset", str(dataset / "dataset.json")]
    prepare.main(options)


@pytest.mark.parametrize("name", ["study.json", "cells/weak/02workers/seed1/cell.json"])
@pytest.mark.parametrize("dimensions", [1, 3])
def test_a_target_that_a_constant_output_reaches_is_refused(tmp_path, tiny_dataset, name, dimensions):
    constant = loss_without_input("constant_loss", tiny_dataset / "dataset.json", dimensions)
    model = {"dimensions": dimensions}
    words = (
        rf"training\.target: .* is not allowed; allowed: less than {constant:.6g}, which the best constant output has"
    )
    with pytest.raises(UserError, match=words):
        write(tmp_path / "mine" / name, tiny_dataset, model=model, training={"target": 1.001 * constant})
    assert not (tmp_path / "mine" / name).exists()
    write(tmp_path / "mine" / name, tiny_dataset, model=model, training={"target": 0.999 * constant})


def test_a_minibatch_that_takes_all_samples_is_told_in_the_plan(tmp_path, tiny_dataset, capsys):
    write(tmp_path / "mine" / "study.json", tiny_dataset, training={"batch_size": 25, "target": None})
    said = capsys.readouterr().out
    assert "weak, 8 workers: minibatch 200, larger than the 50 training samples: one step an epoch" in said
    assert "weak, 2 workers: minibatch 50, as large as the 50 training samples" in said
    assert "weak, 1 worker" not in said


def test_a_minibatch_that_takes_all_samples_is_told_in_log_and_result(make_cell, caplog):
    folder = make_cell("weak", 4, max_epochs=1)
    with caplog.at_level(logging.WARNING):
        train(folder, World())
    assert "minibatch 64, larger than the 50 training samples" in caplog.text
    result = json.loads((folder / "result.json").read_text())
    assert (result["minibatch"], result["num_training"]) == (64, 50)


def test_a_model_that_draws_no_weights_itself_starts_from_the_seed(make_cell, monkeypatch):
    """PyTorch's own layers draw theirs when they are made."""

    def create(self, voxels):
        numbers = voxels**3
        return nn.Sequential(nn.Flatten(), nn.Linear(numbers, numbers), nn.Softplus(), nn.Unflatten(1, (voxels,) * 3))

    monkeypatch.setattr(DeepDensity, "create", create)
    names = {"one": 1, "again": 1, "other": 2}
    one, again, other = (
        setup.prepare(make_cell("sequential", name=name, seed=seed), World()).flat.digest()
        for name, seed in names.items()
    )
    assert one == again != other


def test_a_start_at_the_mean_brightness_knows_it_from_the_data_set_in_its_own_dimensions(make_cell, tiny_dataset):
    told = read_json(tiny_dataset / "dataset.json")["brightness"]["3"]["training"]
    assert read_json(make_cell("sequential") / "cell.json")["brightness"] == told
    cubes = load(tiny_dataset).training
    assert told == pytest.approx(float(cubes.mean()))
    assert read_json(tiny_dataset / "dataset.json")["brightness"]["2"]["training"] == pytest.approx(
        float(cubes[:, 4].mean())
    )


def test_other_starts_do_not_depend_on_the_brightness(make_cell):
    folder = make_cell("sequential", model=replace(TINY_MODEL, start="zero"))
    assert read_json(folder / "cell.json")["brightness"] is None


def test_a_data_set_of_an_earlier_version_is_told_to_be_made_anew(make_cell, tmp_path, tiny_dataset):
    old = tmp_path / "old"
    shutil.copytree(tiny_dataset, old)
    summary = read_json(old / "dataset.json")
    del summary["brightness"]
    write_json(old / "dataset.json", summary)
    with pytest.raises(UserError, match=r"no brightness in 3 dimensions; remove it and run again"):
        brightness_of(old / "dataset.json", 3)
