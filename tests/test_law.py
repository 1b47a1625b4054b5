"""The law of batch size finds what runs were made from, and says what they leave open."""

import math

import numpy as np
import pytest
from law_fixtures import BATCHES, CRITICAL_BATCH, LEAST_STEPS, law_runs
from scipy.optimize import curve_fit

from strongscale.advice.bend import bend_of
from strongscale.advice.domain import domain_of
from strongscale.advice.held_out import hold_out
from strongscale.advice.law import Interval, batch_of_gain, fit
from strongscale.advice.runs import Runs


def held(interval, truth):
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_hold_the_truth(seeds):
    random, count = np.random.default_rng(11), 100
    found = [fit(law_runs(random, seeds=seeds), resamples=300) for _ in range(count)]
    assert sum(held(one.least_steps, LEAST_STEPS) for one in found) >= 85
    assert sum(held(one.critical_batch, CRITICAL_BATCH) for one in found) >= 85
    assert sum(held(one.least_samples, LEAST_STEPS * CRITICAL_BATCH) for one in found) >= 85


def test_bands_hold_a_run_at_twice_the_largest_batch():
    random, inside, count = np.random.default_rng(12), 0, 60
    for _ in range(count):
        runs = law_runs(random, batches=[*BATCHES, 2 * BATCHES[-1]], seeds=2)
        past = hold_out(runs.where(runs.batches_N <= BATCHES[-1]), resamples=200)
        inside += held(past.band.steps(2 * BATCHES[-1]), runs.steps_N[-1])
    assert inside >= 0.85 * count


def test_a_law_without_noise_is_found():
    found = fit(law_runs(spread=0))
    assert found.least_steps.value == pytest.approx(LEAST_STEPS, rel=1e-3)
    assert found.critical_batch.value == pytest.approx(CRITICAL_BATCH, rel=1e-3)


def test_the_fit_is_that_of_a_general_solver():
    runs = law_runs()
    curve = lambda batch, steps, critical: steps + np.log1p(np.exp(critical) / batch)  # noqa: E731
    (least, critical), _ = curve_fit(curve, runs.batches_N, np.log(runs.steps_N), p0=(6.0, 6.0))
    found = fit(runs)
    assert math.log(found.least_steps.value) == pytest.approx(least, abs=1e-3)
    assert math.log(found.critical_batch.value) == pytest.approx(critical, abs=2e-3)


def test_runs_that_all_gain_fully_bound_the_critical_batch_from_below_alone():
    found = fit(law_runs(critical=1e6))
    assert found.critical_batch.high == math.inf
    assert found.critical_batch.low > BATCHES[-1]
    assert found.least_steps.low == 0
    assert held(found.least_samples, LEAST_STEPS * 1e6)


def test_runs_that_gain_nothing_bound_it_from_above_alone():
    found = fit(law_runs(critical=0.1))
    assert found.critical_batch.low == 0
    assert found.critical_batch.high < BATCHES[0]
    assert held(found.least_steps, LEAST_STEPS)


def test_runs_that_ended_early_count_as_slower_than_they_went():
    expected = LEAST_STEPS * (1 + CRITICAL_BATCH / BATCHES[0])
    random, found, naive = np.random.default_rng(13), [], []
    for _ in range(40):
        kept = domain_of(law_runs(random, seeds=20, spread=0.2, cap=0.9 * expected)).runs
        as_if_reached = Runs(batches_N=kept.batches_N, steps_N=kept.steps_N, reached_N=np.ones_like(kept.reached_N))
        found.append(fit(kept, resamples=2).log_steps(BATCHES[:1])[0])
        naive.append(fit(as_if_reached, resamples=2).log_steps(BATCHES[:1])[0])
    assert np.mean(naive) < math.log(expected) - 0.05
    assert np.mean(found) == pytest.approx(math.log(expected), abs=0.03)


def test_batches_that_lie_off_by_more_than_runs_widen_the_intervals():
    runs = law_runs(spread=0.01)
    off_N = np.repeat([0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1], 3)
    off = Runs(batches_N=runs.batches_N, steps_N=runs.steps_N * np.exp(off_N), reached_N=runs.reached_N)
    narrow, wide = fit(runs), fit(off)
    assert wide.errors.are_of_batches
    widths = [math.log(one.least_steps.high / one.least_steps.low) for one in (wide, narrow)]
    assert widths[0] > 5 * widths[1]


def test_the_batch_of_least_gain_is_where_a_doubling_saves_that_share():
    batch = batch_of_gain(Interval(value=400.0, low=300.0, high=math.inf), 0.1)
    assert 1 - (1 + 400 / (2 * batch.value)) / (1 + 400 / batch.value) == pytest.approx(0.1)
    assert batch.high == math.inf


def test_another_bend_than_the_laws_is_told():
    assert not bend_of(fit(law_runs())).is_beyond_noise
    bend = bend_of(fit(law_runs(spread=0.02, power=0.6)))
    assert bend.is_beyond_noise
    assert bend.power == pytest.approx(0.6, abs=0.1)


def test_three_single_runs_cannot_tell_a_bend():
    assert bend_of(fit(law_runs(seeds=1, batches=BATCHES[:3]))) is None


# --- held-out batches


def test_each_cut_predicts_all_larger_batches():
    found = hold_out(law_runs(), resamples=100)
    assert [(row.cut, row.batch) for row in found.held_out] == [
        (cut, batch) for place, cut in enumerate(BATCHES) if place >= 2 for batch in BATCHES[place + 1 :]
    ]


@pytest.mark.parametrize(("batches", "level"), [(3, 0.0), (4, 1 / 2), (7, 4 / 5)])
def test_the_level_that_is_claimed_is_that_of_the_held_out_batches(batches, level):
    assert hold_out(law_runs(batches=BATCHES[:batches]), resamples=50).band.level == level


def test_the_band_is_stretched_until_it_holds_what_was_held_out():
    runs = law_runs(spread=0.01, batches=BATCHES[:4])
    shifted_N = np.where(runs.batches_N == BATCHES[3], 2.0, 1.0)
    found = hold_out(Runs(batches_N=runs.batches_N, steps_N=runs.steps_N * shifted_N, reached_N=runs.reached_N))
    assert found.band.stretch > 2
    assert found.held_out[0].inside == 0
    assert found.held_out[0].relative_error == pytest.approx(-0.5, abs=0.05)


# --- where it may be asked


def test_a_rise_beyond_noise_ends_the_law():
    runs = law_runs(spread=0.03)
    risen_N = np.where(runs.batches_N >= BATCHES[5], 3.0, 1.0)
    domain = domain_of(Runs(batches_N=runs.batches_N, steps_N=runs.steps_N * risen_N, reached_N=runs.reached_N))
    assert domain.fails_from == BATCHES[5]
    assert (domain.rises[0].from_batch, domain.rises[0].to_batch) == (BATCHES[4], BATCHES[5])
    assert list(domain.runs.sizes) == list(BATCHES[:5])
    assert "doesn't hold" in domain.why_not(BATCHES[6])


def test_a_rise_of_single_runs_is_told_and_kept():
    runs = law_runs(seeds=1, spread=0)
    risen_N = np.where(runs.batches_N == BATCHES[6], 1.5, 1.0)
    domain = domain_of(Runs(batches_N=runs.batches_N, steps_N=runs.steps_N * risen_N, reached_N=runs.reached_N))
    assert math.isnan(domain.rises[0].p)
    assert len(domain.runs.sizes) == 7


def test_a_batch_at_which_nothing_arrived_is_left_out():
    runs = law_runs()
    reached_N = runs.batches_N != BATCHES[6]
    domain = domain_of(Runs(batches_N=runs.batches_N, steps_N=runs.steps_N, reached_N=reached_N))
    assert domain.unreached[0].batch == BATCHES[6]
    assert BATCHES[6] not in domain.runs.sizes


def test_beyond_twice_the_largest_batch_there_is_no_number():
    domain = domain_of(law_runs())
    assert domain.why_not(2 * BATCHES[-1]) == ""
    assert "too far outside the data" in domain.why_not(2.1 * BATCHES[-1])
    assert "too far outside the data" in domain.why_not(0.4 * BATCHES[0])
