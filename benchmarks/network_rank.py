"""One rank of the network's check: all-reduces, timed whenever rank 0 is told to."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from strongscale.common.command import run

GRADIENT_BYTES = 4_764_880
SAMPLES = {10_000: (20, 10), 100_000: (15, 5), 1_000_000: (9, 2), GRADIENT_BYTES: (7, 1)}
"""By the bytes of a sum: how often it is timed, and how many sums each time, one after another."""
QUICK_SAMPLES = {10_000: (3, 1), GRADIENT_BYTES: (3, 1)}
WARM_UP, PINGS = 2, 100
GO, END = "go\n", "end\n"
"""What rank 0 is told: mpirun doesn't hand on that there is no more to come."""
OURS = "direct"
"""The contender that isn't Open MPI's."""


def be_a_rank(algorithm: str, samples: Mapping[int, tuple[int, int]]) -> None:
    """One rank: for each GO that rank 0 is given, time all sums and tell the milliseconds."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    works = {num_bytes: _sum_of(algorithm, num_bytes // 4) for num_bytes in samples}
    while comm.bcast(sys.stdin.readline() == GO if comm.rank == 0 else None):
        _take_cores(True)
        told: dict[str, list[float]] = {"latency": _latency_ms(comm)}
        for num_bytes, (count, calls) in samples.items():
            times_ms = []
            for _ in range(WARM_UP + count):
                comm.Barrier()
                start_s = time.perf_counter()
                for _ in range(calls):
                    works[num_bytes]()
                times_ms.append(comm.allreduce(1000 * (time.perf_counter() - start_s) / calls, MPI.MAX))
            told[str(num_bytes)] = times_ms[WARM_UP:]
        _take_cores(False)
        if comm.rank == 0:
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


def _take_cores(wanted: bool) -> None:
    """Go before everything else on this machine, but only while time is taken: a rank that yields yields to ranks."""
    if wanted:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    else:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _latency_ms(comm: Any) -> list[float]:
    """Half of the way of a byte from the first rank to the last and back, often; in the first rank."""
    byte, last, times_ms = bytearray(1), comm.size - 1, []
    comm.Barrier()
    for _ in range(PINGS):
        start_s = time.perf_counter()
        if comm.rank == 0:
            comm.Send(byte, last)
            comm.Recv(byte, last)
        elif comm.rank == last:
            comm.Recv(byte, 0)
            comm.Send(byte, 0)
        times_ms.append(1000 * (time.perf_counter() - start_s) / 2)
    comm.Barrier()
    return times_ms[PINGS // 10 :]


def _sum_of(algorithm: str, count: int) -> Callable[[], object]:
    """The work that adds up so many numbers over all ranks; that it does is checked."""
    if algorithm == OURS:
        work, values = _our_sum(count)
    else:
        work, values = _open_mpi_sum(count)
    values[:] = 1
    work()
    from mpi4py import MPI

    if not bool((values == MPI.COMM_WORLD.size).all()):
        raise RuntimeError(f"{algorithm}: the sum of {count} ones over all ranks is wrong")
    values[:] = 0
    return work


def _open_mpi_sum(count: int) -> tuple[Callable[[], object], Any]:
    import numpy as np
    from mpi4py import MPI

    values = np.zeros(count, np.float32)
    return lambda: MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, values), values


def _our_sum(count: int) -> tuple[Callable[[], object], Any]:
    import torch

    from strongscale.distributed import world
    from strongscale.gradients import tree

    torch.set_num_threads(1)
    ranks, values = world.create(), torch.zeros(count)
    leaves = [slice(rank, rank + 1) for rank in range(ranks.size)]
    return lambda: tree.add_up(ranks, leaves, [values], values), values


def main(arguments: list[str]) -> None:
    """Be one rank, until rank 0 is told of the end."""
    parser = argparse.ArgumentParser(prog="benchmarks.network_rank", description=main.__doc__)
    parser.add_argument("algorithm", help="whose sums")
    parser.add_argument("--quick", action="store_true", help="few of them")
    options = parser.parse_args(arguments)
    be_a_rank(options.algorithm, QUICK_SAMPLES if options.quick else SAMPLES)


if __name__ == "__main__":
    run(main)
