"""Who gets which samples."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strongscale.gradients.shares import split
from strongscale.training.sampler import epoch_order


@given(count=st.integers(0, 500), parts=st.integers(1, 40))
def test_shares_cover_everything_once_and_differ_by_one_at_most(count, parts):
    shares = split(count, parts)
    sizes = [share.stop - share.start for share in shares]
    assert len(shares) == parts
    assert [index for share in shares for index in range(count)[share]] == list(range(count))
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_three_workers_share_32_samples_as_11_11_10():
    assert [share.stop - share.start for share in split(32, 3)] == [11, 11, 10]


def test_an_epoch_takes_every_sample_once_in_an_order_of_its_own():
    first, second = epoch_order(100, seed=1, epoch=0), epoch_order(100, seed=1, epoch=1)
    assert sorted(first) == list(range(100))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, epoch_order(100, seed=1, epoch=0))
    assert not np.array_equal(first, epoch_order(100, seed=2, epoch=0))
