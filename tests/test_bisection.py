"""Bisection around a threshold, against thresholds that were made up."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongscale.tuning import bisection
from strongscale.tuning.bisection import MOST_DOUBLINGS, Bracket

ROUNDED = 1.005  # what three digits can add


def recorded(threshold):
    """Whether a number lies below the threshold; and all numbers that were asked about."""
    asked = []

    def passes(value):
        asked.append(value)
        return value <= threshold

    return passes, asked


@given(st.floats(1.01, 60), st.floats(1.05, 2))
def test_the_bracket_holds_the_threshold_and_is_as_narrow_as_was_asked(threshold, resolution):
    found = bisection.search(1, 8, recorded(threshold)[0], resolution=resolution)
    assert found.lower <= threshold < found.upper
    assert found.upper / found.lower <= resolution


@given(st.floats(2, 30), st.floats(0.5, 1.9), st.floats(2.5, 60))
def test_other_ends_move_the_edge_by_less_than_the_resolution(threshold, lower, upper):
    passes = recorded(threshold)[0]
    edges = [bisection.search(*ends, passes, resolution=1.2).lower for ends in ((1, 8), (lower, 8), (1, upper))]
    assert max(edges) / min(edges) < 1.2


def test_nothing_is_tried_twice_and_the_middles_lie_on_the_logarithmic_scale():
    passes, asked = recorded(3)
    bisection.search(1, 16, passes, resolution=2.1)
    assert asked == [16, 4, 2]


def test_an_upper_end_that_passes_becomes_the_lower_one_and_is_doubled():
    passes, asked = recorded(10)
    assert bisection.search(1, 4, passes, resolution=2) == Bracket(8, 16)
    assert asked == [4, 8, 16]


def test_a_threshold_beyond_all_doublings_is_not_found():
    passes, asked = recorded(math.inf)
    assert bisection.search(1, 4, passes, resolution=1.2) == Bracket(4 * 2**MOST_DOUBLINGS, None)
    assert all(later == 2 * earlier for earlier, later in pairwise(asked))


@pytest.mark.parametrize(("value", "expected"), [(0.00123456, 0.00123), (0.1 + 0.2, 0.3), (1234567.0, 1230000.0)])
def test_numbers_have_few_digits(value, expected):
    assert bisection.tidy(value) == expected
