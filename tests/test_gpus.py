"""Cells that run side by side don't share a GPU."""

import subprocess
import sys
import tempfile
import threading

import pytest
from conftest import environment

from strongscale.common.errors import UserError
from strongscale.jobs import gpus
from strongscale.jobs.gpus import own_gpu

JOB = {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "2,5"}
ONE, TWO = {"ranks": 1, "training": {"device": "auto"}}, {"ranks": 2, "training": {"device": "cuda"}}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A function that gives this machine so many GPUs."""
    monkeypatch.setattr(gpus, "_is_for_cpus", lambda: False)
    monkeypatch.setattr(gpus, "DEVICES", tmp_path / "dev")

    def give(count):
        (tmp_path / "dev").mkdir()
        for name in (*(f"nvidia{number}" for number in range(count)), "nvidiactl", "nvidia-uvm", "null"):
            (tmp_path / "dev" / name).touch()

    return give


def locks(temporary):
    return sorted(path.name for path in temporary.glob("strongscale-*/*gpu*"))


def test_each_cell_of_a_job_has_a_gpu_of_its_own(temporary):
    with own_gpu(ONE, JOB) as first, own_gpu(ONE, JOB) as second:
        assert first == {"CUDA_VISIBLE_DEVICES": "2"}
        assert second == {"CUDA_VISIBLE_DEVICES": "5"}
        assert locks(temporary) == ["job7-gpu2", "job7-gpu5"]
    assert locks(temporary) == []


def test_a_gpu_is_free_again_when_its_cell_has_ended_or_died(temporary):
    code = "import os; from strongscale.jobs.gpus import own_gpu\nwith own_gpu({'ranks': 1}, os.environ): os.kill(os.getpid(), 9)"
    variables = environment() | JOB | {"TMPDIR": str(temporary)}
    assert subprocess.run([sys.executable, "-c", code], env=variables).returncode == -9
    for _ in range(2):
        with own_gpu(ONE, JOB) as gpu:
            assert gpu == {"CUDA_VISIBLE_DEVICES": "2"}


def test_another_job_on_the_node_is_none_of_our_business():
    with own_gpu(ONE, JOB), own_gpu(ONE, JOB | {"SLURM_JOB_ID": "8"}) as gpu:
        assert gpu == {"CUDA_VISIBLE_DEVICES": "2"}


@pytest.mark.parametrize("variables", [{"SLURM_JOB_ID": "7"}, JOB | {"CUDA_VISIBLE_DEVICES": "2"}])
def test_a_job_with_one_gpu_or_none_leaves_no_choice(machine, variables):
    machine(2)
    with own_gpu(ONE, variables) as gpu:
        assert gpu == {}


def test_ranks_of_one_cell_share_the_jobs_gpus_among_themselves():
    with own_gpu(TWO, JOB) as gpu:
        assert gpu == {}


def test_without_a_scheduler_each_cell_has_one_of_the_machines_gpus(machine):
    machine(2)
    with own_gpu(ONE, {}) as first, own_gpu(ONE, {}) as second:
        assert [first, second] == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]


def test_without_a_scheduler_cells_keep_to_the_gpus_that_they_are_shown(machine, temporary):
    machine(4)
    shown = {"CUDA_VISIBLE_DEVICES": "3,MIG-GPU-1/0/0"}
    with own_gpu(ONE, shown) as first, own_gpu(ONE, shown) as second:
        assert [first, second] == [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "MIG-GPU-1/0/0"}]
        assert locks(temporary) == ["machine-gpu3", "machine-gpuMIG-GPU-1_0_0"]


@pytest.mark.parametrize("shown", ["", "-1", "NoDevFiles"])
def test_a_cell_that_is_shown_no_gpu_has_none(machine, shown):
    machine(2)
    with own_gpu(ONE, {"CUDA_VISIBLE_DEVICES": shown}) as gpu:
        assert gpu == {}


def test_a_cell_without_a_free_gpu_waits_for_one(machine, monkeypatch):
    machine(1)
    slept, order = threading.Event(), []
    monkeypatch.setattr(gpus.time, "sleep", lambda seconds: slept.set())

    def second():
        with own_gpu(ONE, {}) as gpu:
            order.append(gpu)

    with own_gpu(ONE, {}):
        other = threading.Thread(target=second)
        other.start()
        assert slept.wait(30)
        assert order == []
    other.join(30)
    assert order == [{"CUDA_VISIBLE_DEVICES": "0"}]


def test_a_cell_of_several_ranks_takes_its_gpus_at_once_or_none(machine, temporary, monkeypatch):
    machine(3)
    seen = []

    def nap(seconds):
        seen.append(locks(temporary))
        raise InterruptedError

    monkeypatch.setattr(gpus.time, "sleep", nap)
    with own_gpu(TWO, {}) as first:
        assert first == {"CUDA_VISIBLE_DEVICES": "0,1"}
        with pytest.raises(InterruptedError), own_gpu(TWO, {}):
            pass
        assert seen == [["machine-gpu0", "machine-gpu1"]]  # nothing is kept while waiting
        with own_gpu(ONE, {}) as third:
            assert third == {"CUDA_VISIBLE_DEVICES": "2"}


def test_more_ranks_than_gpus_take_all_of_them(machine):
    machine(2)
    with own_gpu({"ranks": 4}, {}) as gpu:
        assert gpu == {"CUDA_VISIBLE_DEVICES": "0,1"}


@pytest.mark.parametrize("variables", [{}, JOB])
def test_a_cell_on_the_cpu_takes_no_gpu(machine, temporary, variables):
    machine(2)
    with own_gpu({"ranks": 1, "training": {"device": "cpu"}}, variables) as gpu:
        assert gpu == {}
        assert locks(temporary) == []


def test_a_machine_without_gpus_or_a_torch_for_cpus_has_none_to_deal_out(machine, monkeypatch):
    assert gpus.visible({}) == []
    machine(2)
    monkeypatch.setattr(gpus, "_is_for_cpus", lambda: True)
    assert gpus.visible({}) == []


@pytest.mark.parametrize("kind", ["open", "file", "link"])
def test_a_place_for_locks_that_others_can_write_is_refused(machine, temporary, kind):
    machine(1)
    with own_gpu(ONE, {}):
        place = next(temporary.glob("strongscale-*"))
    assert place.stat().st_mode & 0o777 == 0o700
    if kind == "open":
        place.chmod(0o777)
    else:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()
        place.symlink_to(temporary) if kind == "link" else place.touch()
    with pytest.raises(UserError, match="set TMPDIR"), own_gpu(ONE, {}):
        pass
