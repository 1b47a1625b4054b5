"""The check of the network model: what it says of given times, and where it cannot be made."""

import csv
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from benchmarks import hosts, network_check
from benchmarks.network_check import Setting
from conftest import ROOT, environment

SIZES = (100_000, network_check.GRADIENT_BYTES)
LATENCIES_S = {"gigabit": 10e-6, "ten_gigabit": 5e-6}


def measured_with(num_hosts=2, **times_ms):
    """What a check measures: so many milliseconds on 1 and 10 Gbit/s and on links that aren't shaped."""
    return {
        Setting(network=network, hosts=num_hosts, algorithm=algorithm, transport=transport, num_bytes=num_bytes): [
            0.9 * times_ms[network],
            times_ms[network],
            1.2 * times_ms[network],
        ]
        for network in (*network_check.PRESETS, network_check.UNSHAPED)
        for algorithm in network_check.MODEL_OF
        for transport in network_check.TRANSPORTS
        for num_bytes in SIZES
    }


@pytest.fixture
def rows():
    return network_check.compare(measured_with(gigabit=50.0, ten_gigabit=5.0, unshaped=2.0), LATENCIES_S)


def row_of(rows, **wanted):
    (found,) = [row for row in rows if all(getattr(row.setting, key) == value for key, value in wanted.items())]
    return found


GRADIENT = {"num_bytes": network_check.GRADIENT_BYTES, "transport": network_check.IN_PIECES}


def test_each_shaped_setting_is_one_row_with_its_cores_and_its_model(rows):
    assert len(rows) == 2 * 5 * 2 * 2
    row = row_of(rows, network="gigabit", algorithm="ring", **GRADIENT)
    assert row.quartiles_ms == (pytest.approx(47.5), 50.0, pytest.approx(55.0))
    assert row.cores_ms == 2.0
    assert row.modelled_ms == pytest.approx(1000 * (2 * 50e-6 + 4_764_880 / 117e6))
    assert row.with_latency_ms == pytest.approx(row.modelled_ms - 2 * 0.04)


def test_the_error_is_the_models_share_too_much(rows):
    row = row_of(rows, network="gigabit", algorithm="recursive_doubling", **GRADIENT)
    assert row.error == pytest.approx(row.modelled_ms / 50 - 1) == pytest.approx(-0.185, abs=1e-3)


@pytest.mark.parametrize(
    ("measured_ms", "cores_ms", "beyond"), [(50, 20, 0.0), (80, 80, 0.0), (40, 1, 0.02), (64, 20, -0.05)]
)
def test_what_the_cores_may_have_taken_is_left_open(rows, measured_ms, cores_ms, beyond):
    row = replace(rows[0], quartiles_ms=(0.0, measured_ms, 0.0), cores_ms=cores_ms, modelled_ms=40.8)
    assert row.error_beyond_cores == pytest.approx(beyond)


def test_the_summary_counts_who_is_near_and_names_who_is_furthest(rows):
    words = network_check.summary(rows)
    assert "in 0 of 5 cases, in 5 where the cores' part is left open" in words
    near = network_check.compare(measured_with(gigabit=41.0, ten_gigabit=5.0, unshaped=2.0), LATENCIES_S)
    assert "within 15% in 5 of 5 cases" in network_check.summary(near)


def test_the_page_tells_every_figure_with_its_quartiles(rows):
    text = network_check.page(rows, LATENCIES_S, {"cores": "2"}, "python -m it")
    assert (
        "| 1 Gbit/s | 2 | `ring` | in pieces | 4764880 | 50 (47.5 to 55) | 2 | 40.8 | -18.3% | -14.3% | 40.7 | -18.5% |"
        in text
    )
    assert "1 Gbit/s: 10 µs; 10 Gbit/s: 5 µs (presets: 1 Gbit/s: 50 µs; 10 Gbit/s: 20 µs)" in text
    assert "Made by `python -m it`; not written by hand." in text


def test_the_csv_has_a_line_a_row(rows, tmp_path):
    network_check.write_csv(tmp_path / "network.csv", rows)
    with (tmp_path / "network.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(rows)
    assert (lines[0]["network"], lines[0]["median_ms"], lines[0]["cores_ms"]) == ("gigabit", "50", "2")


@pytest.mark.parametrize("reason", ["it takes root's rights", "there is no tc"])
def test_where_there_can_be_no_hosts_one_sentence_says_so_and_nothing_is_written(monkeypatch, capsys, tmp_path, reason):
    monkeypatch.setattr(hosts, "obstacle", lambda: reason)
    network_check.main(["--output", str(tmp_path / "benchmarks")])
    assert capsys.readouterr().err == f"The network model was not checked, for {reason}.\n"
    assert list(tmp_path.iterdir()) == []


def test_without_roots_rights_there_are_no_hosts(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert hosts.obstacle() == "it takes root's rights"


def test_a_tool_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(hosts.shutil, "which", lambda tool: None if tool == "tc" else f"/sbin/{tool}")
    assert hosts.obstacle() == "there is no tc"


def network_namespaces():
    return set(subprocess.run(["lsns", "-t", "net", "-n", "-o", "NS"], capture_output=True, text=True).stdout.split())


@pytest.mark.slow
@pytest.mark.skipif(hosts.obstacle() is not None, reason="needs root's rights, ip, tc and network namespaces")
def test_two_hosts_are_measured_and_nothing_is_left_of_them(tmp_path):
    before = network_namespaces()
    command = [sys.executable, "-m", "benchmarks.network_check", "--quick", "--output", tmp_path]
    variables = environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workflow")])}
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "## Which all-reduce" in (tmp_path / "network.md").read_text()
    assert network_namespaces() <= before
