"""The network model."""

import math
from dataclasses import replace

import pytest

from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.common.schema import build, plain
from strongscale.measurement import network as measurement
from strongscale.settings.config import NETWORKS, Network, Study
from strongscale.timing.network import all_reduce_s, read_measured

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


ALGORITHMS = ("two_level", "ring", "halving_doubling", "recursive_doubling", "direct")
PAIRS = Network(
    latency_s=1.0, bandwidth_bytes_per_s=10.0, workers_per_host=2, host_latency_s=0.5, host_bandwidth_bytes_per_s=100.0
)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("network", [FLAT, PAIRS])
def test_one_worker_says_nothing_whatever_the_algorithm(network, algorithm):
    assert all_reduce_s(replace(network, all_reduce=algorithm), 1, 100) == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("network", [FLAT, PAIRS])
@pytest.mark.parametrize("workers", [2, 3, 5, 6, 7, 8, 32])
def test_more_bytes_take_longer(network, algorithm, workers):
    seconds = [all_reduce_s(replace(network, all_reduce=algorithm), workers, size) for size in (0, 1, 1000, 10**7)]
    assert seconds == sorted(set(seconds))


# A latency is 1 s and 240 bytes take 24 s: messages one after another, and the share of the bytes in each.
@pytest.mark.parametrize(
    ("algorithm", "workers", "shares"),
    [
        ("ring", 2, [1 / 2] * 2),
        ("ring", 3, [1 / 3] * 4),
        ("ring", 8, [1 / 8] * 14),
        ("halving_doubling", 2, [1 / 2] * 2),
        ("halving_doubling", 4, [1 / 2, 1 / 4] * 2),
        ("halving_doubling", 8, [1 / 2, 1 / 4, 1 / 8] * 2),
        ("halving_doubling", 3, [1 / 2, 1 / 2, *[1 / 2] * 2, 1]),
        ("halving_doubling", 6, [1 / 2, 1 / 2, *[1 / 2, 1 / 4] * 2, 1]),
        ("recursive_doubling", 2, [1]),
        ("recursive_doubling", 8, [1, 1, 1]),
        ("recursive_doubling", 3, [1, 1, 1]),
        ("recursive_doubling", 7, [1, 1, 1, 1]),
        ("direct", 2, [1 / 2] * 2),
        ("direct", 3, [2 / 3] * 2),
        ("direct", 8, [7 / 8] * 2),
        ("two_level", 3, [1 / 3] * 4),
        ("two_level", 8, [7 / 24] * 6),
    ],
)
def test_hosts_of_one_worker_pay_for_each_message_and_its_share_of_the_bytes(algorithm, workers, shares):
    seconds = all_reduce_s(replace(FLAT, all_reduce=algorithm), workers, 240)
    assert seconds == pytest.approx(len(shares) * 1.0 + sum(shares) * 24)


# Four workers on two hosts: 0.5 s and 2.4 s inside a host, 1 s and 24 s through its one link.
@pytest.mark.parametrize(
    ("algorithm", "expected_s"),
    [
        ("two_level", 2 * 0.5 + 2.4 + 2 * 1.0 + 24),
        ("ring", 6 * (1.0 + 24 / 4)),
        ("halving_doubling", 2 * (0.5 + 2.4 / 2) + 2 * (1.0 + 2 * 24 / 4)),
        ("recursive_doubling", (0.5 + 2.4) + (1.0 + 2 * 24)),
        ("direct", 2 * (1.0 + 2 * 2 * 24 / 4)),
    ],
)
def test_workers_of_one_host_share_its_link(algorithm, expected_s):
    assert all_reduce_s(replace(PAIRS, all_reduce=algorithm), 4, 240) == pytest.approx(expected_s)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_on_one_host_only_its_own_speed_counts(algorithm):
    slow = replace(PAIRS, workers_per_host=None, all_reduce=algorithm)
    fast = replace(slow, latency_s=0.0, bandwidth_bytes_per_s=1e12)
    assert all_reduce_s(slow, 6, 240) == all_reduce_s(fast, 6, 240) > 0


class OneHost:
    """Ranks of one host whose sum takes, on a clock of its own, what the model says for one level."""

    latency_s = 1e-5
    bytes_per_s = 2e9

    def __init__(self, size):
        self.rank, self.size, self.now_s = 0, size, 0.0

    def barrier(self):
        pass

    def all_reduce(self, values):
        num_bytes = values.numel() * values.element_size()
        self.now_s += one_level_s(self.size, num_bytes, self.latency_s, self.bytes_per_s)


def one_level_s(peers, num_bytes, latency_s, bytes_per_s):
    return 2 * math.ceil(math.log2(peers)) * latency_s + 2 * (peers - 1) / peers * num_bytes / bytes_per_s


@pytest.fixture(params=[2, 3, 4, 8])
def measured(request, monkeypatch):
    """What is measured between so many ranks of one host."""
    host = OneHost(request.param)
    monkeypatch.setattr(measurement.world, "create", lambda: host)
    monkeypatch.setattr(measurement.time, "perf_counter", lambda: host.now_s)
    return measurement.measure(repeats=3)


@pytest.mark.parametrize("workers", [2, 3, 4, 8, 32])
def test_measured_workers_share_one_host_however_many_they_are(measured, workers):
    expected = one_level_s(workers, 4_764_880, OneHost.latency_s, OneHost.bytes_per_s)
    assert all_reduce_s(measured, workers, 4_764_880) == pytest.approx(expected, rel=1e-3)


def test_a_measured_network_is_read_as_it_was_written(measured, tmp_path):
    write_json(tmp_path / "network.json", plain(measured))
    assert read_measured(tmp_path / "network.json") == measured


def test_a_measurement_that_counts_hosts_is_not_taken(tmp_path):
    write_json(tmp_path / "network.json", plain(FLAT))
    with pytest.raises(UserError, match=r"network.json: workers_per_host: 1 is not allowed; allowed: null.*remove"):
        read_measured(tmp_path / "network.json")


def test_a_study_may_put_all_workers_on_one_host():
    raw = {"latency_s": 1.0, "bandwidth_bytes_per_s": 10.0, "workers_per_host": None, "host_latency_s": 0.5}
    study = build(Study, {"dataset": "d", "strategies": {}, "clock": "emulated", "network": raw}, "study")
    assert all_reduce_s(study.network, 32, 0) == 2 * 5 * 0.5
