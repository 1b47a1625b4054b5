"""Every strategy of several studies on one page: ranks with ties, failures, CROSSBOW's claims."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from analysis_fixtures import FIXED_TARGET, as_in_the_paper, converged, paper_study, write_study

from strongscale.analysis.load import load
from strongscale.analysis.targets import in_epochs
from strongscale.common.errors import UserError
from strongscale.comparison import crossbow, figure, page
from strongscale.comparison.ranks import slower
from strongscale.comparison.standings import leaders, on, standings
from strongscale.inference.contrast import NOTHING, Contrast, Known, of_numbers
from strongscale.settings.config_file import parse
from strongscale.settings.margins import margins
from strongscale.timing.timings import Duration, Several

LINES = {"strong": {}, "weak": {}, "linear": {}, "sma": {}}
RAW = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())


def script(cell):
    """Model averaging takes a few epochs more than one worker, weak scaling many more, the linear rule collapses."""
    slowdowns = {"sma": 1.0 + 0.01 * cell.seed, "weak": 2.0}
    return converged(cell, slowdowns[cell.strategy]) if cell.strategy in slowdowns else as_in_the_paper(cell)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    study = paper_study(
        clock="emulated",
        strategies=LINES,
        workers=[1, 2, 4],
        seeds=[1, 2, 3, 4, 5],
        training=FIXED_TARGET,
        edge={"rates": []},
    )
    return write_study(tmp_path_factory.mktemp("made") / "results", study, script)


# --- ranks


NOISE = (0.0, 0.01, -0.01, 0.005, -0.005)


def times_as_long(log_ratio):
    """A line's times over the fastest's, with a little noise from seed to seed."""
    return of_numbers([log_ratio + each for each in NOISE])


def test_what_takes_clearly_longer_than_the_fastest_is_slower_and_what_does_not_is_tied():
    found = slower({"near": times_as_long(0.001), "far": times_as_long(1.0)}, 0.05)
    assert found == {"far"}


def test_runs_that_never_arrive_took_at_least_the_time_they_were_given():
    never = Contrast(tuple(Known(1.0 + each, math.inf) for each in NOISE))
    assert slower({"never": never}, 0.05) == {"never"}


def test_runs_of_which_nothing_is_known_decide_nothing():
    assert slower({"unknown": Contrast((NOTHING,) * 5)}, 0.05) == set()


# --- standings


def test_the_fastest_comes_first_and_those_that_never_arrive_last(folder):
    found = standings(on(load(folder), "infiniband"), 4)
    assert [one.line for one in found][-1] == "linear"
    assert found[-1].arrived == "0 of 5"
    assert found[-1].is_slower
    assert leaders(found)[0] == found[0].line
    assert found[0].to_fastest == ""
    assert found[-1].to_fastest.startswith("at least ")


def test_seconds_hang_on_the_network_and_epochs_do_not(folder):
    slow, fast = (standings(on(load(folder), network), 4) for network in ("gigabit", "infiniband"))
    by_line = [{one.line: one for one in found} for found in (slow, fast)]
    assert by_line[0]["strong"].time.median > by_line[1]["strong"].time.median
    assert by_line[0]["weak"].epochs == by_line[1]["weak"].epochs


def test_epochs_stand_for_seconds_where_those_are_asked_about(folder):
    counted = in_epochs(load(folder))
    run = counted.of("weak", 4)[0]
    assert run.result.time_to_target_s == run.result.epochs_to_target
    assert run.result.epochs_to_target - 1 < run.result.between_s <= run.result.epochs_to_target


def test_one_worker_is_the_sequential_run_whichever_line_comes_first(tmp_path):
    settings = {"clock": "emulated", "strategies": {"sma": {}, "weak": {}}, "workers": [1, 2], "seeds": [1, 2]}
    study = paper_study(**settings, training=FIXED_TARGET, edge={"rates": []})
    runs = load(write_study(tmp_path / "results", study, script))
    assert {run.stands_as for run in runs.sequential} == {"sequential"}


# --- CROSSBOW's claims


def test_crossbows_claims_are_judged_by_the_runs(folder):
    found = {judged.claim: judged for judged in crossbow.judge(load(folder), margins())}
    assert found[crossbow.KEEPS].outcome == "supported"
    assert found[crossbow.FEWER].outcome == "supported"
    assert "weak at 4 workers takes" in found[crossbow.FEWER].verdict.reason


def test_a_model_average_that_takes_many_more_epochs_contradicts_them(tmp_path):
    study = paper_study(
        clock="emulated",
        strategies=LINES,
        workers=[1, 2],
        seeds=[1, 2, 3, 4, 5],
        training=FIXED_TARGET,
        edge={"rates": []},
    )
    slow = write_study(
        tmp_path / "results", study, lambda cell: converged(cell, 3.0 if cell.strategy == "sma" else 1.0)
    )
    assert {judged.outcome for judged in crossbow.judge(load(slow), margins())} == {"contradicted"}


@pytest.mark.parametrize(("seconds", "outcome"), [(0.5, "supported"), (1.0, "contradicted")])
def test_whether_several_learners_raise_the_throughput_is_told_by_timings(folder, seconds, outcome):
    runs = load(folder)
    (timings,) = runs.timings
    assert crossbow.BUSIER not in {judged.claim for judged in crossbow.judge(runs, margins())}
    steps = (*timings.steps, Duration(samples=8, seconds=timings.step_s(8)))
    several = Several(samples=32, learners=4, seconds=seconds * 4 * timings.step_s(8))
    ordered = tuple(sorted(steps, key=lambda one: one.samples))
    runs = replace(runs, timings=(replace(timings, device="GPU", steps=ordered, learners=(several,)),))
    found = {judged.claim: judged for judged in crossbow.judge(runs, margins())}
    assert found[crossbow.BUSIER].outcome == outcome
    assert "4 learners of 8 samples each" in found[crossbow.BUSIER].verdict.reason


# --- the page


def test_the_page_tells_who_leads_and_where_each_fails(folder, tmp_path):
    page.main(["--study", "made up", str(folder), "--networks", "gigabit", "--output", str(tmp_path / "made")])
    tables = {name: pd.read_csv(tmp_path / "made" / "tables" / f"{name}.csv") for name in ("leaders", "failures")}
    assert tables["leaders"]["workers"].tolist() == [2, 4]
    assert set(tables["failures"]["strategy"]) == {"linear"}
    assert "one worker's seconds: CPU: Intel" in (tmp_path / "made" / "tables" / "leaders.md").read_text()
    assert "5 of 5" in (tmp_path / "made" / "tables" / "failures.md").read_text()


def test_the_figure_has_a_panel_a_strategy(folder, tmp_path):
    figure.main(["--study", "made up", str(folder), "--output", str(tmp_path)])
    drawn = (tmp_path / "figures" / "small.svg").read_text()
    assert all(f">{line}</text>" in drawn for line in LINES)
    assert "0/5" in drawn


def test_a_study_on_the_wall_clock_is_refused(tmp_path):
    folder = write_study(tmp_path / "results", paper_study(training=FIXED_TARGET, edge={"rates": []}))
    with pytest.raises(UserError, match="its clock is wall; allowed"):
        page.member("made up", folder, ["gigabit"])


# --- settings


def test_seconds_on_a_network_are_labelled_with_it(folder):
    assert "gigabit network model" in on(load(folder), "gigabit").label
    assert "ten_gigabit" not in on(load(folder), "gigabit").label


def with_comparison(**comparison):
    raw = copy.deepcopy(RAW)
    raw["studies"]["alone"] = {"like": "quick", "workers": [1]}
    raw["comparisons"] = {"mine": {"studies": {"a title": "quick"}} | comparison}
    return raw


def test_a_comparison_is_made_by_its_name():
    assert parse(with_comparison() | {"study": "mine"}).study == "mine"


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        ({"studies": {"a title": "nowhere"}}, r"comparisons\.mine\.studies\.a title: 'nowhere' is not allowed"),
        ({"studies": {"a title": "alone"}}, r"'alone' is not allowed; allowed: a study with more than one worker"),
        ({"studies": {"a title": "paper"}}, r"'paper' is not allowed; allowed, with an emulated clock: quick"),
        ({"studies": {}}, r"comparisons\.mine\.studies"),
        ({"networks": ["token ring"]}, r"comparisons\.mine\.networks"),
    ],
)
def test_a_comparison_of_what_can_not_be_compared_is_one_line(comparison, words):
    with pytest.raises(UserError, match=words):
        parse(with_comparison(**comparison))


def test_a_comparison_has_no_studys_name():
    raw = with_comparison()
    raw["comparisons"] = {"quick": raw["comparisons"]["mine"]}
    with pytest.raises(UserError, match=r"comparisons\.quick: not allowed as a name, for a study has it"):
        parse(raw)
