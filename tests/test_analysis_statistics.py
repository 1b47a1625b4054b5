import math
from dataclasses import replace

import pytest
from analysis_fixtures import FIXED_TARGET, as_in_the_paper, collapsed, converged, exhausted, paper_study, write_study
from hypothesis import given
from hypothesis import strategies as st

from strongscale.analysis.load import load
from strongscale.analysis.speedup_law import SpeedupLaw, fit, time_ratios
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


def missed(*cells):
    """All converges but these (strategy, workers, seed); strong scaling is the slower the higher the seed."""

    def script(cell):
        outcome = exhausted(cell) if (cell.strategy, cell.workers, cell.seed) in cells else converged(cell)
        slowdown = 1 + 0.1 * cell.seed if cell.workers > 1 else 1
        return replace(outcome, epoch_s=slowdown * outcome.epoch_s)

    return script


def efficiency_without(tmp_path, *cells, seeds=(1, 2, 3)):
    study = paper_study(seeds=list(seeds), strategies={"strong": {}}, workers=[1, 4], edge={}, training=FIXED_TARGET)
    return efficiency(load(write_study(tmp_path, study, missed(*cells))), "strong", 4)


def test_the_efficiency_says_how_many_sequential_runs_missed_the_target(tmp_path):
    summary = efficiency_without(tmp_path, ("sequential", 1, 1), ("sequential", 1, 2))
    assert not summary.reached
    assert summary.num_converged == 1
    assert summary.status == "the sequential run reached the target in 1 of 3 seeds"


def test_the_efficiency_says_who_else_missed_it(tmp_path):
    summary = efficiency_without(tmp_path, ("sequential", 1, 1), ("strong", 4, 2))
    assert summary.status == "the sequential run reached the target in 2 of 3 seeds; 2 of 3 converged"


def test_a_sequential_run_without_a_time_makes_an_efficiency_high_not_low(tmp_path):
    complete = efficiency_without(tmp_path / "all")
    summary = efficiency_without(tmp_path / "one", ("sequential", 1, 3))
    assert (summary.low, summary.median) == pytest.approx((complete.median, complete.high))
    assert math.isnan(summary.high)


def test_a_run_without_a_time_makes_an_efficiency_low(tmp_path):
    complete = efficiency_without(tmp_path / "all")
    summary = efficiency_without(tmp_path / "one", ("strong", 4, 1))
    assert (summary.median, summary.high) == pytest.approx((complete.low, complete.median))
    assert math.isnan(summary.low)


def test_a_pair_without_any_time_may_lie_anywhere(tmp_path):
    both = (("sequential", 1, 2), ("strong", 4, 2))
    assert not efficiency_without(tmp_path / "three", *both).reached
    five = efficiency_without(tmp_path / "five", *both, seeds=range(1, 6))
    assert not five.reached
    assert math.isnan(five.low)
    assert math.isnan(five.high)
    assert five.num_converged == 4


def test_what_is_only_known_to_be_beyond_others_is_no_number():
    summary = summarise([math.inf, -math.inf, 5.0], "words")
    assert summary.median == 5.0
    assert summary.num_converged == 1
