"""Cells that share a job don't share a GPU."""

import subprocess
import sys
import tempfile

import pytest
from conftest import environment

from strongscale.gpus import own_gpu

JOB = {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "2,5"}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_each_cell_of_a_job_has_a_gpu_of_its_own(temporary):
    with own_gpu(1, JOB) as first, own_gpu(1, JOB) as second:
        assert first == {"CUDA_VISIBLE_DEVICES": "2"}
        assert second == {"CUDA_VISIBLE_DEVICES": "5"}
    assert list(temporary.iterdir()) == []


def test_a_gpu_is_free_again_when_its_cell_has_ended_or_died(temporary):
    code = "import os; from strongscale.gpus import own_gpu\nwith own_gpu(1, os.environ): os.kill(os.getpid(), 9)"
    variables = environment() | JOB | {"TMPDIR": str(temporary)}
    assert subprocess.run([sys.executable, "-c", code], env=variables).returncode == -9
    for _ in range(2):
        with own_gpu(1, JOB) as gpu:
            assert gpu == {"CUDA_VISIBLE_DEVICES": "2"}


def test_another_job_on_the_node_is_none_of_our_business():
    with own_gpu(1, JOB), own_gpu(1, JOB | {"SLURM_JOB_ID": "8"}) as gpu:
        assert gpu == {"CUDA_VISIBLE_DEVICES": "2"}


@pytest.mark.parametrize(
    "variables", [{}, {"SLURM_JOB_ID": "7"}, JOB | {"CUDA_VISIBLE_DEVICES": "2"}, {"CUDA_VISIBLE_DEVICES": "0,1"}]
)
def test_where_there_is_no_choice_nothing_is_chosen(variables):
    with own_gpu(1, variables) as gpu:
        assert gpu == {}


def test_ranks_of_one_cell_share_the_jobs_gpus_among_themselves():
    with own_gpu(2, JOB) as gpu:
        assert gpu == {}
