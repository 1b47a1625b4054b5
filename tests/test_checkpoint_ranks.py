"""A run on several ranks dies as a whole, and goes on on any number of them."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from conftest import environment, launch_spoilt, mostly_slow, mpi_command, mpirun, rows

from strongscale.distributed.world import World
from strongscale.recovery import failure
from strongscale.recovery.checkpoint import Store
from strongscale.recovery.interrupt import EXIT_STATUS
from strongscale.settings.config import Checkpoints
from strongscale.training.run import train


def start(ranks, folder):
    """Start a run as the workflow does, in a process group of its own."""
    command = [
        sys.executable,
        "-m",
        "strongscale.jobs.launch",
        str(folder),
        "--command",
        *mpi_command(ranks, "strongscale.training", folder),
    ]
    log = (folder / "train.log").open("a")
    return subprocess.Popen(command, env=environment(), stderr=log, start_new_session=True)


def wait_for_epoch(folder, process, epoch=2):
    """Until the journal has that epoch."""
    path = folder / "epochs.csv"
    while not path.exists() or len(path.read_text().splitlines()) < 1 + epoch:
        assert process.poll() is None, (folder / "train.log").read_text()
        time.sleep(0.02)


LONG = {"max_epochs": 400, "reduction": "exact", "microbatch": 2}


@pytest.mark.slow
@pytest.mark.parametrize(("ranks_then", "clock"), [(1, "emulated"), (2, "wall"), (4, "emulated")])
def test_a_run_killed_on_four_ranks_goes_on_on_any_number_with_the_same_bits(make_cell, ranks_then, clock):
    settings = LONG | {"max_epochs": 60, "clock": clock}
    calm, killed = (make_cell("strong", 4, name=f"{name}{ranks_then}", **settings) for name in ("calm", "killed"))
    train(calm, World(), any_ranks=True)
    process = start(4, killed)
    wait_for_epoch(killed, process, 12)
    process.kill()
    process.wait()
    assert not (killed / "result.json").exists()
    answer = mpirun(ranks_then, "strongscale.training", killed, "--any-ranks")
    assert answer.returncode == 0, answer.stderr
    assert "attempt 2, from step" in answer.stderr
    assert rows(killed) == rows(calm)
    result = json.loads((killed / "result.json").read_text())
    assert [attempt["ranks"] for attempt in result["history"]] == [4, ranks_then]
    assert result["ranks"] == ranks_then
    assert result["history"][0]["from_step"] == 0 < result["history"][1]["from_step"]


@pytest.mark.parametrize(
    "number", mostly_slow(signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2), ids=lambda number: number.name
)
def test_a_signal_to_the_ranks_is_a_checkpoint_and_a_status_that_asks_for_more(make_cell, number):
    folder = make_cell("strong", 2, checkpoints=Checkpoints(every_epochs=10**6), **LONG)
    command = [sys.executable, "-m", "strongscale.training", str(folder)]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for_epoch(folder, process)
    process.send_signal(number)
    _, words = process.communicate(timeout=60)
    assert process.returncode == EXIT_STATUS
    assert "start again to go on from the last checkpoint" in words
    assert len(list(folder.glob("checkpoint-*"))) == 1


@pytest.mark.parametrize("number", mostly_slow(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2))
def test_a_signal_to_the_whole_job_is_a_checkpoint_too(make_cell, number):
    """To the process group of the launcher, as schedulers and Ctrl-C do."""
    folder = make_cell("strong", 2, checkpoints=Checkpoints(every_epochs=10**6), **LONG)
    process = start(2, folder)
    wait_for_epoch(folder, process)
    os.killpg(process.pid, number)
    assert process.wait(timeout=60) == EXIT_STATUS
    assert len(list(folder.glob("checkpoint-*"))) == 1
    assert not (folder / "result.json").exists()


def test_killing_the_launcher_kills_all_ranks(make_cell):
    folder = make_cell("strong", 2, **LONG)
    process = start(2, folder)
    wait_for_epoch(folder, process)
    ranks = psutil.Process(process.pid).children(recursive=True)
    assert len(ranks) >= 3
    process.kill()
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert not alive


def test_one_dead_rank_ends_all(make_cell):
    folder = make_cell("strong", 3, **LONG)
    process = start(3, folder)
    wait_for_epoch(folder, process)
    ranks = [one for one in psutil.Process(process.pid).children(recursive=True) if "python" in one.name()]
    ranks[-1].kill()
    assert process.wait(timeout=60) == 1
    assert "killed from outside" in (folder / "train.log").read_text().splitlines()[-1]


def test_a_failing_rank_is_named_with_its_host_and_reason(make_cell):
    """Rank 1 fails in its first step, while rank 0 waits for it."""
    folder = make_cell("strong", 2, **LONG)
    code = """
        def broken(self, *arguments): raise RuntimeError('the disk of rank 1 is on fire')
        if rank == 1: loop.Trainer._take_step = broken
    """
    answer = launch_spoilt(folder, code)
    assert answer.returncode == 1
    assert "Traceback" in (folder / "train.log").read_text()
    reason = f"rank 1 on host {os.uname().nodename} failed: RuntimeError: the disk of rank 1 is on fire"
    assert reason in answer.stderr.splitlines()[-1]


def test_a_rank_that_fails_before_it_meets_the_others_ends_the_job(make_cell):
    """The data set can't be read on one host: the other waits for it with its first words."""
    folder = make_cell("strong", 2, **LONG)
    code = """
        def unreadable(*arguments): raise PermissionError(13, "Permission denied", "/data/cubes.npy")
        if rank == 1: setup.samples.read = unreadable
    """
    answer = launch_spoilt(folder, code)
    assert answer.returncode == 1
    assert "rank 1 on host" in answer.stderr.splitlines()[-1]
    assert "Permission denied: '/data/cubes.npy'" in answer.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("checkpoints", "what", "step"),
    [
        (Checkpoints(), "the weights after epoch 1", None),
        (Checkpoints(every_epochs=1, every_s=1e-9), "the weights or the optimizer's state after step 3", 2),
    ],
    ids=["at the epoch's end", "before a checkpoint"],
)
def test_a_rank_whose_weights_went_astray_ends_the_run(make_cell, checkpoints, what, step):
    """Four steps an epoch; rank 1's weights are spoilt after the third. Nothing of that is kept."""
    folder = make_cell("strong", 2, checkpoints=checkpoints)
    code = """
        take_step = loop.Trainer._take_step
        def spoilt(self, *arguments):
            take_step(self, *arguments)
            if self.progress.step == 3: self.flat.values.data.mul_(1.5)
        if rank == 1: loop.Trainer._take_step = spoilt
    """
    answer = launch_spoilt(folder, code)
    assert answer.returncode == 1
    host = os.uname().nodename
    assert f"{what}: rank 1 (host {host}) differ" in answer.stderr.splitlines()[-1]
    assert "Traceback" not in answer.stderr
    assert f"{what}: rank 1" in (folder / failure.NAME).read_text()
    assert not failure.is_permanent(folder)  # tried again, it may well succeed
    assert not (folder / "result.json").exists()
    assert not (folder / "epochs.csv").exists()
    newest = next(iter(Store(folder, {}).paths()), None)
    assert (newest and newest.name) == (step and f"checkpoint-{step:09d}.safetensors")
