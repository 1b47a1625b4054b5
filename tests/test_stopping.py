"""The end of a run, and its name."""

import pytest

from strongscale.settings.config import Collapse
from strongscale.training.stopping import Verdict, judge, settled_steps

CONSTANT = 0.019


def verdict(
    validation, training=None, target=0.01, max_epochs=100, ignores_input=False, settled=1000, goes_on=False, **collapse
):
    return judge(
        training or validation,
        validation,
        target=target,
        stop_at_target=not goes_on,
        max_epochs=max_epochs,
        constant_loss=CONSTANT,
        settled=settled,
        collapse=Collapse(**collapse),
        ignores_input=lambda: ignores_input,
    )


def test_reaching_the_target_is_converged():
    assert verdict([0.02, 0.01]) == Verdict("converged")


def test_a_target_that_a_constant_output_reaches_is_never_converged():
    assert verdict([0.02, 0.0191], target=0.02) is None
    assert verdict([0.02, 0.0189], target=0.02) == Verdict("converged")


def test_an_output_that_ignores_its_input_has_not_converged_whatever_its_loss():
    assert verdict([0.02, 0.009], ignores_input=True) is None
    assert verdict([0.02, 0.009], ignores_input=True, max_epochs=2) == Verdict("diverged", "collapsed")


def test_a_run_may_go_on_beyond_its_target_to_its_last_epoch():
    assert verdict([0.02, 0.01], goes_on=True) is None
    assert verdict([0.02, 0.01, 0.015], goes_on=True, max_epochs=3) == Verdict("converged")
    assert verdict([0.02, 0.012, 0.015], goes_on=True, max_epochs=3) == Verdict("exhausted")


def test_a_run_that_went_on_into_a_collapse_has_not_converged():
    assert verdict([0.02, 0.01, 0.0438], goes_on=True, max_epochs=3, ignores_input=True) == Verdict(
        "diverged", "collapsed"
    )


def test_running_all_epochs_is_exhausted():
    assert verdict([0.02] * 7, max_epochs=7) == Verdict("exhausted")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_diverged_in_either_set(bad):
    assert verdict([0.02, bad]) == Verdict("diverged", "not finite")
    assert verdict([0.02, 0.02], training=[0.02, bad]) == Verdict("diverged", "not finite")


@pytest.mark.parametrize("loss", [0.0437, 0.026, 0.0195])  # of predicting zero, of the best constant, between the two
def test_an_output_that_ignores_its_input_and_improves_no_more_has_collapsed(loss):
    assert verdict([loss] * 6, ignores_input=True) == Verdict("diverged", "collapsed")


def test_a_run_that_fell_and_rose_to_a_constant_output_has_collapsed():
    assert verdict([0.03, 0.015, 0.02] + [0.0438] * 5, ignores_input=True) == Verdict("diverged", "collapsed")


def test_a_high_loss_alone_is_no_collapse():
    assert verdict([0.0437] * 9) is None


def test_an_output_that_ignores_its_input_but_still_improves_goes_on():
    assert verdict([0.047 * 0.98**epoch for epoch in range(8)], ignores_input=True) is None


def test_where_collapsed_runs_go_on_they_are_diverged_at_the_end():
    assert verdict([0.0437] * 6, ignores_input=True, stop=False) is None
    assert verdict([0.0437] * 9, ignores_input=True, stop=False, max_epochs=9) == Verdict("diverged", "collapsed")


def test_a_run_that_improves_and_uses_its_input_is_never_asked():
    def ask():
        raise AssertionError

    losses = [0.04, 0.03, 0.02]
    assert (
        judge(
            losses,
            losses,
            target=0.01,
            max_epochs=9,
            constant_loss=CONSTANT,
            settled=1000,
            collapse=Collapse(patience=1),
            ignores_input=ask,
        )
        is None
    )


def test_a_run_without_a_target_goes_on():
    assert verdict([0.02, 0.001], target=None) is None


@pytest.mark.parametrize(("settled", "expected"), [(99, None), (100, Verdict("diverged", "collapsed"))])
def test_epochs_of_few_steps_say_little_of_a_collapse(settled, expected):
    assert verdict([0.03] * 12, ignores_input=True, patience=5, settled=settled) == expected


def test_a_run_too_short_to_be_called_collapsed_is_exhausted():
    assert verdict([0.03] * 12, max_epochs=12, ignores_input=True, settled=12) == Verdict("exhausted")


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([0.1, 0.1, 0.1], 30),
        ([0.1], 10),
        ([0.05, 0.1, 0.1], 10),
        ([0.03, 0.06, 0.1], 0),
        ([0.1, 0.05, 0.01], 30),
    ],
)
def test_steps_count_from_the_end_of_a_warm_up(rates, expected):
    assert settled_steps([10 * epoch for epoch in range(1, len(rates) + 1)], rates) == expected
