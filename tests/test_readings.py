"""Readings of the paper, judged by the runs of studies made up on disk."""

import json

import pandas as pd
import pytest

from strongscale.analysis import readings
from strongscale.errors import UserError

NULL, CONSTANT = 1.0, 0.3
MODEL = {"mass": "paper", "smallest_sigma": 0.5, "start": "zero"}


def write_run(study, rate, seed, losses, status="exhausted"):
    folder = study / "cells" / f"rate_{rate}" / "01workers" / f"seed{seed}"
    folder.mkdir(parents=True)
    rows = [f"{epoch},{loss}" for epoch, loss in enumerate(losses, 1)]
    (folder / "epochs.csv").write_text("\n".join(["epoch,validation_loss", *rows]) + "\n")
    finite = [loss for loss in losses if loss < float("inf")]
    result = {
        "learning_rate": rate,
        "seed": seed,
        "status": status,
        "diverged_because": "collapsed" if status == "diverged" else None,
        "epochs": len(losses),
        "target_loss": None,
        "best_validation_loss": min(finite, default=None),
        "final_validation_loss": losses[-1] if losses[-1] < float("inf") else None,
        "null_loss": NULL,
        "constant_loss": CONSTANT,
    }
    (folder / "result.json").write_text(json.dumps(result))


def write_study(root, name="reading_a", rates=(0.0021,), max_epochs=4, epochs=2, **model):
    settings = {
        "dataset": "nodules",
        "model": MODEL | model,
        "training": {"max_epochs": max_epochs},
        "edge": {"rates": list(rates), "epochs": epochs, "tolerance": 0.15},
    }
    (root / name).mkdir(parents=True)
    (root / name / "study.json").write_text(json.dumps(settings))
    return root / name


@pytest.fixture
def study(tmp_path):
    """At the paper's rate both seeds train; at twice that one predicts zero and one becomes infinite."""
    folder = write_study(tmp_path)
    for seed in (1, 2):
        write_run(folder, 0.00105, seed, [0.2, 0.1, 0.06, 0.04])
    write_run(folder, 0.0021, 1, [0.4, 1.0], "diverged")
    write_run(folder, 0.0021, 2, [float("inf")], "diverged")
    return folder


def test_rates_are_compared_over_the_epochs_that_all_were_given(study):
    tried = readings.read(study)
    assert readings.loss_shares(tried.at(0.00105)) == [0.1, 0.1]
    assert readings.loss_shares(tried.at(0.00105), "longest") == [0.04, 0.04]


def test_a_longer_run_at_one_rate_does_not_make_another_rate_worse(tmp_path):
    folder = write_study(tmp_path)
    write_run(folder, 0.00105, 1, [0.2, 0.1, 0.06, 0.04])
    write_run(folder, 0.0021, 1, [0.2, 0.1])
    assert readings.read(folder).largest_rate() == 0.0021


def test_how_runs_fail_is_told_beside_what_the_paper_states(study):
    verdict = readings.verdict_of(readings.read(study))
    assert verdict["largest rate that trains"] == "0.00105"
    assert verdict["failing runs end"] == "1 infinite, 1 predicts zero"
    assert verdict["loss at 0.00105, of zero's"] == "4.0 % (4.0 to 4.0)"
    assert verdict.keys() == readings.STATED.keys()


def test_a_collapse_elsewhere_is_another_constant(tmp_path):
    folder = write_study(tmp_path)
    write_run(folder, 0.00105, 1, [0.7, 0.7], "diverged")
    assert readings.collapse_of(readings.read(folder).runs[0]) == "another constant"


def test_a_study_at_one_rate_counts_its_dead_starts(tmp_path):
    folder = write_study(tmp_path, "start_a", rates=())
    for seed in range(1, 6):
        dead = seed < 3
        write_run(folder, 0.00105, seed, [0.7, 0.7] if dead else [0.5, 0.2], "diverged" if dead else "exhausted")
    assert readings.starts_of(readings.read(folder))["dead"] == "2 of 5"


def test_a_learning_curve_is_of_the_best_so_far_and_ends_where_the_runs_do(study):
    curve = readings.curve_of(readings.read(study))
    assert [curve[epoch] for epoch in ("1", "2", "5")] == ["20.0 %", "10.0 %", ""]


def test_the_page_and_the_table_have_all_readings(study, tmp_path):
    other = write_study(tmp_path, "start_b", rates=(), mass="learnt", start="mean", smallest_sigma=0.05)
    write_run(other, 0.00105, 1, [0.5, 0.2])
    readings.main([str(study), str(other), "--output", str(tmp_path / "out"), "--command", "snakemake readings"])
    page = (tmp_path / "out" / "readings.md").read_text()
    assert "Made by `snakemake readings`." in page
    assert "mass paper, zero biases" in page
    assert "mass learnt, start at the mean brightness, sigma down to 0.05 voxel" in page
    assert "10.0 %, 2 of 2" in page
    assert "0 of 2 (infinite, predicts zero)" in page
    assert "0 of 1" in page.split("## Dead starts")[1]
    assert len(pd.read_csv(tmp_path / "out" / "readings.csv")) == 5


def test_a_study_without_results_is_told_so(tmp_path):
    folder = write_study(tmp_path)
    with pytest.raises(UserError, match="no results; make them with `snakemake readings`"):
        readings.read(folder)
