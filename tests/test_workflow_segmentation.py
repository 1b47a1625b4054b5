"""A study whose samples are made of a data set, planned by Snakemake and made by hand."""

import json
import time

import pytest
import yaml
from benchmarks.by_hand import ByHand
from masked_fixtures import TINY, write_masked
from workflow_fixtures import plan, snakemake

from strongscale.settings.config_file import parse

STUDY = {
    "dataset": "balls",
    "task": TINY | {"filters": 4},
    "clock": "emulated",
    "max_ranks": 1,
    "workers": [1, 2],
    "strategies": {"strong": {}, "weak": {}},
    "training": {
        "batch_size": 8,
        "learning_rate": 0.03,
        "target": {"sequential_epochs": 12, "pilots": [7]},
        "max_epochs": 15,
        "reduction": "exact",
    },
}
CUBES = {"voxels": 8, "voxel_mm": 2.0, "masks": True}
CONFIG = {"study": "mine", "datasets": {"balls": {"phantom": {}, "cubes": CUBES}}, "studies": {"mine": STUDY}}
MADE = "results/mine/receipts/samples.json"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def test_samples_are_made_after_the_data_set_and_before_any_run(folder):
    jobs = plan(folder, MADE, config="mine.yaml")
    assert jobs.outputs["samples"] == [[MADE]]
    assert {"cubes", "dataset"} <= jobs.rules
    assert "samples" in plan(folder, "results/mine/study.json", config="mine.yaml").rules


def test_the_stage_is_told_where_the_data_set_lies(folder):
    said = snakemake(folder, "--dry-run", "--printshellcmds", MADE, config="mine.yaml").stdout
    assert "--dataset results/datasets/balls --output" in said


def test_the_study_has_its_measures_and_the_data_sets_quality(folder):
    assert {"measures", "quality"} <= plan(folder, config="mine.yaml").rules


@pytest.mark.slow
def test_a_whole_study_is_made_by_hand(tmp_path):
    by_hand = ByHand(parse(CONFIG), "mine", tmp_path / "results", until_s=time.monotonic() + 600)
    write_masked(tmp_path / "results" / "datasets" / "balls", 20, 8)
    by_hand.timings()
    by_hand.matrix()
    by_hand.analyse()
    assert "dice" in (by_hand.folder / "tables" / "measures.csv").read_text()
    assert (by_hand.folder / "figures" / "measures.png").exists()
    assert (by_hand.folder / "tables" / "machines.md").exists()
    assert "samples of the task segmentation, of balls" in (by_hand.folder / "tables" / "measures.md").read_text()
    told = json.loads((by_hand.folder / "study.json").read_text())
    assert told["dataset_provenance"] == "samples of the task segmentation, of balls"
