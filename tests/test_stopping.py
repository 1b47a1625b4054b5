"""The end of a run, and its name."""

import pytest

from strongscale.config import Collapse
from strongscale.stopping import Verdict, judge

NULL = 0.048


def verdict(validation, training=None, target=0.01, max_epochs=100, **collapse):
    losses = training or validation
    return judge(
        losses, validation, target=target, max_epochs=max_epochs, null_loss=NULL, collapse=Collapse(**collapse)
    )


def test_reaching_the_target_is_converged():
    assert verdict([0.02, 0.01]) == Verdict("converged")


def test_running_all_epochs_is_exhausted():
    assert verdict([0.02] * 7, max_epochs=7) == Verdict("exhausted")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_diverged_in_either_set(bad):
    assert verdict([0.02, bad]) == Verdict("diverged", "not finite")
    assert verdict([0.02, 0.02], training=[0.02, bad]) == Verdict("diverged", "not finite")


def test_a_run_that_stays_at_the_ceiling_has_collapsed():
    assert verdict([0.0437] * 6) == Verdict("diverged", "collapsed")


def test_a_run_that_fell_and_rose_to_the_ceiling_has_collapsed():
    assert verdict([0.03, 0.015, 0.02] + [0.0438] * 5) == Verdict("diverged", "collapsed")


def test_a_slow_starter_that_still_improves_has_not():
    assert verdict([0.047 * 0.98**epoch for epoch in range(8)]) is None


def test_a_short_visit_to_the_ceiling_is_forgiven():
    assert verdict([0.02, 0.044, 0.044, 0.02, 0.044, 0.044]) is None


def test_where_collapsed_runs_go_on_they_are_diverged_at_the_end():
    assert verdict([0.0437] * 6, stop=False) is None
    assert verdict([0.0437] * 9, stop=False, max_epochs=9) == Verdict("diverged", "collapsed")


def test_a_run_without_a_target_goes_on():
    assert verdict([0.02, 0.001], target=None) is None
