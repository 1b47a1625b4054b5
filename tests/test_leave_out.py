"""What few workers of a finished study foretell of many, beside what came."""

import pandas as pd
import pytest
from analysis_fixtures import FIXED_TARGET, TARGET, collapsed, converged, exhausted, paper_study, write_study

from strongscale.advice import leave_out
from strongscale.analysis.load import load
from strongscale.common.errors import UserError

CRITICAL = 6
"""In minibatches of one worker."""


def by_the_law(cell):
    """Epochs in proportion to batch and critical batch together, as the law of batch size has it."""
    return converged(cell, (cell.workers + CRITICAL) / (1 + CRITICAL) if cell.strategy == "weak" else 1.0)


def study_of(tmp_path, script, **changes):
    settings = {
        "clock": "emulated",
        "strategies": {"strong": {}, "weak": {}, "linear": {}},
        "workers": [1, 2, 4, 8, 16],
        "seeds": [1, 2, 3],
        "training": FIXED_TARGET,
        "edge": {"rates": []},
    }
    return write_study(tmp_path / "results", paper_study(**settings | changes), script)


def foretold(folder, cut=4):
    return {(one.line, one.workers): one for one in leave_out.foretell(load(folder), TARGET, cut)}


@pytest.fixture
def folder(tmp_path):
    return study_of(tmp_path, by_the_law)


def test_a_law_that_holds_foretells_the_next_doubling(folder):
    one = foretold(folder)["weak", 8]
    assert abs(one.error) < 0.1


def test_two_doublings_further_it_gives_no_number(folder):
    one = foretold(folder)["weak", 16]
    assert one.predicted is None
    assert "too far outside the data" in one.why_not


def test_the_same_path_takes_the_epochs_of_one_worker(folder):
    one = foretold(folder)["strong", 16]
    assert one.by == leave_out.SAME_PATH
    assert one.error == pytest.approx(0.0, abs=0.06)


def test_a_line_whose_rate_grows_is_not_foretold(folder):
    assert {line for line, _ in foretold(folder)} == {"strong", "weak"}


def test_with_two_batch_sizes_there_is_no_law(folder):
    assert foretold(folder, cut=2)["weak", 8].why_not == "fewer than 3 batch sizes up to the cut"


@pytest.mark.parametrize(("ending", "fitting"), [(exhausted, 3), (collapsed, 0)])
def test_a_run_that_was_stopped_later_than_foretold_does_not_fit_nor_one_that_collapsed(tmp_path, ending, fitting):
    one = foretold(study_of(tmp_path, lambda cell: ending(cell) if cell.workers == 8 else by_the_law(cell)))["weak", 8]
    late = leave_out.Foretold(**{**vars(one), "stopped": (10_000,) * len(one.stopped)})
    assert late.num_inside == 0
    soon = leave_out.Foretold(**{**vars(one), "stopped": (1,) * len(one.stopped)})
    assert soon.num_inside == fitting


def test_the_page_says_what_it_comes_to(folder, tmp_path, capsys):
    leave_out.main(["--study", str(folder), "--output", str(tmp_path / "made")])
    page = (tmp_path / "made" / "leave_out.md").read_text()
    assert "By the law of batch size: " in page
    assert page.splitlines()[0] == capsys.readouterr().out.splitlines()[0]
    assert set(pd.read_csv(tmp_path / "made" / "leave_out.csv")["strategy"]) == {"strong", "weak"}


def test_a_cut_below_one_worker_is_refused(folder):
    with pytest.raises(UserError, match="--cut: 0 is not allowed; allowed: at least 1"):
        leave_out.main(["--study", str(folder), "--cut", "0"])
