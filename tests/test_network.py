"""The network model."""

import pytest

from strongscale.config import NETWORKS, Network
from strongscale.network import all_reduce_s

FLAT = Network(latency_s=1.0, bandwidth_bytes_per_s=10.0, workers_per_host=1)


def test_one_worker_says_nothing():
    assert all_reduce_s(FLAT, 1, 100) == 0


def test_two_hosts_pay_two_latencies_and_one_volume():
    assert all_reduce_s(FLAT, 2, 100) == pytest.approx(2 * 1.0 + 100 / 10)


def test_latency_grows_with_the_logarithm_and_volume_saturates():
    assert all_reduce_s(FLAT, 32, 100) == pytest.approx(2 * 5 * 1.0 + 2 * 31 / 32 * 100 / 10)


def test_workers_of_one_host_do_not_use_the_network():
    together = Network(
        latency_s=1.0, bandwidth_bytes_per_s=10.0, workers_per_host=2, host_latency_s=0, host_bandwidth_bytes_per_s=1e9
    )
    assert all_reduce_s(together, 2, 100) < 1e-6
    assert all_reduce_s(together, 4, 100) == pytest.approx(2 * 1.0 + 100 / 10, rel=1e-6)


def test_a_faster_preset_is_faster():
    times = [all_reduce_s(NETWORKS[name], 8, 4_764_880) for name in ("gigabit", "ten_gigabit", "infiniband")]
    assert times == sorted(times, reverse=True)
