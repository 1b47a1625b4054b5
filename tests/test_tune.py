"""The rate of a batch size, found by real trials on a tiny data set, and taken by the cells of that batch size."""

import json
import shutil

import pandas as pd
import pytest
from conftest import TINY_MODEL
from status_fixtures import NOW, make_study

from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import build, plain
from strongscale.settings import cells, tuned
from strongscale.settings.cells import Cell
from strongscale.settings.config import Study
from strongscale.settings.tuned import Search
from strongscale.status.snapshot import take
from strongscale.training.prepare import resolve
from strongscale.tuning import table, tune

AROUND = 0.003


def study_with(strategies=("strong", "weak"), **tuning):
    raw = {
        "dataset": "tiny",
        "clock": "emulated",
        "workers": [1, 2],
        "strategies": {line: {} for line in strategies},
        "model": plain(TINY_MODEL),
        "training": {"batch_size": 16, "learning_rate": "tuned", "target": None, "max_epochs": 5, "reduction": "exact"},
        "tuning": {"around": AROUND, "trials": 4, "epochs": 4, "extensions": 1} | tuning,
    }
    return build(Study, raw, "study")


@pytest.fixture
def run(tmp_path, tiny_dataset):
    """A function that tunes a batch size or a line of a tiny study; the path of tuned.json."""
    shutil.copytree(tiny_dataset, tmp_path / "results" / "datasets" / "tiny")

    def run_with(batch, line="sequential", workers=1, **tuning):
        output = tmp_path / "results" / "fair" / Search(batch, line, workers).file
        study = study_with(["strong", "weak", *({line} - {"sequential"})], **tuning)
        options = ["--settings", json.dumps(plain(tuned.own_part(study, line))), "--batch", str(batch)]
        options += ["--line", line, "--workers", str(workers)]
        options += ["--dataset", str(tmp_path / "results" / "datasets" / "tiny" / "dataset.json")]
        tune.main([*options, "--output", str(output)])
        return output

    return run_with


def test_a_batch_size_is_tuned_by_runs_whose_cost_is_counted(run):
    output = run(32)
    told = read_json(output)
    rows = [len(pd.read_csv(path)) for path in output.parent.glob("*/seed201/epochs.csv")]
    assert told["cost_epochs"] == sum(rows)
    assert told["cost_full_runs"] == sum(rows) / 4
    assert len(rows) == told["num_tried"] == 4 + told["num_extensions"]
    finalists = [one for one in told["tried"] if one["is_finalist"]]
    assert told["best_validation_loss"] == min(one["best_validation_loss"] for one in finalists)
    assert (told["epochs"], told["steps"], told["warmup_steps"]) == (4, 8, round(8 * told["warmup"]))


def test_a_line_with_an_update_rule_of_its_own_is_tuned_by_its_own_runs(run):
    output = run(32, "sma", 2, trials=2, epochs=2, extensions=0)
    told = read_json(output)
    assert (told["of"], told["batch"], told["epochs"]) == ("sma, 2 workers", 32, 2)
    cell = read_json(next(output.parent.glob("*/seed201/cell.json")))
    assert (cell["kind"], cell["workers"], cell["training"]["batch_size"]) == ("sma", 2, 16)


def test_a_line_is_searched_at_the_points_of_its_batch_size(run):
    settings = {"trials": 2, "epochs": 1, "extensions": 0}
    tried = [read_json(path)["tried"] for path in (run(32, **settings), run(32, "sma", 2, **settings))]
    assert [{row["learning_rate"] for row in rows} for rows in tried][0] == {row["learning_rate"] for row in tried[1]}


def test_lines_that_differ_by_their_minibatch_alone_are_tuned_once():
    study = study_with(["strong", "weak", "sma", "growing"])
    names = [search.name for search in tuned.searches(study)]
    assert names == ["batch16", "batch32", "growing_01workers", "sma_01workers", "sma_02workers"]
    assert tuned.search_of(study, "growing", 2) == Search(16, "growing")


def test_started_again_the_search_trains_nothing_and_finds_the_same(run, monkeypatch):
    before = read_json(run(32))
    monkeypatch.setattr("strongscale.training.run.train", None)
    assert read_json(run(32)) == before


def test_with_a_budget_of_steps_a_larger_batch_has_more_epochs(run):
    told = read_json(run(32, trials=2, epochs=2, extensions=0, budget="steps"))
    assert (told["epochs"], told["steps"]) == (4, 8)


def test_where_every_run_diverges_the_setting_is_named(run):
    with pytest.raises(UserError, match=r"tuning\.around: batch 16: every run diverged, at rates from .* to"):
        run(16, around=1e30, trials=2)


def test_each_cell_takes_rate_and_warm_up_of_its_batch_size(tmp_path):
    study = study_with()
    assert tuned.searches(study) == [Search(16), Search(32)]
    for batch in (16, 32):
        write_json(tmp_path / Search(batch).file, {"learning_rate": batch / 1000, "warmup_steps": batch})
    expected = {("sequential", 1): 16, ("strong", 2): 16, ("weak", 2): 32, (cells.PILOT, 1): 16}
    for (line, workers), batch in expected.items():
        cell = Cell("fair", line, workers, 1)
        path = tmp_path / tuned.rate_file(study, cell)
        training = resolve(
            study, cell, folder=tmp_path, dataset=tmp_path, dataset_hash="0", learning_rate=path
        ).training
        assert (training.learning_rate, training.warmup_steps) == (batch / 1000, batch)


def test_runs_without_a_warm_up_are_the_same_as_before_there_was_one(make_cell):
    folder = make_cell("sequential")
    raw = read_json(folder / "cell.json")
    identity = build(cells.CellSettings, raw, "cell").identity
    assert "warmup_steps" not in identity["training"]
    raw["training"]["warmup_steps"] = 3
    assert build(cells.CellSettings, raw, "cell").identity["training"]["warmup_steps"] == 3


def test_the_table_tells_what_was_found_and_what_it_cost(run, tmp_path):
    for batch in (16, 32):
        run(batch, trials=2, epochs=1, extensions=0)
    folder = tmp_path / "results" / "fair"
    raw = plain(study_with(trials=2, epochs=1, extensions=0))
    write_json(folder / "study.json", {"name": "fair", "dataset_provenance": "blobs"} | raw)
    (folder / "tables").mkdir()
    table.main(["--study", str(folder)])
    rows = pd.read_csv(folder / "tables" / "tuning.csv")
    assert rows["batch"].tolist() == [16, 32]
    page = (folder / "tables" / "tuning.md").read_text()
    assert f"All of it cost {rows['cost_epochs'].sum()} epochs of training" in page
    assert "as many samples" in page


@pytest.mark.parametrize("strategy", ["strong", "weak"])
def test_a_runs_rate_rises_over_its_first_steps_with_every_strategy(run_cell, strategy):
    trainer = run_cell(strategy, 2, warmup_steps=10, max_epochs=4)
    rates = {epoch.step: epoch.learning_rate / 0.003 for epoch in trainer.epoch_log.epochs}
    assert rates == pytest.approx({step: min(1.0, step / 10) for step in rates})


def test_a_cell_waits_for_the_tuning_of_its_batch_size_and_says_how_far_that_is(tmp_path):
    training = {"learning_rate": "tuned", "target": None, "batch_size": 16}
    _, folder = make_study(tmp_path / "results", training=training, tuning={"around": 0.01})
    trial = folder / "tuning" / "batch16" / "rate0.01_warmup0" / "seed201"
    trial.mkdir(parents=True)
    write_json(trial / "result.json", {})
    words = {one.cell.strategy: one.words for one in take(folder, NOW).cells}
    assert words["sequential"] == "for the tuning of batch 16 (1 full runs done)"
