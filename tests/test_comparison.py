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
from strongscale.comparison.ranks import ranks
from strongscale.comparison.standings import leaders, on, standings
from strongscale.inference.contrast import Contrast, Known, of_numbers
from strongscale.settings.config_file import parse
from strongscale.settings.margins import margins
from strongscale.timing.timings import Several

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


def against(logs):
    """Contrasts of lines whose times are these, with a little noise from seed to seed."""
    noise = (0.0, 0.01, -0.01, 0.005, -0.005)
    return lambda one, other: of_numbers([logs[other] - logs[one] + each for each in noise])


def test_lines_that_differ_clearly_have_a_rank_each():
    found = ranks("abc", against({"a": 0.0, "b": 1.0, "c": 2.0}), 0.05)
    assert [str(found[line]) for line in "abc"] == ["1", "2", "3"]


def test_lines_that_do_not_are_tied():
    found = ranks("abc", against({"a": 0.0, "b": 0.001, "c": 2.0}), 0.05)
    assert [str(found[line]) for line in "abc"] == ["1 to 2", "1 to 2", "3"]


def test_three_seeds_that_never_arrive_decide_nothing_by_themselves():
    never = Contrast((Known(1.0, math.inf),) * 3)
    found = ranks("ab", lambda one, other: never, 0.05)
    assert [str(found[line]) for line in "ab"] == ["1 to 2", "1 to 2"]


# --- standings


def test_the_fastest_comes_first_and_those_that_never_arrive_last(folder):
    found = standings(on(load(folder), "infiniband"), 4)
    assert [one.line for one in found][-1] == "linear"
    assert found[-1].arrived == "0 of 5"
    assert leaders(found)[0] == found[0].line


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
    several = Several(samples=32, learners=4, seconds=seconds * 4 * timings.step_s(8))
    runs = replace(runs, timings=(replace(timings, learners=(several,)),))
    found = {judged.claim: judged for judged in crossbow.judge(runs, margins())}
    assert found[crossbow.BUSIER].outcome == outcome
    assert "4 learners of 8 samples each" in found[crossbow.BUSIER].verdict.reason


# --- the page


def test_the_page_tells_who_leads_and_where_each_fails(folder, tmp_path):
    page.main(["--study", "made up", str(folder), "--networks", "gigabit", "--output", str(tmp_path / "made")])
    tables = {name: pd.read_csv(tmp_path / "made" / "tables" / f"{name}.csv") for name in ("leaders", "failures")}
    assert tables["leaders"]["workers"].tolist() == [2, 4]
    assert set(tables["failures"]["strategy"]) == {"linear"}
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


def with_comparison(**comparison):
    raw = copy.deepcopy(RAW)
    raw["comparisons"] = {"mine": {"studies": {"a title": "quick"}} | comparison}
    return raw


def test_a_comparison_is_made_by_its_name():
    assert parse(with_comparison() | {"study": "mine"}).study == "mine"


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        ({"studies": {"a title": "nowhere"}}, r"comparisons\.mine\.studies\.a title: 'nowhere' is not allowed"),
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
