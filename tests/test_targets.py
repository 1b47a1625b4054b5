"""When runs arrive, at which of three targets, what it costs, and what is worth it."""

import math

import pandas as pd
import pytest
from analysis_fixtures import (
    CONSTANT_LOSS,
    collapsed,
    converged,
    exhausted,
    not_finite,
    paper_study,
    write_study,
)

from strongscale.analysis.decisions import Option, is_on_front, options_of
from strongscale.analysis.load import load
from strongscale.analysis.ratios import contrast, expected_s, log_ratio, spread_of
from strongscale.analysis.statistics import time_to_target
from strongscale.analysis.tables import main as write_tables
from strongscale.analysis.targets import arrival, at_target, targets_of
from strongscale.inference.contrast import NOTHING
from strongscale.inference.spread import Spread

TWO = {"strategies": {"strong": {}, "weak": {}}, "workers": [1, 2], "edge": {}}


def epochs(losses, epoch_s=2.0):
    number = range(1, len(losses) + 1)
    return pd.DataFrame(
        {
            "epoch": number,
            "samples": [100 * one for one in number],
            "validation_loss": losses,
            "time_s": [epoch_s * one for one in number],
        }
    )


def test_arrival_is_at_an_epochs_end_and_between_two_on_the_logarithm():
    found = arrival(epochs([0.4, 0.1, 0.2, 0.025]), 0.05)
    assert (found.epoch, found.samples, found.time_s) == (4, 400, 8.0)
    assert found.between_s == pytest.approx(6 + 2 * 0.5)  # half the way from 0.1, the least so far, to 0.025


def test_the_first_epoch_counts_whole_for_nobody_knows_where_it_begins():
    assert arrival(epochs([0.1]), 0.2).between_s == 2.0
    assert arrival(epochs([0.1]), 0.05) is None


def test_losses_that_are_no_numbers_are_not_below_a_target():
    assert arrival(epochs([0.4, math.nan, 0.1]), 0.2).epoch == 3
    assert arrival(epochs([math.nan]), 0.2) is None


def test_easier_targets_lie_between_the_constants_and_the_studys_own(tmp_path):
    runs = load(write_study(tmp_path, paper_study(**TWO)))
    easiest, easier, own = targets_of(runs)
    assert own == runs.sequential[0].result.target_loss
    limit = 0.8 * CONSTANT_LOSS
    assert limit > easiest > easier > own
    assert math.log(limit / easiest) == pytest.approx(math.log(easiest / easier))
    times = [time_to_target(at_target(runs, target).of("weak", 2)).median for target in (easiest, easier, own)]
    assert times == sorted(times)
    assert times[0] < times[2] == time_to_target(runs.of("weak", 2)).median


def test_a_run_that_diverged_later_reached_an_easier_target_first(tmp_path):
    def script(cell):
        return collapsed(cell) if cell.strategy == "weak" else converged(cell)

    runs = load(write_study(tmp_path, paper_study(**TWO), script))
    (run,) = at_target(runs, 0.031).of("weak", 2)
    assert run.result.converged
    assert run.result.epochs_to_target == 1
    (run,) = at_target(runs, 1e-9).of("strong", 2)
    assert run.result.status == "exhausted"
    assert run.result.time_to_target_s is None


def test_ratios_are_of_times_between_epochs(tmp_path):
    def script(cell):
        return converged(cell, 1.3 if cell.strategy == "weak" else 1.0)

    runs = load(write_study(tmp_path, paper_study(**TWO, seeds=[1, 2]), script))
    (weak, *_), (strong, *_) = runs.of("weak", 2), runs.of("strong", 2)
    own = log_ratio(strong, weak)
    assert math.exp(own.low) == pytest.approx(weak.result.between_s / strong.result.between_s)
    assert weak.result.between_s < weak.result.time_to_target_s or weak.result.between_s == pytest.approx(
        weak.result.time_to_target_s
    )


def test_what_never_arrived_is_a_bound(tmp_path):
    endings = {"strong": converged, "weak": exhausted, "linear": not_finite}

    def script(cell):
        return endings.get(cell.strategy, converged)(cell)

    runs = load(write_study(tmp_path, paper_study(**(TWO | {"strategies": dict.fromkeys(endings, {})})), script))
    strong, weak, linear = (runs.of(line, 2)[0] for line in endings)
    assert math.exp(log_ratio(strong, weak).low) == pytest.approx(weak.result.time_s / strong.result.between_s)
    assert log_ratio(strong, linear).low == math.inf
    assert log_ratio(linear, strong).high == -math.inf
    assert log_ratio(weak, linear) == NOTHING
    assert contrast([strong], [], Spread()).pairs == ()


def test_expected_time_counts_what_failures_cost(tmp_path):
    def script(cell):
        return collapsed(cell) if (cell.strategy, cell.seed) == ("weak", 1) else converged(cell)

    runs = load(write_study(tmp_path, paper_study(**TWO, seeds=[1, 2]), script))
    failed, arrived = runs.of("weak", 2)
    expected = failed.result.time_s + arrived.result.time_to_target_s
    assert expected_s([failed, arrived]) == pytest.approx(expected)
    assert expected_s([failed]) == math.inf


def test_nothing_on_the_front_is_beaten_in_both():
    def option(workers, time_s):
        return Option(line="strong", workers=workers, time=None, expected_s=time_s, num_reached=1, num_runs=1)

    one, two, four, never = option(1, 100.0), option(2, 60.0), option(4, 61.0), option(8, math.inf)
    options = [one, two, four, never]
    assert [is_on_front(each, options) for each in options] == [True, True, False, False]


def test_one_worker_is_one_option_whatever_line_it_stands_in(tmp_path):
    runs = load(write_study(tmp_path, paper_study(**TWO)))
    assert [(option.line, option.workers) for option in options_of(runs)] == [
        ("sequential", 1),
        ("strong", 2),
        ("weak", 2),
    ]


def test_tables_tell_ratios_targets_and_decisions(tmp_path):
    folder = write_study(tmp_path, paper_study(**TWO, seeds=[1, 2, 3]))
    write_tables(["--study", str(folder)])
    tables = {name: pd.read_csv(folder / "tables" / f"{name}.csv") for name in ("ratios", "targets", "decisions")}
    against = tables["ratios"].set_index(["strategy", "against"])["times_as_fast"]
    assert against["weak", "one worker"] < against["strong", "one worker"]
    assert against["weak", "strong"] < 1
    assert len(tables["targets"]) == 4 * 3
    assert tables["decisions"]["is_on_front"].tolist()[:2] == [True, True]
    assert "one seed" not in (folder / "tables" / "ratios.md").read_text()


def test_a_study_without_a_target_says_so(tmp_path):
    training = {"learning_rate": 0.003, "target": None, "max_epochs": 80}
    folder = write_study(tmp_path, paper_study(**TWO, training=training), exhausted)
    write_tables(["--study", str(folder)])
    assert "has no target" in (folder / "tables" / "targets.md").read_text()
    assert spread_of(load(folder)) == Spread()
