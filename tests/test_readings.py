"""Readings of the paper, judged by the runs of studies made up on disk."""

import math

import pandas as pd
import pytest
from analysis_fixtures import NULL_LOSS, Outcome, paper_study, write_study

from strongscale.analysis import readings
from strongscale.analysis.paper import ETA
from strongscale.common.errors import UserError
from strongscale.settings.cells import is_rate_name, rate_of

DEAD = 0.7
TRAINED = {ETA: {1: [0.2, 0.1, 0.06, 0.04], 2: [0.2, 0.1, 0.06, 0.04]}}
FAILING = {0.0021: {1: [0.3, 1.0], 2: [math.nan]}}


def make(root, shares, name="reading_a", max_epochs=4, epochs=2, **model):
    """A study whose runs have these losses, as shares of predicting zero's, by rate and seed."""

    def script(cell):
        own = shares[rate_of(cell.strategy) if is_rate_name(cell.strategy) else ETA][cell.seed]
        losses = tuple(NULL_LOSS * share for share in own)
        if not math.isfinite(losses[-1]):
            return Outcome("diverged", losses, 1.0, "not finite")
        collapsed = own[-1] in (DEAD, 1.0)
        return Outcome("diverged" if collapsed else "exhausted", losses, 1.0, "collapsed" if collapsed else None)

    study = paper_study(
        strategies={"strong": {}},
        workers=[1],
        seeds=sorted(shares[ETA]),
        training={"learning_rate": ETA, "target": None, "max_epochs": max_epochs},
        edge={"rates": [rate for rate in shares if rate != ETA], "epochs": epochs},
        model={"mass": "paper", "start": "zero"} | model,
    )
    return write_study(root, study, script, name)


@pytest.fixture
def study(tmp_path):
    """At the paper's rate both seeds train; at twice that one predicts zero and one becomes infinite."""
    return make(tmp_path, TRAINED | FAILING)


def test_rates_are_compared_over_the_epochs_that_all_were_given(study):
    tried = readings.read(study)
    assert readings.loss_shares(tried.at(ETA), tried.epochs) == pytest.approx([0.1, 0.1])
    assert readings.loss_shares(tried.at(ETA)) == pytest.approx([0.04, 0.04])


def test_a_longer_run_at_one_rate_does_not_make_another_rate_worse(tmp_path):
    folder = make(tmp_path, {ETA: {1: [0.2, 0.1, 0.06, 0.04]}, 0.0021: {1: [0.2, 0.1]}})
    assert readings.read(folder).largest_rate() == 0.0021


def test_how_runs_fail_is_told_beside_what_the_paper_states(study):
    verdict = readings.verdict_of(readings.read(study))
    assert verdict["largest rate that trains"] == "0.00105"
    assert verdict["failing runs end"] == "1 infinite, 1 predicts zero"
    assert verdict["loss at 0.00105, of zero's"] == "4.0 % (4.0 to 4.0)"
    assert verdict.keys() == readings.STATED.keys()


def test_losses_that_are_no_numbers_are_the_worst(study):
    assert readings.loss_shares(readings.read(study).at(0.0021)) == pytest.approx([0.3, math.inf])


def test_a_collapse_elsewhere_is_another_constant(tmp_path):
    tried = readings.read(make(tmp_path, {ETA: {1: [DEAD, DEAD]}, 0.0021: {1: [0.2, 0.1]}}))
    assert [readings.collapse_of(run) for run in tried.at(ETA)] == ["another constant"]


def test_a_study_at_one_rate_counts_its_dead_starts(tmp_path):
    starts = {seed: [DEAD, DEAD] if seed < 3 else [0.5, 0.2] for seed in range(1, 6)}
    folder = make(tmp_path, {ETA: starts}, "start_a", max_epochs=2)
    assert readings.starts_of(readings.read(folder))["dead"] == "2 of 5"


def test_a_learning_curve_is_of_the_best_so_far_and_ends_where_the_runs_do(study):
    curve = readings.curve_of(readings.read(study))
    assert [curve[epoch] for epoch in ("1", "2", "5")] == ["20.0 %", "10.0 %", ""]


def test_the_page_and_the_table_have_all_readings(study, tmp_path):
    model = {"mass": "learnt", "start": "mean", "smallest_sigma": 0.05}
    other = make(tmp_path, {ETA: {1: [0.5, 0.2]}}, "start_b", max_epochs=2, **model)
    readings.main([str(study), str(other), "--output", str(tmp_path / "out"), "--command", "snakemake readings"])
    page = (tmp_path / "out" / "readings.md").read_text()
    assert "Made by `snakemake readings`." in page
    assert "mass paper, zero biases" in page
    assert "mass learnt, start at the mean brightness, sigma down to 0.05 voxel" in page
    assert "10.0 %, 2 of 2" in page
    assert "0 of 2 (infinite, predicts zero)" in page
    assert "0 of 1" in page.split("## Dead starts")[1]
    assert len(pd.read_csv(tmp_path / "out" / "readings.csv")) == 5


def test_runs_of_rates_that_the_study_no_longer_tries_are_not_judged(study, tmp_path):
    left = study / "cells" / "rate_0.5" / "01workers" / "seed1"
    left.mkdir(parents=True)
    (left / "result.json").write_text("{}")
    assert readings.read(study).rates == [ETA, 0.0021]


def test_a_study_without_the_papers_rate_is_told_so(tmp_path):
    folder = write_study(tmp_path, paper_study())
    with pytest.raises(UserError, match="no run at the learning rate 0.00105, which the paper states; try that too"):
        readings.read(folder)
