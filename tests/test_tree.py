"""The fixed tree's sum over ranks: any number of them, any shares, the same bits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed
from hypothesis import given
from hypothesis import strategies as st

from strongscale.distributed.world import MPIWorld, World
from strongscale.gradients import tree
from strongscale.gradients.shares import split


class Threads:
    """As many ranks as threads: what one gives, the others find."""

    def __init__(self, size):
        self.size, self.barrier, self.given = size, threading.Barrier(size), [None] * size

    def swap(self, rank, value):
        """What all ranks gave."""
        self.given[rank] = value
        self.barrier.wait()
        found = list(self.given)
        self.barrier.wait()
        return found


class Rank(World):
    """One of them."""

    def __init__(self, threads, rank):
        self.threads, self.rank, self.size = threads, rank, threads.size

    def swap(self, sent, received):
        given = self.threads.swap(self.rank, [tensor.clone() for tensor in sent])
        for rank in set(range(self.size)) - {self.rank}:
            received[rank].copy_(given[rank][self.rank])


def total(leaves, ranks):
    """The sum of these leaves (L, N), shared out over so many ranks; all of them find the same."""
    shares, world = split(len(leaves), ranks), Threads(ranks)

    def one(rank):
        own = tree.Tree(len(leaves), torch.Tensor.add_)
        for leaf in range(shares[rank].start, shares[rank].stop):
            own.insert((0, leaf), leaves[leaf].clone())
        keys = tree.keys_of(shares[rank], len(leaves))
        assert sorted(own.nodes) == sorted(keys)
        found = torch.full_like(leaves[0], torch.nan)
        tree.add_up(Rank(world, rank), shares, [own.nodes[key] for key in keys], found)
        return found

    with ThreadPoolExecutor(ranks) as pool:
        found = list(pool.map(one, range(ranks)))
    assert all(torch.equal(one, found[0]) for one in found)
    return found[0]


@given(count=st.integers(1, 40), size=st.integers(1, 9), ranks=st.integers(2, 7), seed=st.integers(0, 99))
def test_the_sum_has_the_same_bits_on_every_number_of_ranks(count, size, ranks, seed):
    """Ranks without a leaf, and without a number of the gradient, among them."""
    leaves = torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) * 1e3
    alone = tree.Tree(count, torch.Tensor.add_)
    for leaf in range(count):
        alone.insert((0, leaf), leaves[leaf].clone())
    (expected,) = alone.nodes.values()
    torch.testing.assert_close(expected, leaves.sum(0), rtol=1e-3, atol=1e-1)
    assert torch.equal(total(leaves, ranks), expected)


def test_a_rank_holds_few_nodes_however_many_leaves_it_has():
    for share in split(1000, 7):
        assert len(tree.keys_of(share, 1000)) <= 2 * 10


def meet(rank, size, folder):
    """One of several processes that speak gloo, which needs no GPU: what NCCL is asked for, it is asked for."""
    store = torch.distributed.FileStore(f"{folder}/store", size)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size, store=store)
    world = object.__new__(MPIWorld)
    world.rank, world.size, world.transport = rank, size, "nccl"
    shares = split(2 * size, size)
    leaves = torch.randn(2 * size, 5, generator=torch.Generator().manual_seed(1)) * 1e3
    nodes = tree.Tree(len(leaves), torch.Tensor.add_)
    for leaf in range(shares[rank].start, shares[rank].stop):
        nodes.insert((0, leaf), leaves[leaf].clone())
    found = torch.zeros(5)
    tree.add_up(world, shares, [nodes.nodes[key] for key in tree.keys_of(shares[rank], len(leaves))], found)
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_what_nccl_is_asked_for_gives_the_same_bits(tmp_path):
    torch.multiprocessing.spawn(meet, (3, str(tmp_path)), nprocs=3)
    leaves = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)) * 1e3
    for rank in range(3):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), total(leaves, 2))
