"""The search for the rate of a batch size, without any training: points, rungs, borders, budgets."""

import math
from dataclasses import replace

import numpy as np
import pytest

from strongscale.strategies.base import Plan, Strategy
from strongscale.strategies.growing import Growing
from strongscale.tuning import budget, halving
from strongscale.tuning.halving import Outcome, Rung
from strongscale.tuning.sequence import WARMUPS, Point, points

FULL = 20


def bowl(best_rate, best_warmup=0.05):
    """A made-up run: its loss is least at this rate and warm-up, falls with the epochs, and is infinite far above that rate."""
    trained = {}

    def train(point, epochs):
        trained[point] = epochs
        away = math.log2(point.learning_rate / best_rate)
        loss = 1 + away**2 + 0.01 * WARMUPS.index(point.warmup) * (point.warmup != best_warmup) + 1 / epochs
        return Outcome(point, math.inf if away > 3 else loss, epochs)

    return train, trained


@pytest.mark.parametrize("count", [2, 4, 8, 16])
@pytest.mark.parametrize("times", [1, 8])
def test_the_points_lie_evenly_from_a_quarter_of_eta_to_four_times_the_linear_rule(count, times):
    eta = 0.002
    low, high = eta / 4, 4 * times * eta
    found = points(count, eta, times)
    across = sorted(math.log(point.learning_rate / low) / math.log(high / low) for point in found)
    assert [math.floor(count * place) for place in across] == list(range(count))
    warmups = [point.warmup for point in found]
    assert all(abs(warmups.count(warmup) - count / len(WARMUPS)) < 1 for warmup in WARMUPS)


def test_every_batch_size_has_the_same_points_scaled():
    small, large = (points(8, 0.002, times) for times in (1, 8))
    assert [point.warmup for point in small] == [point.warmup for point in large]
    across = [
        [math.log(point.learning_rate / 0.0005) / math.log(16 * times) for point in found]
        for found, times in ((small, 1), (large, 8))
    ]
    assert across[0] == pytest.approx(across[1], abs=1e-3)


def test_half_of_the_points_go_on_from_each_rung():
    assert halving.rungs(8, FULL) == [Rung(8, 5), Rung(4, 10), Rung(2, 20)]
    assert halving.rungs(2, 1) == [Rung(2, 1), Rung(1, 1), Rung(1, 1)]


def test_eight_points_cost_four_full_runs():
    ladder = halving.rungs(8, FULL)
    train, trained = bowl(0.002)
    found = halving.halve(points(8, 0.002, 1), ladder, train)
    assert halving.planned_cost(ladder) == 4
    assert sum(outcome.epochs for outcome in found) == sum(trained.values()) == 4 * FULL


def test_the_better_half_is_trained_on_and_a_diverged_one_is_not():
    tried = [Point(rate, 0.0) for rate in (0.001, 0.002, 0.004, 1.0)]
    train, trained = bowl(0.002)
    found = halving.halve(tried, halving.rungs(4, FULL), train)
    assert [trained[point] for point in tried] == [10, 20, 5, 5]
    assert [outcome.is_finalist for outcome in found] == [False, True, False, False]
    assert found[-1].loss == math.inf


@pytest.mark.parametrize("times", [1, 4, 8])
@pytest.mark.parametrize("share", [0.3, 1.0, 2.0])
def test_the_optimum_is_found_for_small_and_large_batches_alike(times, share):
    eta = 0.002
    train, _ = bowl(share * eta * times)
    found = halving.search(points(8, eta, times), halving.rungs(8, FULL), 3, train)
    best = halving.best_of(found).point
    spacing = (16 * times) ** (1 / 8)
    assert abs(math.log(best.learning_rate / (share * eta * times))) <= math.log(spacing) * 1.5
    assert halving.beyond(found) is None


@pytest.mark.parametrize(("times", "octaves"), [(1, 0.25), (8, 0.35)])
def test_noise_of_a_tenth_of_what_an_octave_costs_moves_the_choice_by_less_than_the_points_are_apart(times, octaves):
    """On average over optima anywhere between eta and the linear rule, 500 searches of each batch size."""
    random = np.random.default_rng(1)
    away = []
    for _ in range(500):
        optimum = 0.002 * times ** random.uniform(0, 1) * 2 ** random.uniform(-1, 1)
        train, _ = bowl(optimum)

        def noisy(point, epochs, train=train):
            outcome = train(point, epochs)
            return replace(outcome, loss=outcome.loss + 0.1 * random.standard_normal())

        found = halving.search(points(8, 0.002, times), halving.rungs(8, FULL), 3, noisy)
        away.append(abs(math.log2(halving.best_of(found).point.learning_rate / optimum)))
    assert np.mean(away) < octaves


@pytest.mark.parametrize(("optimum", "direction"), [(0.04, 1), (0.0001, -1)])
def test_where_the_best_lies_at_the_border_the_search_goes_on_beyond_it(optimum, direction):
    train, _ = bowl(optimum)
    tried = points(8, 0.002, 1)
    found = halving.search(tried, halving.rungs(8, FULL), 6, train)
    extensions = [outcome.point.learning_rate for outcome in found if outcome.is_extension]
    assert extensions == sorted(extensions, reverse=direction < 0)
    assert abs(math.log2(halving.best_of(found).point.learning_rate / optimum)) <= 0.5
    assert halving.beyond(found) is None
    assert all(outcome.epochs == FULL for outcome in found if outcome.is_extension)


def test_the_search_beyond_the_border_is_bounded_and_its_end_there_is_told():
    train, _ = bowl(10.0)
    found = halving.search(points(8, 0.002, 1), halving.rungs(8, FULL), 2, train)
    assert [outcome.is_extension for outcome in found].count(True) == 2
    assert halving.beyond(found) is not None


def test_where_every_run_diverges_smaller_rates_are_tried():
    train, _ = bowl(1e-5)
    found = halving.search(points(4, 0.002, 1), halving.rungs(4, FULL), 9, train)
    assert halving.best_of(found).point.learning_rate < 0.0001
    assert halving.best_of(found).loss < math.inf


def test_the_objective_is_the_best_loss_so_far_and_infinite_where_a_run_diverged():
    assert halving.objective([3.0, 1.0, 2.0], diverged=False) == 1.0
    assert halving.objective([3.0, math.nan], diverged=False) == math.inf
    assert halving.objective([3.0, 1.0], diverged=True) == math.inf


def each_of(batch, strategy=None):
    return budget.steps_each(strategy or Strategy(), Plan(batch, 1.0), 1, 500)


@pytest.mark.parametrize(("batch", "epochs"), [(32, 20), (64, 40), (256, 160), (1000, 320)])
def test_a_budget_of_steps_gives_every_batch_size_as_many_updates(batch, epochs):
    found = budget.full_epochs("steps", 20, 320, each_of(batch))
    assert found == epochs
    steps = budget.steps_in(found, each_of(batch))
    assert 320 <= steps < 320 + budget.steps_in(1, each_of(batch))
    assert budget.full_epochs("epochs", 20, 320, each_of(batch)) == 20


def test_a_growing_minibatch_is_counted_in_the_steps_that_it_takes():
    growing = Growing(epochs=(1, 2), factor=4)
    assert [budget.steps_in(epochs, each_of(32, growing)) for epochs in (1, 2, 3, 4)] == [16, 20, 21, 22]
    assert budget.full_epochs("steps", 3, 24, each_of(32, growing)) == 6
