"""Times are read at an epoch's end; a GPU's come from marks in its queue, here a queue that runs late."""

from types import SimpleNamespace

import pytest
import torch

from strongscale.distributed.world import World
from strongscale.recovery.suspension import Suspension, Watch
from strongscale.timing import stopwatch
from strongscale.timing.clock import WallClock
from strongscale.timing.stopwatch import GpuStopwatch, HostStopwatch


class Queue:
    """A GPU that works only when it is waited for; `work` takes it so many seconds, and the CPU none."""

    def __init__(self):
        self.jobs, self.now_s, self.waits = [], 100.0, 0

    def work(self, seconds):
        self.jobs.append(seconds)

    def synchronize(self, device):
        self.waits += 1
        for job in self.jobs:
            if isinstance(job, Event):
                job.at_s = self.now_s
            else:
                self.now_s += job
        self.jobs.clear()


class Event:
    """A mark in the queue."""

    at_s = None

    def __init__(self, queue):
        self.queue = queue

    def record(self):
        self.queue.jobs.append(self)

    def elapsed_time(self, end):
        return 1000 * (end.at_s - self.at_s)


@pytest.fixture
def queue(monkeypatch):
    """The queue in place of the GPU, and its time in place of the CPU's."""
    queue = Queue()
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event(queue))
    monkeypatch.setattr(torch.cuda, "synchronize", queue.synchronize)
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: queue.now_s))
    return queue


def test_a_gpus_laps_are_its_own_and_not_the_cpus(queue):
    gpu = GpuStopwatch(torch.device("cuda"), Watch())
    for name, seconds in (("a", 2.0), ("b", 3.0), ("a", 0.5)):
        with gpu.measure(name):
            queue.work(seconds)
        queue.work(7.0)  # outside: nobody's
    assert queue.waits == 0
    assert gpu.read() == [("a", 2.0, 0.0), ("b", 3.0, 0.0), ("a", 0.5, 0.0)]
    assert queue.waits == 1
    assert gpu.read() == []


def test_the_wall_clock_waits_for_a_gpu_once_an_epoch_and_its_parts_make_up_the_total(queue):
    clock = WallClock(GpuStopwatch(torch.device("cuda"), Watch()), Suspension(World()))
    clock.start()
    waits = queue.waits
    for _ in range(10):
        with clock.computing(4):
            queue.work(2.0)
        with clock.communicating():
            queue.work(0.25)
        with clock.updating():
            queue.work(0.5)
    assert queue.waits == waits
    with clock.evaluating():
        queue.work(3.0)
    seconds = clock.now()
    assert (seconds.compute, seconds.communication, seconds.evaluation) == (25.0, 2.5, 3.0)
    assert seconds.total == 30.5


def test_the_hosts_laps_are_told_in_order_and_once(monkeypatch):
    times = iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    host = HostStopwatch(Watch())
    for name in ("a", "b"):
        with host.measure(name):
            pass
    assert host.read() == [("a", 2.0, 0.0), ("b", 0.5, 0.0)]
    assert host.read() == []


def test_the_device_chooses_the_stopwatch():
    assert isinstance(stopwatch.create(torch.device("cpu"), Watch()), HostStopwatch)
    assert isinstance(stopwatch.create(torch.device("cuda", 0), Watch()), GpuStopwatch)
