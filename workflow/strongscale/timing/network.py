"""The modelled network of the emulated clock: what an all-reduce costs, by the algorithm that does it.

`two_level`: inside each host, then between hosts, one message stream a host (PowerAI DDL's idea: by topology). Each level
takes 2·ceil(log2 p) messages and moves 2·(p-1)/p of the bytes (Rabenseifner's reduce-scatter and all-gather): the best a
network of that latency and bandwidth allows. Only the latency's part grows with log n; that of the bytes, nearly all of it
where gradients are large, is bounded by twice their time on the link. So it is not the c·log n that the paper assumes.
`ring` (Horovod's): all workers in one ring that enters and leaves each host once; 2·(n-1) messages of 1/n of the bytes.
`halving_doubling`: Rabenseifner's between all workers as if there were no hosts, as Open MPI does it: halves of the bytes
with the nearest partner, quarters with one twice as far, and back.
`recursive_doubling`: all bytes with the nearest partner, then with one twice as far: fewest messages, most bytes.
`direct`: what `reduction: exact` does: each worker hands every other its segment, and later the segment's sum; all at once.

Halving and doubling go between 2^k workers: the others first hand theirs to a neighbour, and at the end are told the sum.
Links carry both directions at full speed; workers of one host share its link. benchmarks/network_check.py compares this
with shaped links.
"""

import math
from pathlib import Path

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.schema import build
from strongscale.settings.config import NETWORKS, Network, Study


def all_reduce_s(network: Network, workers: int, num_bytes: int) -> float:
    """Seconds of one all-reduce of that many bytes between so many workers."""
    return MODELS[network.all_reduce](network, workers, num_bytes) if workers > 1 else 0.0


def _two_level_s(network: Network, workers: int, num_bytes: int) -> float:
    within = _within(network, workers)
    hosts = math.ceil(workers / within)
    return _level_s(within, num_bytes, network.host_latency_s, network.host_bandwidth_bytes_per_s) + _level_s(
        hosts, num_bytes, network.latency_s, network.bandwidth_bytes_per_s
    )


def _level_s(peers: int, num_bytes: int, latency_s: float, bandwidth_bytes_per_s: float) -> float:
    if peers == 1:
        return 0.0
    return 2 * math.ceil(math.log2(peers)) * latency_s + 2 * (peers - 1) / peers * num_bytes / bandwidth_bytes_per_s


def _ring_s(network: Network, workers: int, num_bytes: int) -> float:
    """Every round lasts as long as the slowest of its links."""
    latency_s, bandwidth = _link(network, crosses=workers > _within(network, workers))
    return 2 * (workers - 1) * (latency_s + num_bytes / workers / bandwidth)


def _halving_doubling_s(network: Network, workers: int, num_bytes: int) -> float:
    """Of each round there and back; who is beyond the power of two swaps halves, hands one on, and is told the sum."""
    distances = _distances(workers)
    rounds = [_round_s(network, workers, distance, num_bytes / (2 * distance)) for distance in distances]
    folded = [] if workers == 2 * distances[-1] else [num_bytes / 2, num_bytes / 2, num_bytes]
    return 2 * sum(rounds) + sum(_round_s(network, workers, 1, share) for share in folded)


def _recursive_doubling_s(network: Network, workers: int, num_bytes: int) -> float:
    """Who is beyond the power of two takes part through a neighbour: one message before, one after."""
    distances = _distances(workers)
    folded = [] if workers == 2 * distances[-1] else [1, 1]
    return sum(_round_s(network, workers, distance, num_bytes) for distance in (*distances, *folded))


def _direct_s(network: Network, workers: int, num_bytes: int) -> float:
    """There and back, all of a worker's messages at once, and all that leave a host through its one link."""
    within, segment = _within(network, workers), num_bytes / workers
    inside_s = network.host_latency_s + (within - 1) * segment / network.host_bandwidth_bytes_per_s
    if workers == within:
        return 2 * inside_s
    return 2 * max(inside_s, network.latency_s + within * (workers - within) * segment / network.bandwidth_bytes_per_s)


def _distances(workers: int) -> list[int]:
    """How far apart partners are in each round between the largest 2^k of so many workers: 1, 2, 4, ..."""
    return [2**number for number in range(workers.bit_length() - 1)]


def _round_s(network: Network, workers: int, distance: int, num_bytes: float) -> float:
    """All workers swap so many bytes with a partner; those of a host share its link where partners are elsewhere."""
    within = _within(network, workers)
    crosses = distance >= within and workers > within
    latency_s, bandwidth = _link(network, crosses=crosses)
    return latency_s + (within if crosses else 1) * num_bytes / bandwidth


def _within(network: Network, workers: int) -> int:
    """The workers of one host."""
    return min(workers, network.workers_per_host or workers)


def _link(network: Network, *, crosses: bool) -> tuple[float, float]:
    """Latency and bandwidth between hosts, or inside one."""
    if crosses:
        return network.latency_s, network.bandwidth_bytes_per_s
    return network.host_latency_s, network.host_bandwidth_bytes_per_s


MODELS = {
    "two_level": _two_level_s,
    "ring": _ring_s,
    "halving_doubling": _halving_doubling_s,
    "recursive_doubling": _recursive_doubling_s,
    "direct": _direct_s,
}


def network_of(study: Study, measured: Path) -> Network:
    """The modelled network of a study; `measured` is where a measured one would lie."""
    if isinstance(study.network, Network):
        return study.network
    return read_measured(measured) if study.network == "measured" else NETWORKS[study.network]


def read_measured(path: Path) -> Network:
    """The network measured on this machine: one host for all workers."""
    network = build(Network, read_json(path), str(path))
    if network.workers_per_host is not None:
        raise UserError(
            f"{path}: workers_per_host: {network.workers_per_host} is not allowed; allowed: null, for what was measured "
            "joins the workers of one host; remove the file and run again"
        )
    return network
