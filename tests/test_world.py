"""What the ranks of a run agree on before they begin."""

import platform

import pytest
import torch
from conftest import launch_spoilt

from strongscale.common.errors import RunError, UserError
from strongscale.distributed import replicas, world

GPU = ""  # nothing stands in its way
NONE = world.NO_GPU


class Ranks(world.World):
    """Rank 0 among others, who say what they are given to say."""

    def __init__(self, others):
        self.others, self.size = others, 1 + len(others)

    def all_gather(self, value):
        return [value, *self.others]


def choose(monkeypatch, wanted, own, *others):
    """What rank 0 chooses, with such an obstacle of its own and of the others, each on a host of its own."""
    monkeypatch.setattr(world, "_own_gpu", lambda local: (None if own else torch.device("cuda", local), own))
    hosts = [(f"n{number}", obstacle) for number, obstacle in enumerate(others, start=1)]
    return world.choose_device(wanted, Ranks(hosts)).type


@pytest.mark.parametrize(
    ("wanted", "obstacles", "kind"),
    [
        ("auto", [GPU, GPU], "cuda"),
        ("auto", [NONE, NONE], "cpu"),
        ("cuda", [GPU], "cuda"),
        ("cpu", [GPU, world.SET_TO_CPU], "cpu"),
    ],
)
def test_ranks_that_find_the_same_compute_on_it(monkeypatch, wanted, obstacles, kind):
    assert choose(monkeypatch, wanted, *obstacles) == kind


@pytest.mark.parametrize(
    ("wanted", "obstacles", "words"),
    [
        ("auto", [GPU, NONE, GPU, "out of memory"], "host n1 (rank 1: none found), host n3 (rank 3: out of memory)"),
        ("auto", ["out of memory"], f"host {platform.node()} (rank 0: out of memory)"),
        ("auto", [NONE, GPU], f"host {platform.node()} (rank 0: none found)"),
        ("cuda", [GPU, NONE], "host n1 (rank 1: none found)"),
        ("cuda", [NONE], f"host {platform.node()} (rank 0: none found)"),
    ],
)
def test_ranks_that_do_not_are_told_which_and_what_to_do(monkeypatch, wanted, obstacles, words):
    with pytest.raises(UserError) as told:
        choose(monkeypatch, wanted, *obstacles)
    assert str(told.value).startswith(f"training.device: '{wanted}' is not possible here: no usable GPU on {words}, ")
    assert "set training.device: cpu" in str(told.value)


def test_ranks_of_a_host_without_a_gpu_are_named_together():
    told = [("n1", GPU), ("n2", NONE), ("n1", GPU), ("n2", NONE)]
    assert world._without_gpu(told) == "host n2 (ranks 1, 3: none found)"


def test_a_gpu_that_is_found_but_cannot_be_used_is_none(monkeypatch):
    def taken(*arguments, **options):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "zeros", taken)
    assert world._own_gpu(3) == (None, "CUDA error: all CUDA-capable devices are busy or unavailable")


def test_one_rank_without_a_gpu_ends_all_of_them(make_cell):
    """It used to compute on its CPU by itself, and to be waited for by the others for ever."""
    folder = make_cell("strong", 2)
    code = """
        import torch
        from types import SimpleNamespace
        zeros = torch.zeros
        if rank == 0:
            torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 1
            torch.cuda.set_device = lambda device: None
            torch.cuda.get_device_properties = lambda device: SimpleNamespace(uuid="gpu")
            torch.zeros = lambda *size, device=None: zeros(*size)
    """
    answer = launch_spoilt(folder, code)
    assert answer.returncode == 1
    last = answer.stderr.splitlines()[-1]
    assert f"'auto' is not possible here: no usable GPU on host {platform.node()} (rank 1: none found)" in last
    assert "Traceback" not in answer.stderr


def test_equal_digests_are_no_news():
    replicas.compare(Ranks([("a", "n1")]), "a", "the weights")


def test_the_fewer_are_named_when_digests_differ():
    others = [("b", "n1"), ("a", "n2"), ("c", "n3")]
    with pytest.raises(RunError, match=r"the weights: ranks 1, 3 \(host n1, n3\) differ from ranks 0, 2, "):
        replicas.compare(Ranks(others), "a", "the weights")
