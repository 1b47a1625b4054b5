"""Sequential runs at rates that were given: which of them train."""

import pytest

from strongscale.analysis import rates

CONSTANT = 0.02


def tried(rate, best, status="exhausted", seed=1, epochs=20):
    """The result of one run."""
    return {
        "learning_rate": rate,
        "seed": seed,
        "status": status,
        "diverged_because": "collapsed" if status == "diverged" else None,
        "epochs": epochs,
        "best_validation_loss": best,
        "constant_loss": CONSTANT,
    }


def test_the_largest_rate_up_to_which_all_train_is_taken():
    results = [tried(0.001, 0.015), tried(0.002, 0.016), tried(0.003, 0.018), tried(0.004, 0.015)]
    assert rates.largest(results) == 0.002


def test_a_rate_that_never_beat_a_constant_output_does_not_train():
    results = [tried(0.001, 0.0195), tried(0.002, 0.0205)]
    assert rates.largest(results) == 0.001
    assert rates.failures(results)[0.002] == "never beat the best constant output: 0.0205 against 0.02"


def test_rates_too_small_to_get_anywhere_are_passed_over():
    assert rates.largest([tried(1e-6, 0.04), tried(0.001, 0.015), tried(0.004, 0.03, "diverged")]) == 0.001


def test_where_no_rate_trains_there_is_no_largest():
    assert rates.largest([tried(0.001, 0.021), tried(0.004, 0.03, "diverged")]) is None


@pytest.mark.parametrize("best", [0.014, 0.016])
def test_a_rate_that_fails_late_does_not_train_however_low_it_came(best):
    results = [tried(0.001, 0.015), tried(0.002, best, "diverged", epochs=57)]
    assert rates.largest(results) == 0.001
    assert rates.failures(results)[0.002] == "diverged (collapsed) after 57 epochs"


def test_a_rate_counts_only_if_it_trains_for_every_seed():
    results = [tried(rate, 0.015, seed=seed) for rate in (0.001, 0.002) for seed in (1, 2)]
    results[-1]["status"] = "diverged"
    assert rates.largest(results) == 0.001
