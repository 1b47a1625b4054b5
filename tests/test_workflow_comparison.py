"""A comparison of studies, through Snakemake: from its name to its pages."""

import pandas as pd
import pytest
import yaml
from workflow_fixtures import jobs_of, plan, snakemake

SMALL = {
    "like": "digits",
    "workers": [2],
    "strategies": {"strong": {}, "weak": {}, "sma": {}},
    "training": {"learning_rate": 0.003, "target": 1.5, "max_epochs": 3},
}


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a comparison of two small studies on handwritten digits."""
    slower = SMALL | {"training": SMALL["training"] | {"learning_rate": 0.001}}
    raw = {
        "study": "mine",
        "studies": {"fast": SMALL, "slow": slower},
        "comparisons": {"mine": {"studies": {"at 0.003": "fast", "at 0.001, with a comma": "slow"}}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(raw))
    return tmp_path


def test_a_comparison_trains_the_cells_of_all_its_studies(folder):
    found = plan(folder, config="mine.yaml")
    studies = {output.split("/")[1] for (output, *_) in found.outputs["train"]}
    assert studies == {"fast", "slow"}
    assert {"comparison", "comparison_figure"} <= found.rules


def test_a_study_that_is_not_in_a_comparison_has_no_figure_there(folder):
    told = snakemake(folder, "--dry-run", "results/mine/figures/digits.png", config="mine.yaml")
    assert "comparison mine: no study digits; allowed: slow, fast" in told.stdout
    assert "Traceback" not in told.stdout


@pytest.mark.slow
def test_a_comparison_is_made_and_a_second_time_nothing_is(folder):
    jobs_of(snakemake(folder, config="mine.yaml"))
    leaders = pd.read_csv(folder / "results/mine/tables/leaders.csv")
    assert set(leaders["study"]) == {"at 0.003", "at 0.001, with a comma"}
    assert (folder / "results/mine/figures/slow.png").exists()
    assert plan(folder, config="mine.yaml").outputs == {}
