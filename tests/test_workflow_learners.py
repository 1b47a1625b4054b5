"""A study whose learners are as many as pay, through Snakemake: from timings to the cells that take the number."""

import json

import pytest
import yaml
from workflow_fixtures import jobs_of, plan, snakemake

CELL = "results/mine/cells/sma/02workers/seed1"


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a study on handwritten digits."""
    return with_study(tmp_path)


def with_study(folder, **settings):
    mine = {
        "like": "digits",
        "workers": [2],
        "strategies": {"sma": {"parameters": {"learners": "auto"}}},
        "training": {"learning_rate": 0.01, "target": None, "max_epochs": 1},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump({"study": "mine", "studies": {"mine": mine | settings}}))
    return folder


@pytest.mark.parametrize("clock", [{}, {"clock": "wall", "max_ranks": None}])
def test_timings_are_measured_before_the_cell_that_takes_their_number(folder, clock):
    with_study(folder, **clock)
    assert {"timings", "cell"} <= plan(folder, f"{CELL}/cell.json", config="mine.yaml").rules


def test_a_number_that_is_given_needs_no_timings(folder):
    with_study(folder, strategies={"sma": {"parameters": {"learners": 2}}})
    assert "timings" not in plan(folder, f"{CELL}/cell.json", config="mine.yaml").rules


@pytest.mark.slow
def test_timings_of_other_work_are_one_line(folder):
    with_study(folder, timings="two_cores")
    told = snakemake(folder, f"{CELL}/cell.json", config="mine.yaml")
    assert told.returncode == 1
    assert "Traceback" not in told.stdout
    assert "two_cores.json: its seconds are of task" in (folder / CELL / "cell.log").read_text()
    assert not (folder / CELL / "cell.json").exists()


@pytest.mark.slow
def test_the_number_is_in_the_cells_settings_and_all_that_was_tried_in_a_table(folder):
    jobs_of(snakemake(folder, f"{CELL}/receipt.json", "results/mine/tables/timings.csv", config="mine.yaml"))
    number = json.loads((folder / CELL / "cell.json").read_text())["parameters"]["learners"]
    (measured,) = folder.glob("results/timings/*/timings.json")
    tried = [
        one["learners"]
        for one in json.loads(measured.read_text())["learners"]
        if one["samples"] == 32 * one["learners"]
    ]
    assert tried[:1] == [1]
    assert number in tried
    assert "a step of 2 learners" in (folder / "results/mine/tables/timings.csv").read_text()
    assert plan(folder, f"{CELL}/receipt.json", config="mine.yaml").outputs == {}
