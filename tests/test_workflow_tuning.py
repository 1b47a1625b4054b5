"""A study whose batch sizes are tuned, through Snakemake: from trials to the cells that take what they found."""

import json

import pandas as pd
import pytest
import yaml
from workflow_fixtures import jobs_of, plan, snakemake

CELL = "results/mine/cells/weak/02workers/seed1"
TARGETS = ("results/mine/tables/tuning.csv", f"{CELL}/receipt.json")


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a study on handwritten digits."""
    mine = {
        "like": "digits",
        "workers": [2],
        "strategies": {"strong": {}, "weak": {}},
        "training": {"learning_rate": "tuned", "target": None, "max_epochs": 2},
        "tuning": {"around": 0.01, "trials": 2, "epochs": 2, "extensions": 1},
    }
    return with_study(tmp_path, mine)


def with_study(folder, mine):
    (folder / "mine.yaml").write_text(yaml.safe_dump({"study": "mine", "studies": {"mine": mine}}))
    return folder


def change(folder, **settings):
    mine = yaml.safe_load((folder / "mine.yaml").read_text())["studies"]["mine"]
    with_study(folder, mine | settings)


def test_every_batch_size_is_tuned_before_the_cells_that_take_its_rate(folder):
    tuned = plan(folder, config="mine.yaml").outputs["tune"]
    assert sorted(tuned) == [[f"results/mine/receipts/tuning.batch{batch}.json"] for batch in (32, 64)]
    only = plan(folder, TARGETS[1], config="mine.yaml").outputs["tune"]
    assert only == [["results/mine/receipts/tuning.batch64.json"]]


def test_a_line_with_an_update_rule_of_its_own_is_tuned_at_each_number_of_workers(folder):
    change(folder, strategies={"strong": {}, "weak": {}, "sma": {}}, workers=[2, 4])
    tuned = plan(folder, config="mine.yaml").outputs["tune"]
    names = ["batch128", "batch32", "batch64", *(f"sma_0{workers}workers" for workers in (1, 2, 4))]
    assert sorted(tuned) == [[f"results/mine/receipts/tuning.{name}.json"] for name in names]


def test_a_batch_size_that_the_study_does_not_have_is_one_line(folder):
    told = snakemake(folder, "--dry-run", "results/mine/receipts/tuning.batch48.json", config="mine.yaml")
    assert "study mine tunes no batch48; allowed: batch32, batch64" in told.stdout
    assert "Traceback" not in told.stdout


@pytest.mark.slow
def test_a_cell_is_trained_at_what_was_found_and_another_seed_of_the_study_tunes_nothing_again(folder):
    jobs_of(snakemake(folder, *TARGETS, config="mine.yaml"))
    found = json.loads((folder / "results/mine/tuning/batch64/tuned.json").read_text())
    training = json.loads((folder / CELL / "cell.json").read_text())["training"]
    assert (training["learning_rate"], training["warmup_steps"]) == (found["learning_rate"], found["warmup_steps"])
    assert pd.read_csv(folder / TARGETS[0])["of"].tolist() == ["batch 32", "batch 64"]
    assert plan(folder, *TARGETS, config="mine.yaml").outputs == {}
    change(folder, seeds=[1, 2])
    assert "tune" not in plan(folder, TARGETS[1].replace("seed1", "seed2"), config="mine.yaml").rules
    change(folder, tuning={"around": 0.02, "trials": 2, "epochs": 2, "extensions": 1})
    assert {"tune", "cell", "train"} <= plan(folder, TARGETS[1], config="mine.yaml").rules
