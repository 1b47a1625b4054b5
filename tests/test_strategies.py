"""The strategies, by their equations."""

import itertools

import numpy as np
import pytest
from conftest import mpirun, rows

from strongscale.common import parts
from strongscale.common.errors import UserError
from strongscale.common.schema import build
from strongscale.distributed.world import World
from strongscale.settings import cells, timed
from strongscale.settings.config import Study
from strongscale.strategies import base as strategies
from strongscale.strategies.base import Course, Plan, Progress, Statistics, Strategy
from strongscale.training.run import train

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


# --- rules for rate and minibatch


def test_the_square_root_rule():
    assert planned("squareroot", 4) == Plan(128, 2 * BASE.rate)
    assert planned("squareroot", 1) == BASE


def growing(workers=4, **parameters):
    """The minibatch of each epoch of 1000 samples."""
    strategy = parts.find(Strategy, "growing", "kind")(**parameters)
    plans = [strategy.plan(BASE, Progress(workers=workers, samples=1000, epoch=epoch)) for epoch in range(6)]
    assert {plan.rate for plan in plans} == {BASE.rate}
    return [plan.batch for plan in plans]


def test_the_minibatch_grows_where_the_rate_would_fall():
    assert growing(epochs=(2, 4), factor=2.5) == [32, 32, 80, 80, 200, 200]


def test_the_minibatch_grows_up_to_the_whole_training_set():
    assert growing(epochs=(1, 2), factor=10.0) == [32, 320, 1000, 1000, 1000, 1000]


def test_a_growing_minibatch_is_the_same_on_any_number_of_workers():
    assert growing(1, epochs=(3,)) == growing(32, epochs=(3,))


def test_a_growing_minibatch_with_one_worker_is_not_the_sequential_run():
    lines = {"growing": {"parameters": {"epochs": [2]}}, "late": {"kind": "growing", "parameters": {"epochs": [50]}}}
    raw = {"task": "digits", "strategies": lines, "workers": [1, 2], "training": {"max_epochs": 9}}
    study = build(Study, raw, "study")
    alone = {line: cell.strategy for (line, workers, _), cell in cells.matrix("digits", study).items() if workers == 1}
    assert alone == {"growing": "growing", "late": "sequential"}


# --- what gradients tell


def rates(gradients, workers=4, parts_each=1, **parameters):
    """AdaScale's rates, over eta, for steps whose parts have these mean gradients: (steps, parts, numbers)."""
    strategy = parts.find(Strategy, "adascale", "kind")(**parameters)
    progress, found = Progress(workers=workers, samples=10**6), []
    for of_parts in [*gradients, None]:
        plan = strategy.plan(BASE, progress)
        assert plan.batch == workers * BASE.batch
        found.append(plan.rate / BASE.rate)
        if of_parts is not None:
            sizes = (BASE.batch // parts_each,) * len(of_parts)
            told = Statistics(sizes, tuple((of_parts**2).sum(1)), float((of_parts.mean(0) ** 2).sum()))
            progress = progress.after(plan, plan.batch, told)
    return found


def test_the_gain_is_one_where_workers_agree_and_n_where_all_is_noise():
    assert rates(np.ones((3, 4, 5))) == pytest.approx([1] * 4)
    assert rates(np.tile(np.eye(4), (3, 1, 1))) == pytest.approx([1, 4, 4, 4])


@pytest.mark.parametrize("parts_each", [1, 4])
def test_the_gain_is_that_of_variance_and_gradient_however_fine_the_parts(parts_each):
    """A worker's gradient has variance 6 and a mean of squared norm 2: (6 + 2) / (6/4 + 2)."""
    noise = np.random.default_rng(0).normal(size=(3000, 4 * parts_each, 6)) * np.sqrt(parts_each)
    mean = np.sqrt([2, 0, 0, 0, 0, 0])
    gain = rates(noise + mean, parts_each=parts_each)[-1]
    assert gain == pytest.approx(8 / 3.5, rel=0.1)
    assert rates(noise + mean, parts_each=parts_each, power=0.5)[-1] == pytest.approx(np.sqrt(gain))


def test_one_worker_gains_nothing():
    assert rates(np.random.default_rng(0).normal(size=(5, 1, 6)), workers=1) == [1] * 6


def test_a_run_whose_rate_follows_its_gradients_is_the_same_on_ranks(make_cell):
    """Exact mode's parts are micro-batches, whoever computes them."""
    settings = {"reduction": "exact", "microbatch": 2, "batch_size": 6}
    alone, together = (make_cell("adascale", 3, name=name, **settings) for name in ("alone", "together"))
    train(alone, World())
    answer = mpirun(2, "strongscale.training", together)
    assert answer.returncode == 0, answer.stderr
    assert rows(together) == rows(alone)
    assert all(0.003 < float(row["learning_rate"]) <= 0.009 for row in rows(alone))


# --- strategies with update rules of their own


@pytest.mark.parametrize("name", ["sma", "local", "diloco", "easgd"])
def test_workers_with_weights_of_their_own_take_whole_minibatches(name):
    assert planned(name, 8) == Plan(256, BASE.rate)
    assert cells.update_rule(None, parts.find(Strategy, name, "kind")()).kind == name


def test_seconds_are_measured_of_learners_passes():
    lines = {"sma": {"update": {"kind": "sma", "learners": 2}}}
    raw = {"task": "digits", "strategies": lines, "workers": [1, 4], "training": {"batch_size": 32}}
    study = build(Study, raw, "study")
    assert timed.minibatches(study, "sma") == {(32, 1), (32, 2), (128, 8)}
