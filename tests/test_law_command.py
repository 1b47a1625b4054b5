"""The command about batch sizes answers in two sentences first, in words where there is no number, and writes whole files."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import environment
from law_fixtures import BATCHES, law_runs

from strongscale.advice import law_check, law_command
from strongscale.advice.runs import Runs
from strongscale.common.errors import UserError


@pytest.fixture
def advise(tmp_path, capsys):
    """A function that puts runs through the command; what it prints."""

    def ask(runs, *options):
        path = tmp_path / "runs.csv"
        columns = {"batch": runs.batches_N, "steps": runs.steps_N, "reached": runs.reached_N.astype(int)}
        pd.DataFrame(columns).to_csv(path, index=False)
        law_command.main(["--data", str(path), *map(str, options)])
        return capsys.readouterr().out

    return ask


def changed(runs, batch, factor=1.0, *, reached=True):
    """The same runs, those at one batch otherwise."""
    here_N = runs.batches_N == batch
    return Runs(
        batches_N=runs.batches_N,
        steps_N=np.where(here_N, factor, 1.0) * runs.steps_N,
        reached_N=runs.reached_N & (reached | ~here_N),
    )


def test_the_answer_comes_first(advise):
    words = advise(law_runs(spread=0.03))
    first = words.split("\n\n")[1]
    assert first.startswith("However large the batch, S_min = ")
    assert "on a doubling saves less than 10 % of the steps" in first


def test_what_the_data_leave_open_is_said_in_words(advise):
    assert "B_c is at least" in advise(law_runs(critical=1e6))
    assert "B_c is at most" in advise(law_runs(critical=0.1))


def test_a_critical_batch_outside_the_data_is_called_so(advise):
    words = advise(law_runs(spread=0.001, critical=10 * BATCHES[-1]))
    assert "they are twice as many, by the law alone, for that is outside the data." in words


def test_where_no_run_arrived_is_said(advise):
    words = advise(changed(law_runs(spread=0.03), BATCHES[-1], 5, reached=False))
    assert "At a batch of 2048 no run reached the target" in words
    assert "it doesn't hold there" in words


def test_where_steps_rise_is_said(advise):
    words = advise(changed(law_runs(spread=0.03), BATCHES[-1], 3), "--ask", 3000)
    assert "at 2048, beyond noise" in words
    assert "the law doesn't hold from a batch of 2048 on" in words


def test_a_rise_of_single_runs_is_said(advise):
    words = advise(changed(law_runs(spread=0.01, seeds=1), BATCHES[-1], 2))
    assert "with one run a batch nobody can tell" in words


def test_too_few_batches_left_are_no_law(advise, tmp_path):
    runs = law_runs(batches=BATCHES[:3])
    words = advise(changed(runs, BATCHES[2], reached=False), "--json", tmp_path / "law.json")
    assert "These runs have no law of batch size" in words
    assert "At a batch of 128 no run reached" in words or "at a batch of 128 no run reached" in words
    assert json.loads((tmp_path / "law.json").read_text())["law"] is None


def test_a_batch_too_far_outside_has_no_number(advise, tmp_path):
    words = advise(law_runs(), "--ask", 4096, 100000, "--json", tmp_path / "law.json")
    assert "too far outside the data" in words
    near, far = json.loads((tmp_path / "law.json").read_text())["asked"]
    assert near["steps"]["low"] < near["steps"]["value"] < near["steps"]["high"]
    assert far["steps"] is None


def test_open_ends_are_null_for_a_program(advise, tmp_path):
    advise(law_runs(critical=1e6), "--json", tmp_path / "law.json")
    law = json.loads((tmp_path / "law.json").read_text())["law"]
    assert law["critical_batch"]["high"] is None
    assert law["least_steps"]["low"] is None


@pytest.mark.parametrize("early", [False, True])
def test_a_folder_gets_the_page_and_the_figure(advise, tmp_path, early):
    words = advise(law_runs(cap=8000 if early else np.inf), "--output", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"law.md", "law.svg", "law.pdf", "law.png"}
    assert (tmp_path / "out" / "law.md").read_text().startswith(words)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--least-gain", "0.5"], "--least-gain: 0.5; allowed: above 0 and below 0.5"),
        (["--least-gain", "nan"], "--least-gain: nan"),
        (["--ask", "0"], "--ask: 0; allowed: a number above 0"),
        (["--samples-in-epoch", "-1"], "--samples-in-epoch: -1"),
    ],
)
def test_options_that_make_no_sense_are_refused(advise, tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        advise(law_runs(), *options, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bad_table_is_one_line_and_nothing_written(tmp_path):
    (tmp_path / "runs.csv").write_text("batch,steps\n8,9\n")
    command = [sys.executable, "-m", "strongscale.advice", "law", "--data", str(tmp_path / "runs.csv")]
    command += ["--output", str(tmp_path / "out"), "--json", str(tmp_path / "law.json")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "runs of 1 batch sizes" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


def test_the_check_counts_what_was_held():
    found = law_check.table(3, law_check.TRUTHS[:1])
    assert len(found) == len(law_check.SIZES) * len(law_check.SEEDS)
    assert set(found["no answer"]) == {"0 %"}
