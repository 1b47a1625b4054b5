"""Why a run failed, in words."""

import pytest

from strongscale.common.errors import UserError
from strongscale.recovery import failure


def explain(folder, status=1, asked_mb=8000, peak_mb=500.0, limit_reached=False):
    return failure.explain(status, folder, asked_mb=asked_mb, peak_mb=peak_mb, limit_reached=limit_reached)


@pytest.mark.parametrize("status", [137, -9])
def test_a_kill_near_the_memory_asked_for_is_called_out_of_memory(tmp_path, status):
    words = "killed, most likely out of memory: the largest process had 7.9 GB of the 8.0 GB asked for; raise memory_mb"
    assert explain(tmp_path, status, peak_mb=7900.0) == f"{words}; see {tmp_path / 'train.log'}"


@pytest.mark.parametrize("asked_mb", [8000, None])
def test_a_kill_far_from_the_memory_asked_for_came_from_outside(tmp_path, asked_mb):
    assert explain(tmp_path, 137, asked_mb=asked_mb).startswith(
        "killed from outside (signal 9): out of memory on the node, the scheduler, or an administrator; see "
    )


def test_what_the_others_say_of_a_killed_rank_is_told_after_the_kill(tmp_path):
    failure.tell(tmp_path, 0, RuntimeError("connection closed by peer"))
    words = explain(tmp_path, 137)
    assert words.startswith("killed from outside")
    assert "connection closed by peer" in words


def test_a_time_limit_is_no_failure_of_the_run(tmp_path):
    failure.tell(tmp_path, 0, RuntimeError("connection closed by peer"))
    told = explain(tmp_path, 137, limit_reached=True)
    assert told == "reached its time limit; it goes on from its last checkpoint when started again"


def test_a_missing_package_is_named_with_its_node(tmp_path):
    failure.record(tmp_path, "rank 3 on host node7 failed: ModuleNotFoundError: No module named 'safetensors'")
    assert explain(tmp_path).startswith(
        "the node node7 lacks the package safetensors: use the same environment there; see "
    )


def test_a_users_mistake_is_told_in_its_own_words(tmp_path):
    failure.tell(tmp_path, 0, UserError("training.target: 0 is not allowed"))
    assert explain(tmp_path) == "training.target: 0 is not allowed"
    assert failure.reason(tmp_path).startswith("rank 0 on host ")


def test_any_other_error_keeps_its_rank_and_names_the_logs(tmp_path):
    failure.tell(tmp_path, 2, RuntimeError("no\nsuch device"))
    (tmp_path / "job.json").write_text('{"log": "logs/1234.log"}')
    words = explain(tmp_path)
    assert words.startswith("rank 2 on host ")
    assert words.endswith(f"failed: RuntimeError: no such device; see {tmp_path / 'train.log'} and logs/1234.log")


def test_the_first_failure_stays(tmp_path):
    failure.tell(tmp_path, 1, RuntimeError("the cause"))
    failure.tell(tmp_path, 0, RuntimeError("a consequence"))
    assert "the cause" in failure.reason(tmp_path)
    failure.clear(tmp_path)
    assert failure.reason(tmp_path) == failure.UNKNOWN


def test_a_crash_in_compiled_code_is_told_by_its_signal(tmp_path):
    assert "SIGSEGV (signal 11)" in explain(tmp_path, 139)


@pytest.mark.parametrize("status", [213, 1, 127])
def test_an_mpirun_that_started_nothing_points_to_the_log(tmp_path, status):
    words = explain(tmp_path, status)
    assert words.startswith(f"mpirun ended with status {status} and no rank said why")
    assert words.endswith(str(tmp_path / "train.log"))
    assert "\n" not in words
