"""The gradient noise scale of made-up gradients, whose scale is known."""

import math

import numpy as np
import pytest

from strongscale.advice.noise import noise_scale
from strongscale.strategies.base import Statistics

NOISE_SCALE = 40.0


def steps_of(random, count, *, sizes=(8, 8, 8, 8), scale=NOISE_SCALE, dimensions=30):
    """Statistics of steps whose samples' gradients are the true one, of norm 1, and normal noise."""
    true_D = np.zeros(dimensions)
    true_D[0] = 1.0
    told = []
    for _ in range(count):
        spreads = np.sqrt(scale / dimensions / np.array(sizes))
        parts_PxD = true_D + random.normal(0, 1, (len(sizes), dimensions)) * spreads[:, None]
        whole_D = np.average(parts_PxD, axis=0, weights=sizes)
        told.append(Statistics(tuple(sizes), tuple((parts_PxD**2).sum(axis=1).tolist()), float(whole_D @ whole_D)))
    return told


@pytest.mark.parametrize("sizes", [(8, 8, 8, 8), (1, 3, 28), (16, 16)])
def test_the_scale_is_found_whatever_the_parts(sizes):
    found = noise_scale(steps_of(np.random.default_rng(1), 3000, sizes=sizes), resamples=50)
    assert found.batch.value == pytest.approx(NOISE_SCALE, rel=0.1)
    assert found.variance == pytest.approx(NOISE_SCALE, rel=0.05)
    assert found.square == pytest.approx(1.0, rel=0.05)


def test_equal_parts_give_the_estimator_of_two_batches():
    (step,) = steps_of(np.random.default_rng(2), 1)
    small, big = np.mean(step.part_squares), step.square
    assert step.true_square == pytest.approx((32 * big - 8 * small) / (32 - 8))
    assert step.sample_variance == pytest.approx((small - big) / (1 / 8 - 1 / 32))


def test_intervals_hold_the_truth():
    random, count = np.random.default_rng(3), 100
    found = [noise_scale(steps_of(random, 150), resamples=200).batch for _ in range(count)]
    assert sum(one.low <= NOISE_SCALE <= one.high for one in found) >= 85


def test_estimates_below_zero_are_counted_and_kept():
    found = noise_scale(steps_of(np.random.default_rng(4), 400, scale=400.0), resamples=50)
    assert found.negative_squares > 50
    assert found.square == pytest.approx(1.0, abs=0.5)


def test_where_noise_hides_the_gradient_the_scale_has_no_upper_end():
    found = noise_scale(steps_of(np.random.default_rng(5), 40, scale=1e4), resamples=200)
    assert found.batch.high == math.inf


def test_what_neighbouring_steps_have_in_common_widens_the_interval():
    """Each step five times over tells no more than once."""
    steps = steps_of(np.random.default_rng(6), 60)
    repeated = [step for step in steps for _ in range(5)]
    one_by_one, in_blocks = (noise_scale(repeated, block).batch for block in (1, 15))
    assert math.log(in_blocks.high / in_blocks.low) > 1.5 * math.log(one_by_one.high / one_by_one.low)


def test_steps_of_one_part_tell_nothing():
    assert noise_scale([Statistics((8,), (1.0,), 1.0)] * 100) is None
    assert noise_scale(steps_of(np.random.default_rng(7), 3)) is None
