"""Shares, spreads, contrasts and outcomes against references, and their error rates by simulation."""

import math

import numpy as np
import pytest
from benchmarks.verdicts import claims, every_seed
from scipy.stats import ttest_1samp

from strongscale.inference import shares
from strongscale.inference.contrast import NOTHING, Contrast, Known, exactly, of_numbers
from strongscale.inference.outcome import (
    CONTRADICTED,
    EQUIVALENT,
    NONE,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    holm,
    outcome_of,
    p_of,
    together,
)
from strongscale.inference.spread import Spread, pooled

MARGIN = math.log(1.1)


def test_jeffreys_interval_is_the_published_one():
    low, high = shares.interval(1, 10)  # Brown, Cai and DasGupta (2001), table 5
    assert (round(low, 3), round(high, 3)) == (0.011, 0.381)
    assert shares.interval(0, 10)[0] == 0.0
    assert shares.interval(10, 10)[1] == 1.0
    assert shares.interval(0, 0) == (0.0, 1.0)


def test_jeffreys_interval_covers_a_share_as_often_as_it_says():
    """On average over shares."""
    random, of = np.random.default_rng(1), 5
    inside = []
    for share in random.beta(0.5, 0.5, 4000):
        low, high = shares.interval(int(random.binomial(of, share)), of)
        inside.append(low <= share <= high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_a_share_of_one_run_is_no_evidence_and_of_twelve_is():
    assert shares.p_below(0, 1, 0.5) > 0.1
    assert shares.p_below(0, 12, 0.5) < 0.001
    assert shares.p_below(0, 0, 0.5) == 1.0


def test_without_other_contrasts_the_t_test_is_the_usual_one():
    values = [0.1, 0.25, 0.05, 0.2]
    reference = ttest_1samp(values, MARGIN, alternative="greater")
    contrast = of_numbers(values)
    assert contrast.p_above(MARGIN) == pytest.approx(reference.pvalue)
    low, high = contrast.interval(0.95)
    assert (low, high) == pytest.approx(tuple(ttest_1samp(values, 0).confidence_interval(0.95)))


def test_pooling_finds_one_variance_where_there_is_one_and_none_where_they_differ():
    random = np.random.default_rng(1)
    alike = pooled(random.normal(0, 0.1, (200, 4)).tolist())
    assert alike.variance == pytest.approx(0.01, rel=0.15)
    assert alike.freedom > 30
    different = pooled((random.normal(0, 0.1, (200, 4)) * np.exp(random.normal(0, 2, (200, 1)))).tolist())
    assert different.freedom < 4


def test_computed_contrasts_have_no_spread_and_give_none_to_others():
    assert pooled([[0.3, 0.3, 0.3], [0.1, 0.2], [0.5]]) == Spread()  # one that has a spread is no pool
    contrast = of_numbers([0.3, 0.3, 0.3 + 1e-12], Spread(0.01, 10, 20))
    assert contrast.is_computed
    assert contrast.interval(0.95) == (pytest.approx(0.3), pytest.approx(0.3))
    assert (contrast.p_above(MARGIN), contrast.p_below(MARGIN)) == (0.0, 1.0)


def test_one_pair_says_nothing_and_has_no_interval():
    contrast = of_numbers([5.0], Spread(0.01, 10, 20))
    assert (contrast.p_above(0), contrast.p_below(0)) == (1.0, 1.0)
    assert all(math.isnan(end) for end in contrast.interval(0.95))


def test_pairs_without_a_number_are_counted():
    never = Known(math.inf, math.inf)
    later = Known(math.log(1.5), math.inf)
    contrast = Contrast((exactly(0.3), exactly(0.4), never, later, never))
    assert contrast.p_above(MARGIN) == shares.p_above(5, 5, 0.5)
    assert contrast.p_above(math.log(2)) == shares.p_above(2, 5, 0.5)  # a bound below the limit is no evidence
    assert contrast.p_below(math.log(2)) == shares.p_above(2, 5, 0.5)
    assert math.isnan(contrast.mean)
    assert Contrast((NOTHING,) * 12).p_above(0) > 0.99


def test_several_statements_are_true_if_each_is_and_false_if_one_is():
    true, false, tie = Evidence(supports=0.001), Evidence(contradicts=0.001), Evidence(equivalent=0.001)
    assert outcome(together([true, true])) == SUPPORTED
    assert outcome(together([true, false])) == CONTRADICTED
    assert outcome(together([true, tie])) == EQUIVALENT
    assert outcome(together([true, NONE])) == UNDECIDED
    assert outcome(together([])) == UNDECIDED
    assert together([false] * 3).contradicts == pytest.approx(0.003)


def outcome(evidence):
    return outcome_of(evidence, p_of(evidence), 0.05)


def test_holm_is_the_textbooks():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_a_true_claim_grows_stronger_with_seeds_and_so_does_a_false_one():
    """Where each seed had to hold, a true ratio of 1.2 did so ever more rarely."""
    old = [every_seed(1.2, seeds, 4000) for seeds in (1, 3, 10)]
    assert old == pytest.approx([0.86, 0.62, 0.20], abs=0.03)
    true = [claims(1.2, seeds, 120)[SUPPORTED] for seeds in (1, 3, 10, 30)]
    false = [claims(1 / 1.2, seeds, 120)[CONTRADICTED] for seeds in (1, 3, 10, 30)]
    tie = [claims(1.0, seeds, 120)[EQUIVALENT] for seeds in (1, 3, 10, 30)]
    for powers in (true, false, tie):
        assert powers[0] == 0
        assert powers == sorted(powers)
        assert powers[-1] > 0.95


@pytest.mark.parametrize("num_seeds", [3, 5, 12])
def test_wrong_outcomes_are_rare_where_a_claim_is_just_not_true(num_seeds):
    found = claims(1.1, num_seeds, 1000, contrasts=1)
    assert found[SUPPORTED] + found[EQUIVALENT] <= 0.07  # one contrast has no pool: 2.5 % on each side
    assert claims(1.1, num_seeds, 120)[SUPPORTED] <= 0.05
