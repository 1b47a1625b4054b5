"""Seconds in which a run was suspended are told apart from work, and no clock counts them."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch
from conftest import environment, mostly_slow, mpi_command, rows

from strongscale.distributed.world import World
from strongscale.recovery import suspension
from strongscale.recovery.suspension import PERIOD_S, Suspension, Watch
from strongscale.timing import stopwatch
from strongscale.timing.clock import WallClock
from strongscale.timing.stopwatch import GpuStopwatch, HostStopwatch, Lap
from strongscale.training.run import train

# --- telling suspension from work


class Machine:
    """The clocks that a watch reads: time itself, and what this process had of the processor."""

    def __init__(self):
        self.now_s, self.used_s, self.queued_s = 1000.0, 0.0, 0.0

    def pass_by(self, seconds, *, used=0.0, queued=0.0):
        self.now_s, self.used_s, self.queued_s = self.now_s + seconds, self.used_s + used, self.queued_s + queued


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    clocks = SimpleNamespace(monotonic=lambda: machine.now_s, process_time=lambda: machine.used_s)
    monkeypatch.setattr(suspension, "time", clocks)
    monkeypatch.setattr(suspension, "_queued_s", lambda thread: machine.queued_s / 2)
    return machine


def test_a_process_that_neither_works_nor_waits_for_its_turn_stands_still(machine, caplog):
    watch = Watch()
    with watch.running():
        machine.pass_by(100.0, used=0.2)
        assert watch.seconds() == 100.0 - PERIOD_S
        machine.pass_by(50.0)
    assert watch.seconds() == 150.0 - 2 * PERIOD_S
    assert "stood still for 100 s: suspended" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "what"),
    [(100.0, {"used": 99.0}), (100.0, {"queued": 99.0}), (100.0, {"used": 40.0, "queued": 40.0}), (4.0, {})],
    ids=["computing", "a loaded machine", "both", "a moment"],
)
def test_what_only_looks_like_it_is_work(machine, seconds, what):
    watch = Watch()
    with watch.running():
        machine.pass_by(seconds, **what)
        assert watch.seconds() == 0.0


def test_who_does_not_watch_sees_nothing(machine):
    watch = Watch()
    with watch.running():
        pass
    machine.pass_by(100.0)
    assert watch.seconds() == 0.0


class Ranks(World):
    """This rank, and another one that stood still for so long."""

    def __init__(self, other_s):
        self.other_s = other_s

    def all_gather(self, value):
        others, self.other_s = self.other_s, 0.0
        return [value, others]


class Set(Watch):
    """A watch whose seconds a test sets."""

    stood_s = 0.0

    def seconds(self):
        return self.stood_s


def suspended(own_s=0.0, other_s=0.0):
    """A suspension that its clock learns of at the next look."""
    found = Suspension(Ranks(other_s))
    found.watch = Set()
    found.watch.stood_s = own_s
    return found


def test_ranks_stand_as_long_as_the_one_that_stands_longest():
    found = suspended(60.0, 70.0)
    found.agree()
    found.agree()
    assert (found.agreed_s, found.own_s, found.seconds) == (70.0, 60.0, 70.0)
    found.watch.stood_s += 5.0
    assert found.seconds == 75.0


# --- clocks


@pytest.fixture
def seconds(monkeypatch):
    """The stopwatch's time, in a test's hand."""
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: now.s))
    return now


def wall_clock(found):
    return WallClock(HostStopwatch(found.watch), found)


def test_the_wall_clock_leaves_out_a_suspension_within_a_step(seconds):
    found = suspended()
    clock = wall_clock(found)
    clock.start()
    with clock.computing(4):
        seconds.s += 63.0
        found.watch.stood_s += 60.0
    with clock.communicating():
        seconds.s += 1.0
    told = clock.now()
    assert (told.total, told.compute, told.communication) == (4.0, 3.0, 1.0)


def test_waiting_for_a_rank_that_was_suspended_is_no_communication(seconds):
    found = suspended()
    clock = wall_clock(found)
    clock.start()
    for waited_s in (0.5, 60.5):
        with clock.computing(4):
            seconds.s += 3.0
        with clock.communicating():
            seconds.s += waited_s
    found.world.other_s = 60.0
    told = clock.now()
    assert (told.total, told.compute, told.communication) == (7.0, 6.0, 1.0)


def test_what_was_suspended_before_the_clock_started_is_none_of_its(seconds):
    found = suspended(60.0)
    clock = wall_clock(found)
    clock.start()
    with clock.computing(4):
        seconds.s += 3.0
    assert clock.now().total == 3.0


def test_a_gpus_lap_tells_the_suspension_inside(monkeypatch):
    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self):
            pass

        def elapsed_time(self, end):
            return 63_000.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    watch = Set()
    gpu = GpuStopwatch(torch.device("cuda"), watch)
    with gpu.measure("a"):
        watch.stood_s += 60.0
    assert gpu.read() == [Lap("a", 63.0, 60.0)]


# --- real jobs

TRAIN = """
import pathlib, sys, time
from strongscale.common import command
from strongscale.recovery import continuation
from strongscale.recovery import suspension
from strongscale.training.__main__ import main

def wait(self, run, step, epoch):
    after_epoch(self, run, step, epoch)
    while epoch == 2 and not pathlib.Path(sys.argv[1], "go").exists():
        time.sleep(0.05)

suspension.SHORTEST_S = 0.5
after_epoch, continuation.Continuation.after_epoch = continuation.Continuation.after_epoch, wait
command.run(main)
"""
"""Training that takes half a second for a suspension, so that a test needn't stop it for long, and waits after two epochs."""


def start(ranks, folder):
    """Start a job as the workflow does."""
    program = ["-m", "mpi4py"] if ranks > 1 else []
    train_it = [sys.executable, *program, "-c", TRAIN, str(folder)]
    mpi = [*mpi_command(ranks, "")[:6]] if ranks > 1 else []
    command = [sys.executable, "-m", "strongscale.jobs.launch", str(folder), "--command", *mpi, *train_it]
    log = (folder / "train.log").open("w")
    return subprocess.Popen(command, env=environment(), stderr=log, start_new_session=True)


def wait_until(condition, folder, process):
    deadline_s = time.monotonic() + 100
    while not condition():
        assert process.poll() is None, (folder / "train.log").read_text()
        assert time.monotonic() < deadline_s, (folder / "train.log").read_text()
        time.sleep(0.02)


def ranks_of(process):
    """The ranks that a launcher has started."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [one for one in below if one.name().startswith("python")]


def silent_s(folder):
    return time.time() - json.loads((folder / "heartbeat.json").read_text())["at"]


@pytest.mark.parametrize(
    ("ranks", "number"), mostly_slow((1, signal.SIGSTOP), (2, signal.SIGSTOP), (2, signal.SIGTSTP)), ids=str
)
def test_a_job_whose_launcher_is_stopped_stands_still_and_goes_on_with_the_same_bits(make_cell, ranks, number):
    """As bstop does in a job's first minute: nothing but the launcher gets the signal."""
    settings = {"max_epochs": 4, "clock": "wall", "reduction": "exact", "microbatch": 2}
    calm, stopped = (make_cell("strong", ranks, name=name, **settings) for name in ("calm", "stopped"))
    train(calm, World(), any_ranks=True)
    process = start(ranks, stopped)
    epochs = stopped / "epochs.csv"
    wait_until(lambda: epochs.exists() and len(epochs.read_text().splitlines()) == 3, stopped, process)
    everybody = ranks_of(process)
    assert len(everybody) == ranks
    os.kill(process.pid, number)
    wait_until(lambda: all(one.status() == psutil.STATUS_STOPPED for one in everybody), stopped, process)
    wait_until(lambda: silent_s(stopped) > 3.0, stopped, process)
    (stopped / "go").touch()
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(timeout=100) == 0, (stopped / "train.log").read_text()
    assert rows(stopped) == rows(calm)
    result = json.loads((stopped / "result.json").read_text())
    assert 0.0 < result["suspended_s"] == result["history"][0]["suspended_s"]
    assert result["parts"]["communication_s"] + result["parts"]["compute_s"] <= result["time_s"]
    assert "stood still for" in (stopped / "train.log").read_text()
