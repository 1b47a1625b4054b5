"""What joins two ranks on this machine, measured: latency and bandwidth of an all-reduce."""

import argparse
import logging
import math
import statistics
import time
from pathlib import Path

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.common.schema import plain
from strongscale.distributed import world
from strongscale.jobs import launchers
from strongscale.settings.config import Network

log = logging.getLogger(__name__)


def measure(repeats: int = 30) -> Network:
    """Latency and bandwidth of an all-reduce between the ranks there are, by its time at two sizes.

    Any number of workers then counts as sharing one host: what was measured is what joins them there.
    """
    import torch

    ranks = world.create()
    if ranks.size < 2:
        raise UserError(
            "measuring the network takes at least 2 ranks: mpirun -n 2 python -m strongscale.measurement.network ..."
        )
    small, large = torch.zeros(1), torch.zeros(2_000_000)
    times_s = []
    for values in (small, large):
        durations_s = []
        for _ in range(repeats):
            ranks.barrier()
            start_s = time.perf_counter()
            ranks.all_reduce(values)
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
    parser = argparse.ArgumentParser(prog="strongscale.measurement.network", description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="JSON file with the measured network")
    options = parser.parse_args(arguments)
    if not world.is_started_by_mpi():
        launchers.run_on(2, "strongscale.measurement.network", *arguments)
        return
    network = measure()
    if world.create().rank == 0:
        write_json(options.output, plain(network))
        log.info(
            "measured: latency %.2g s, bandwidth %.3g bytes/s", network.latency_s, network.host_bandwidth_bytes_per_s
        )


if __name__ == "__main__":
    run(main)
