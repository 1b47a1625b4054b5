"""The modelled network of the emulated clock, and the measurement of the machine's own.

An all-reduce goes in two levels: inside each host, then between hosts, one message stream a host. Each level takes
2·ceil(log2 p) messages and moves 2·(p-1)/p of the bytes (Rabenseifner's reduce-scatter and all-gather): the best a
network of that latency and bandwidth allows, and of the form c·log n that the paper assumes.
"""

import argparse
import logging
import math
import statistics
import time
from pathlib import Path

from strongscale import launchers, world
from strongscale.command import run
from strongscale.config import Network
from strongscale.errors import UserError
from strongscale.files import write_json
from strongscale.schema import plain

log = logging.getLogger(__name__)


def all_reduce_s(network: Network, workers: int, num_bytes: int) -> float:
    """Seconds of one all-reduce of that many bytes between so many workers."""
    within = min(workers, network.workers_per_host or workers)
    hosts = math.ceil(workers / within)
    return _level_s(within, num_bytes, network.host_latency_s, network.host_bandwidth_bytes_per_s) + _level_s(
        hosts, num_bytes, network.latency_s, network.bandwidth_bytes_per_s
    )


def _level_s(peers: int, num_bytes: int, latency_s: float, bandwidth_bytes_per_s: float) -> float:
    if peers == 1:
        return 0.0
    return 2 * math.ceil(math.log2(peers)) * latency_s + 2 * (peers - 1) / peers * num_bytes / bandwidth_bytes_per_s


def measure(repeats: int = 30) -> Network:
    """Latency and bandwidth of an all-reduce between the ranks there are, by its time at two sizes.

    Any number of workers then counts as sharing one host: what was measured is what joins them there.
    """
    import torch

    ranks = world.create()
    if ranks.size < 2:
        raise UserError("measuring the network takes at least 2 ranks: mpirun -n 2 python -m strongscale.network ...")
    small, large = torch.zeros(1), torch.zeros(2_000_000)
    times_s = []
    for values in (small, large):
        durations_s = []
        for _ in range(repeats):
            ranks.gather(None)
            start_s = time.perf_counter()
            ranks.sum(values)
            durations_s.append(time.perf_counter() - start_s)
        times_s.append(statistics.median(durations_s))
    num_bytes = large.numel() * large.element_size()
    latency_s = times_s[0] / (2 * math.ceil(math.log2(ranks.size)))
    bandwidth = 2 * (ranks.size - 1) / ranks.size * num_bytes / max(times_s[1] - times_s[0], 1e-9)
    return Network(
        latency_s=latency_s,
        bandwidth_bytes_per_s=bandwidth,
        workers_per_host=None,
        host_latency_s=latency_s,
        host_bandwidth_bytes_per_s=bandwidth,
    )


def main(arguments: list[str]) -> None:
    """Measure the network between the ranks of this job and write it down."""
    parser = argparse.ArgumentParser(prog="strongscale.network", description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file with the measured network")
    options = parser.parse_args(arguments)
    if not world.is_started_by_mpi():
        launchers.run_on(2, "strongscale.network", *arguments)
        return
    network = measure()
    if world.create().rank == 0:
        write_json(options.output, plain(network))
        log.info(
            "measured: latency %.2g s, bandwidth %.3g bytes/s", network.latency_s, network.host_bandwidth_bytes_per_s
        )


if __name__ == "__main__":
    run(main)
