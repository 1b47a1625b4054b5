import math

import pytest
from analysis_fixtures import FIXED_TARGET, as_in_the_paper, collapsed, exhausted, paper_study, write_study
from hypothesis import given
from hypothesis import strategies as st

from strongscale.analysis.load import load
from strongscale.analysis.speedup import SpeedupLaw, fit, time_ratios
from strongscale.analysis.statistics import coverage, efficiency, status_of, summarise, time_to_target


def test_the_median_of_complete_values_is_the_usual_one():
    summary = summarise([3.0, 1.0, 2.0], "converged")
    assert (summary.median, summary.low, summary.high) == (2.0, 1.0, 3.0)


def test_a_missing_value_is_longer_than_any_other():
    summary = summarise([3.0, None, 2.0], "2 of 3 converged")
    assert (summary.median, summary.low) == (3.0, 2.0)
    assert math.isnan(summary.high)


@pytest.mark.parametrize("values", [[1.0, None, None], [1.0, None], [None]])
def test_a_median_at_a_missing_value_is_no_number(values):
    summary = summarise(values, "words")
    assert not summary.reached
    assert summary.status == "words"


def test_for_efficiency_a_missing_value_is_smaller_than_any_other():
    summary = summarise([90.0, None, 80.0], "2 of 3 converged", missing=-math.inf)
    assert (summary.median, summary.high) == (80.0, 90.0)
    assert math.isnan(summary.low)


@given(st.lists(st.one_of(st.none(), st.floats(0.1, 1e6)), min_size=1, max_size=9))
def test_the_median_never_depends_on_how_late_a_missing_run_would_have_been(values):
    summary = summarise(values, "")
    later = sorted(1e9 if value is None else value for value in values)
    middle = later[(len(later) - 1) // 2 : len(later) // 2 + 1]
    if max(middle) < 1e9:
        assert summary.median == pytest.approx(sum(middle) / len(middle))
    else:
        assert math.isnan(summary.median)


def test_the_coverage_of_the_range_is_exact():
    assert coverage(3) == 0.75
    assert coverage(6) == 1 - 2 / 64
    assert math.isnan(coverage(1))


def test_one_seed_has_no_interval():
    summary = summarise([1.0], "converged")
    assert math.isnan(summary.low)
    assert math.isnan(summary.high)


def test_efficiency_pairs_each_seed_with_its_own_sequential_run(tmp_path):
    runs = load(write_study(tmp_path, paper_study(seeds=[1, 2, 3])))
    expected = [
        100 * one.result.time_to_target_s / (4 * run.result.time_to_target_s)
        for one, run in zip(runs.sequential, runs.of("strong", 4), strict=True)
    ]
    assert efficiency(runs, "strong", 4).median == pytest.approx(sorted(expected)[1])
    assert efficiency(runs, "strong", 1).median == 100


def test_there_is_no_efficiency_without_a_sequential_time(tmp_path):
    runs = load(write_study(tmp_path, paper_study(training=FIXED_TARGET), exhausted))
    summary = efficiency(runs, "strong", 2)
    assert not summary.reached
    assert "sequential run" in summary.status


def test_seeds_that_end_differently_are_counted(tmp_path):
    def script(cell):
        return collapsed(cell) if (cell.strategy, cell.seed) == ("strong", 2) else as_in_the_paper(cell)

    runs = load(write_study(tmp_path, paper_study(seeds=[1, 2, 3]), script))
    found = runs.of("strong", 2)
    assert status_of(found) == "2 of 3 converged"
    assert time_to_target(found).reached
    assert status_of(runs.of("linear", 2)) == "diverged (collapsed)"


def test_the_speedup_law_finds_its_own_parameters():
    truth = SpeedupLaw(serial=0.1, parallel=0.9, communication=0.02)
    law = fit({n: truth.time_ratio(n) for n in (1, 2, 4, 8, 16)})
    assert (law.serial, law.parallel, law.communication) == pytest.approx((0.1, 0.9, 0.02))
    assert law.saturation_workers == pytest.approx(0.9 * math.log(2) / 0.02)
    assert law.greatest_speedup == pytest.approx(1 / law.time_ratio(law.saturation_workers))


def test_the_speedup_law_is_never_negative():
    law = fit({1: 1.0, 2: 0.4, 4: 0.2, 8: 0.1})
    assert min(law.serial, law.parallel, law.communication) >= 0
    assert law.saturation_workers == math.inf


def test_two_points_are_too_few_for_the_law():
    assert fit(time_ratios({1: 100.0, 2: 90.0, 4: math.nan})) is None
