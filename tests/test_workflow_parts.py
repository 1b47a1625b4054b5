"""Users' own parts through Snakemake: one file, named in a study, from samples to result."""

import json
import re

import pytest
import yaml
from conftest import ROOT
from workflow_fixtures import jobs_of, plan, snakemake

README = (ROOT / "README.md").read_text(encoding="utf-8")
TASK = re.search(r"`tumours\.py`.*?```python\n(.*?)```", README, re.DOTALL)[1]
STRATEGY = re.search(r"`squareroot\.py`.*?```python\n(.*?)```", README, re.DOTALL)[1]
CELL = "results/tumours/cells/squareroot/02workers/seed1"


@pytest.fixture
def folder(tmp_path):
    """A user's folder with a task and a strategy, both of their own, and a study beside one that is broken."""
    (tmp_path / "tumours.py").write_text(TASK)
    (tmp_path / "squareroot.py").write_text(STRATEGY)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    training = {"learning_rate": 0.01, "target": None, "max_epochs": 2}
    mine = {"like": "digits", "task": "tumours.py", "workers": [2], "training": training}
    studies = {
        "tumours": mine | {"strategies": {"squareroot": {"kind": "squareroot.py"}}},
        "broken": mine | {"strategies": {"mine": {"kind": "broken.py"}}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"study": "tumours", "studies": studies}))
    return tmp_path


def test_a_broken_file_stops_the_study_that_names_it_in_one_line_and_no_other(folder):
    planned = plan(folder, config="mine.yaml")
    assert {"samples", "train", "tables"} <= planned.rules
    assert not {"cubes", "dataset", "quality", "reconstructions"} & planned.rules
    told = snakemake(folder, "--dry-run", "--config", "study=broken", config="mine.yaml")
    assert told.returncode != 0
    assert "config: broken.py: line 1: ModuleNotFoundError: No module named 'nothing_of_this_name'" in told.stdout
    assert "Traceback" not in told.stdout


@pytest.mark.slow
def test_ones_own_task_and_strategy_are_trained_and_an_edit_trains_again(folder):
    target = f"{CELL}/receipt.json"
    assert "samples" in jobs_of(snakemake(folder, target, config="mine.yaml")).rules
    result = json.loads((folder / CELL / "result.json").read_text())
    assert result["code"].keys() >= {"tumours.py", "squareroot.py"}
    assert result["minibatch"] == 64
    assert plan(folder, target, config="mine.yaml").outputs == {}
    (folder / "squareroot.py").write_text(STRATEGY.replace("sqrt(progress.workers) * base.rate", "base.rate"))
    again = jobs_of(snakemake(folder, target, config="mine.yaml"))
    assert again.rules == {"cell", "train"}
    other = json.loads((folder / CELL / "result.json").read_text())
    assert other["settings_hash"] != result["settings_hash"]
    assert other["final_validation_loss"] != result["final_validation_loss"]
