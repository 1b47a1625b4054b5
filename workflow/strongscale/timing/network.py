"""The modelled network of the emulated clock.

An all-reduce goes in two levels: inside each host, then between hosts, one message stream a host. Each level takes
2·ceil(log2 p) messages and moves 2·(p-1)/p of the bytes (Rabenseifner's reduce-scatter and all-gather): the best a
network of that latency and bandwidth allows, and of the form c·log n that the paper assumes.
"""

import math

from strongscale.settings.config import Network


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
