"""The four strategies of the paper, by their table."""

import itertools

import pytest

from strongscale.common import parts
from strongscale.common.errors import UserError
from strongscale.strategies import base as strategies
from strongscale.strategies.base import Course, Plan, Progress, Strategy

BASE = Plan(32, 0.00105)


def planned(name, workers=1, *, epochs=0.0):
    """What a strategy plans after so many epochs of 1000 samples."""
    epoch = int(epochs)
    progress = Progress(workers=workers, samples=1000, epoch=epoch, taken=round(1000 * (epochs - epoch)), batch=1)
    return parts.find(Strategy, name, "kind")().plan(BASE, progress)


@pytest.mark.parametrize("name", ["strong", "weak", "linear", "warmup"])
def test_with_one_worker_every_strategy_is_the_sequential_run(name):
    assert [planned(name, 1, epochs=epochs) for epochs in (0, 1, 5, 50)] == [BASE] * 4


@pytest.mark.parametrize(
    ("name", "plan"), [("strong", BASE), ("weak", Plan(256, BASE.rate)), ("linear", Plan(256, 8 * BASE.rate))]
)
def test_minibatch_and_rate_at_eight_workers(name, plan):
    assert planned(name, 8) == plan


def test_warmup_grows_linearly_to_n_times_eta_and_stays():
    rates = [planned("warmup", 8, epochs=epochs).rate / BASE.rate for epochs in (0, 2.5, 5, 6, 100)]
    assert rates == pytest.approx([1, 4.5, 8, 8, 8])


def test_the_length_of_the_warmup_is_a_parameter():
    strategy = parts.find(Strategy, "warmup", "kind")(epochs=10.0)
    assert strategy.plan(BASE, Progress(workers=3, samples=1000, epoch=5)).rate == pytest.approx(2 * BASE.rate)


def test_steps_of_an_epoch_are_equally_far_apart_though_the_last_minibatch_is_smaller():
    """100 samples in minibatches of 64: the second begins after half an epoch."""
    _, second = itertools.islice(strategies.planned(parts.find(Strategy, "warmup", "kind")(), BASE, 2, 100), 2)
    rates = [plan.rate / BASE.rate for plan in second]
    assert rates == pytest.approx([1.2, 1.3])


@pytest.mark.parametrize(("name", "times"), [("strong", 1), ("weak", 1), ("linear", 8)])
def test_over_the_first_steps_of_a_run_the_rate_rises_to_what_is_planned(name, times):
    strategy = parts.find(Strategy, name, "kind")()
    samples = 3 * strategy.plan(BASE, Progress(workers=8, samples=1000)).batch
    epochs = list(itertools.islice(strategies.planned(strategy, BASE, 8, samples, Course(warmup_steps=4)), 2))
    rates = [plan.rate / (times * BASE.rate) for plans in epochs for plan in plans]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_no_steps_of_warm_up_leave_every_plan_as_it_is():
    strategy = parts.find(Strategy, "warmup", "kind")()
    with_none, plain = (strategies.planned(strategy, BASE, 8, 1000, *course) for course in ((Course(),), ()))
    assert next(with_none) == next(plain)


def test_a_strategy_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(UserError, match=r"kind: no strategy 'nope'; allowed: .*warmup, .*, or a file of your own"):
        parts.find(Strategy, "nope", "kind")


def test_every_file_of_the_folder_is_a_strategy():
    assert {"strong", "weak", "linear", "warmup"} <= set(parts.names(Strategy))
    assert all(issubclass(parts.find(Strategy, name, "kind"), Strategy) for name in parts.names(Strategy))
