"""Exact sums: the same bits whoever computes what."""

import json

import numpy as np
import pytest
import torch
from conftest import mpirun
from hypothesis import given
from hypothesis import strategies as st

from strongscale.distributed.world import World
from strongscale.gradients.flat import FlatParameters
from strongscale.gradients.passes import Passes
from strongscale.gradients.reduction import ExactReduction
from strongscale.training.run import train


class Scalar(torch.nn.Module):
    """A model whose gradient for a sample is the sample itself."""

    def __init__(self, size):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(size))

    def forward(self, samples):
        return samples @ self.weight


def total(samples, workers, microbatch):
    """The sum of the samples' gradients, computed by so many workers in one process."""
    model = Scalar(samples.shape[1])
    flat = FlatParameters(model)
    reduction = ExactReduction(flat, Passes(flat, lambda batch: model(*batch)), World(), workers, microbatch=microbatch)
    reduction.start(len(samples))
    losses = [
        reduction.add((samples[shard],), worker)
        for worker, shard in enumerate(reduction.shards(len(samples)))
        if shard.stop > shard.start
    ]
    found = reduction.finish()
    assert len(torch.cat(losses)) == len(samples)
    return found.clone()


@given(count=st.integers(1, 70), microbatch=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_sum_has_the_same_bits_for_every_number_of_workers(count, microbatch, seed):
    samples = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)) * 1e3
    expected = total(samples, 1, microbatch)
    torch.testing.assert_close(expected, samples.sum(0), rtol=1e-3, atol=1e-1)
    for workers in (2, 3, 5, 8, 32):
        assert torch.equal(total(samples, workers, microbatch), expected)


def test_another_order_of_additions_has_other_bits():
    """The test above could not fail if these numbers added up alike in any order."""
    samples = torch.randn(64, 50, generator=torch.Generator().manual_seed(0)) * 1e3
    assert not torch.equal(total(samples, 1, 1), total(samples, 1, 64))


def hashes(folder):
    """The digest of the weights after every epoch."""
    return np.genfromtxt(folder / "epochs.csv", delimiter=",", names=True, dtype=None, encoding=None)["weights_hash"]


@pytest.mark.parametrize(
    ("clock", "cases"),
    [
        ("emulated", [(8, 1), (5, 3)]),
        ("wall", [(1, 1), (2, 2)]),
        pytest.param("emulated", [(8, 1), (8, 2), (8, 4)], marks=pytest.mark.slow),
        pytest.param("wall", [(1, 1), (6, 6)], marks=pytest.mark.slow),
    ],
)
def test_training_has_the_same_bits_on_every_number_of_workers_and_ranks(make_cell, clock, cases):
    """50 samples in minibatches of 16 and micro-batches of 2: the last minibatch is a partial one."""
    found = []
    for workers, ranks in cases:
        settings = {"reduction": "exact", "microbatch": 2, "clock": clock, "name": f"w{workers}r{ranks}"}
        folder = make_cell("strong", workers, **settings)
        if ranks == 1:
            train(folder, World())
        else:
            answer = mpirun(ranks, "strongscale.training", folder)
            assert answer.returncode == 0, answer.stderr
        assert json.loads((folder / "result.json").read_text())["ranks"] == ranks
        found.append(list(hashes(folder)))
    assert len(found[0]) == 3
    assert all(one == found[0] for one in found)


def test_the_exact_path_is_the_fast_one_but_for_rounding(run_cell):
    exact, fast = run_cell("strong", 4, reduction="exact", microbatch=2), run_cell("strong", 4, name="fast")
    np.testing.assert_allclose(exact.epoch_log.validation, fast.epoch_log.validation, rtol=1e-4)
