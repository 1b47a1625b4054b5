"""The search for the edge with real runs, tiny ones: from a study's settings to learning_rate.json."""

import itertools
import json
import os
import signal

import pytest
from conftest import TINY_MODEL

from strongscale.common.files import read_json
from strongscale.common.schema import plain
from strongscale.recovery.interrupt import EXIT_STATUS
from strongscale.settings.cells import search_part
from strongscale.settings.config import Edge, Study, Training
from strongscale.training.loop import Trainer
from strongscale.tuning import edge

STUDY = Study(
    dataset="tiny",
    strategies={},
    model=TINY_MODEL,
    training=Training(batch_size=8, learning_rate="edge", target=None, evaluation_chunk=4),
    edge=Edge(between=(0.003, 0.3), epochs=8, seeds=(101, 102), resolution=4),
    clock="emulated",
)


@pytest.fixture
def search(tmp_path, tiny_dataset):
    """A function that searches in a study's folder; what it wrote."""

    def run(name):
        output = tmp_path / "results" / name / "learning_rate.json"
        told = ["--settings", json.dumps(plain(search_part(STUDY))), "--dataset", str(tiny_dataset / "dataset.json")]
        edge.main([*told, "--output", str(output)])
        return read_json(output)

    return run


def results_of(folder):
    """When each trial's result was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("edge/trials/*/*/result.json")}


def test_short_runs_find_a_bracket_and_lie_in_folders_of_their_own(search, tmp_path, capsys):
    found = search("one")
    lower, upper = found["bracket"]
    assert found["learning_rate"] == lower
    assert 0.003 <= lower < upper <= 4 * lower
    assert found["reference_loss"] < 0.8 * found["constant_loss"]
    assert {one["learning_rate"]: one["passes"] for one in found["tries"]}[upper] is False
    assert found["in_words"] in capsys.readouterr().out
    assert len(results_of(tmp_path / "results" / "one")) >= sum(one["seeds"] for one in found["tries"])


def test_a_search_that_is_ended_and_started_again_trains_nothing_twice_and_finds_the_same(
    search, tmp_path, monkeypatch
):
    whole, tell, epochs = search("whole"), Trainer._tell, itertools.count(1)

    def end_after_some_epochs(trainer):
        tell(trainer)
        if next(epochs) == 3 * STUDY.edge.epochs - 2:  # in the third trial
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_tell", end_after_some_epochs)
    with pytest.raises(SystemExit) as left:
        search("ended")
    assert left.value.code == EXIT_STATUS
    before = results_of(tmp_path / "results" / "ended")
    assert len(before) == 2
    assert search("ended") == whole
    after = results_of(tmp_path / "results" / "ended")
    assert {path: after[path] for path in before} == before
    assert sorted(read_json(path)["attempts"] for path in after)[-2:] == [1, 2]
