"""A study without Snakemake: stages are called once, in order, until time is up."""

import json
import time

import pytest
import yaml
from benchmarks import gpu
from benchmarks.by_hand import ROOT, ByHand, OutOfTime

from strongscale.common.errors import UserError
from strongscale.settings.config_file import parse

TINY = """
study: tiny
datasets: {none: {phantom: {}}}
studies:
  tiny:
    task: digits
    clock: emulated
    max_ranks: 1
    workers: [1, 2]
    strategies: {strong: {}, weak: {}}
    training:
      {learning_rate: 0.01, target: {sequential_epochs: 1, pilots: [7]}, max_epochs: 2, reduction: exact, batch_size: 256,
       evaluation_chunk: 100}
"""


@pytest.fixture
def by_hand(tmp_path):
    config = parse(yaml.safe_load(TINY))
    return ByHand(config, "tiny", tmp_path / "results", until_s=time.monotonic() + 600)


def test_a_stage_whose_work_is_there_is_not_called_again(by_hand, tmp_path):
    page = tmp_path / "settings.md"
    by_hand.stage("settings.page", page, makes=page)
    page.write_text("mine")
    by_hand.stage("settings.page", page, makes=page)
    assert page.read_text() == "mine"
    by_hand.stage("settings.page", page)
    assert page.read_text() != "mine"


def test_a_stage_that_was_cut_off_is_called_again_though_something_of_its_work_is_there(by_hand, tmp_path):
    page = tmp_path / "settings.md"
    page.write_text("half")
    by_hand.stage("settings.page", page, makes=page)
    assert page.read_text() != "half"


def test_a_stage_that_fails_is_told_with_the_end_of_its_log(by_hand):
    with pytest.raises(RuntimeError, match=r"(?s)analysis\.tables failed with status 1: see .*no such file"):
        by_hand.stage("analysis.tables", "--study", "nowhere")


def test_no_stage_begins_when_time_is_up(by_hand, tmp_path):
    by_hand.until_s = time.monotonic()
    with pytest.raises(OutOfTime):
        by_hand.stage("settings.page", tmp_path / "settings.md")
    assert not (tmp_path / "settings.md").exists()


def test_a_study_that_the_configuration_lacks_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="--study: 'nothing' is not allowed; allowed: .*quick"):
        gpu.main(["--output", str(tmp_path / "out"), "--study", "nothing", "--config", str(ROOT / "config.yaml")])


@pytest.mark.slow
def test_a_whole_study_is_made_and_a_second_call_trains_nothing(by_hand):
    told = []
    (timings,) = by_hand.timings()
    assert json.loads(timings.read_text())["origin"] == "measured"
    by_hand.matrix(told.append)
    by_hand.analyse()
    assert told == ["1 runs: pilots", "1 runs: sequential", "1 runs: scaled"]
    assert (by_hand.folder / "tables" / "machines.md").exists()
    assert (by_hand.folder / "cells/strong/02workers/seed1/clock.json").exists()
    results = sorted(by_hand.folder.rglob("result.json"))
    before = [path.stat().st_mtime_ns for path in results]
    by_hand.matrix(told.append)
    assert len(results) == 3
    assert [path.stat().st_mtime_ns for path in results] == before
