"""What the ranks of a run agree on."""

import pytest

from strongscale import replicas, world
from strongscale.errors import RunError


class Ranks(world.World):
    """Rank 0 among others, who say what they are given to say."""

    def __init__(self, others):
        self.others, self.size = others, 1 + len(others)

    def gather(self, value):
        return [value, *self.others]


def test_equal_digests_are_no_news():
    replicas.compare(Ranks([("a", "n1")]), "a", "the weights")


def test_the_fewer_are_named_when_digests_differ():
    others = [("b", "n1"), ("a", "n2"), ("c", "n3")]
    with pytest.raises(RunError, match=r"the weights: ranks 1, 3 \(host n1, n3\) differ from ranks 0, 2, "):
        replicas.compare(Ranks(others), "a", "the weights")
