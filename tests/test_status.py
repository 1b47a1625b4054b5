"""What is going on in a cell, from files alone: finished, running, dead or never started."""

import json
import math
import os
import platform
import signal
import subprocess
import sys

import pytest
from analysis_fixtures import TARGET
from status_fixtures import NOW, Life, make_study, status_of

from strongscale.settings.cells import Cell
from strongscale.status import planned
from strongscale.status.page import Page
from strongscale.status.snapshot import as_table, take
from strongscale.status.state import FINISHED


@pytest.mark.parametrize("status", FINISHED)
def test_a_result_is_the_state_whatever_else_lies_there(study, status):
    Life(study[1]).submitted(NOW).locked(NOW).beat(NOW).failed(NOW).ended(status)
    assert status_of(study[1]).state == status


@pytest.mark.parametrize("text", ["", '{"status": "conver', "[1]", "null", "\xff"])
def test_a_torn_result_is_a_failure_that_names_the_file(study, text):
    Life(study[1]).write("result.json", text)
    found = status_of(study[1])
    assert found.state == "failed"
    assert "result.json isn't readable" in found.words


@pytest.mark.parametrize("change", [{"status": "great"}, {"workers": 4}, {"strategy": "strong"}, {"seed": 2}])
def test_the_result_of_another_run_is_a_failure(study, change):
    Life(study[1]).ended(**change)
    assert status_of(study[1]).state == "failed"


def test_a_failure_is_told_in_the_ranks_words(study):
    Life(study[1]).locked(NOW - 60).beat(NOW - 20).failed(NOW - 18)
    found = status_of(study[1])
    assert (found.state, found.words) == ("failed", "rank 1 on host node7 failed: RuntimeError: no such device")


def test_a_heart_that_beats_a_little_longer_doesnt_hide_a_failure(study):
    Life(study[1]).locked(NOW - 60).failed(NOW - 18).beat(NOW - 16)
    assert status_of(study[1]).state == "failed"


def test_a_failure_of_long_ago_doesnt_hide_a_run(study):
    Life(study[1]).failed(NOW - 600).locked(NOW - 300).beat(NOW - 1)
    assert status_of(study[1]).state == "running"


def test_a_failed_cell_that_was_submitted_again_is_queued(study):
    Life(study[1]).beat(NOW - 900).failed(NOW - 900).submitted(NOW - 60)
    assert status_of(study[1]).state == "queued"


def test_a_run_tells_how_far_it_is_and_what_is_left_at_most(study):
    life = Life(study[1]).prepared(study[0]).submitted(NOW - 200).locked(NOW - 101)
    life.beat(NOW - 1, lived_s=100.0).epochs(10, at=NOW - 1)
    found = status_of(study[1])
    assert (found.state, found.epoch, found.epoch_s, found.left_s) == ("running", 10, 10.0, 300.0)
    assert found.words == "epoch 10 of 40, validation 0.010000 (target 0.005000), 10 s an epoch, at most 5 min left"


def test_work_that_was_lost_and_the_epoch_that_isnt_done_dont_make_epochs_longer(study):
    Life(study[1]).locked(NOW - 90).beat(NOW, lived_s=150.0, lost_s=40.0, attempts=2).epochs(10, at=NOW - 10)
    found = status_of(study[1])
    assert found.epoch_s == pytest.approx(10.0)
    assert found.words.endswith("attempt 2")


def test_a_target_that_other_runs_set_comes_from_the_cells_settings(tmp_path):
    training = {"target": {"sequential_epochs": 20, "pilots": [11]}, "max_epochs": 40}
    study, folder = make_study(tmp_path / "results", training=training)
    Life(folder).prepared(study).locked(NOW - 9).beat(NOW).epochs(1, at=NOW)
    assert status_of(folder).target == TARGET


def test_a_run_in_its_first_epoch_is_running(study):
    Life(study[1]).locked(NOW - 3).beat(NOW - 1)
    found = status_of(study[1])
    assert (found.state, found.words, found.target) == ("running", "epoch 1 of 40", 0.005)


def test_a_run_between_its_lock_and_its_first_heartbeat_is_starting(study):
    Life(study[1]).submitted(NOW - 100).locked(NOW - 3)
    found = status_of(study[1])
    assert (found.state, found.words) == ("running", "starting from the beginning")


def test_a_run_that_starts_again_isnt_silent_for_its_old_heartbeat(study):
    Life(study[1]).beat(NOW - 9000).checkpoint(7).locked(NOW - 3)
    found = status_of(study[1])
    assert (found.state, found.words) == ("running", "starting from epoch 7")


def test_a_run_whose_heart_stopped_elsewhere_is_silent_and_no_cause_is_claimed(study):
    Life(study[1]).locked(NOW - 2000).beat(NOW - 720).checkpoint(5)
    found = status_of(study[1])
    assert (found.state, found.words) == (
        "silent",
        "no sign of life for 12 min: why can't be seen from here (host node1, process 7); "
        "started again, it goes on from epoch 5",
    )


@pytest.fixture
def process():
    """A process of this machine that could be a run."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "strongscale"])
    yield child
    child.kill()
    child.wait()


def owner(process):
    return f"host {platform.node()}, process {process.pid}"


def test_a_stopped_process_of_this_machine_is_suspended(study, process):
    life = Life(study[1]).locked(NOW - 2000, owner(process)).beat(NOW - 720)
    assert status_of(study[1]).words == (
        "no sign of life for 12 min: its process is still there, on this machine: in a long step, or stuck"
    )
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    found = status_of(study[1])
    assert (found.state, found.words) == (
        "suspended",
        f"its process {process.pid} on this machine is stopped; kill -CONT {process.pid} lets it go on",
    )
    life.submitted(NOW)  # which waits for the lock that the stopped one holds
    assert status_of(study[1]).state == "suspended"


def test_a_process_of_this_machine_that_is_gone_is_told_at_once(study, process):
    Life(study[1]).locked(NOW - 60, owner(process)).beat(NOW - 20).checkpoint(5)
    process.kill()
    process.wait()
    assert status_of(study[1]).words == (
        "no sign of life for 20 s: its process is gone (killed, or out of memory); started again, it goes on from epoch 5"
    )


def test_another_process_of_the_same_number_is_not_the_run(study):
    Life(study[1]).locked(NOW - 60, f"host {platform.node()}, process 1").beat(NOW - 20)
    assert "its process is gone" in status_of(study[1]).words


JOB_AT_WORK = "host node1, process 7, slurm job 1234"


@pytest.mark.parametrize("state", ["SUSPENDED", "STOPPED", "USUSP", "SSUSP"])
def test_a_suspended_job_is_told_as_such_and_by_whom(study, state):
    Life(study[1]).submitted(NOW - 900).locked(NOW - 800, JOB_AT_WORK).beat(NOW - 300).told(state, NOW - 20)
    found = status_of(study[1])
    assert found.state == "suspended"
    assert found.words.startswith(f"by the scheduler, job 1234 ({state}, said 20 s ago); ")


def test_a_job_that_was_resumed_since_runs(study):
    Life(study[1]).submitted(NOW - 900).locked(NOW - 800, JOB_AT_WORK).told("USUSP", NOW - 20).beat(NOW - 2)
    assert status_of(study[1]).state == "running"


def test_what_the_scheduler_said_hours_ago_is_not_believed(study):
    Life(study[1]).submitted(NOW - 9000).locked(NOW - 9000, JOB_AT_WORK).beat(NOW - 8000).told("USUSP", NOW - 7000)
    assert status_of(study[1]).words.startswith("no sign of life for 2.2 h: why can't be seen from here")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("RUNNING", "though the scheduler called job 1234 running 20 s ago"),
        ("UNKWN", "the scheduler has lost job 1234 out of sight (UNKWN)"),
        ("NODE_FAIL", "job 1234 has ended (NODE_FAIL); started again, it goes on from epoch 5"),
    ],
)
def test_a_silent_job_is_told_with_what_the_scheduler_says(study, state, words):
    Life(study[1]).locked(NOW - 800, JOB_AT_WORK).submitted(NOW - 900).beat(NOW - 720).checkpoint(5).told(
        state, NOW - 20
    )
    found = status_of(study[1])
    assert found.state == "silent"
    assert words in found.words


@pytest.mark.parametrize(
    ("state", "expected", "words"),
    [
        ("PENDING", "queued", "slurm job 1234, submitted 12 min ago"),
        ("RUNNING", "running", "slurm job 1234 runs, as was told 20 s ago; no rank has begun yet"),
        ("PSUSP", "suspended", "by the scheduler, job 1234 (PSUSP), before it began; bresume 1234 lets it go on"),
        ("FAILED", "failed", "slurm job 1234 has ended (FAILED) before a rank began; see its log"),
    ],
)
def test_a_submitted_job_is_what_the_scheduler_says(study, state, expected, words):
    Life(study[1]).submitted(NOW - 720).told(state, NOW - 20)
    found = status_of(study[1])
    assert (found.state, found.words) == (expected, words)


def test_the_log_is_of_the_job_that_runs_and_the_waiting_one_is_named(study):
    life = Life(study[1]).submitted(NOW - 900).locked(NOW - 800, JOB_AT_WORK).beat(NOW - 1).submitted(NOW - 60, "1240")
    found = status_of(study[1])
    assert (found.state, found.job, found.logs[1:]) == ("running", "1234", ("logs/1234.log",))
    assert found.words == "epoch 1 of 40; job 1240, submitted later, waits for it"
    life.told("COMPLETED", NOW, "1240")
    assert status_of(study[1]).words == "epoch 1 of 40"


def test_once_the_waiting_job_has_the_lock_its_log_is_shown(study):
    life = Life(study[1]).submitted(NOW - 900).submitted(NOW - 60, "1240").beat(NOW - 1)
    life.locked(NOW - 5, JOB_AT_WORK.replace("1234", "1240"))
    found = status_of(study[1])
    assert (found.job, found.words, found.logs[1:]) == ("1240", "epoch 1 of 40", ("logs/1240.log",))


def test_a_step_that_takes_minutes_isnt_taken_for_silence(study):
    Life(study[1]).locked(NOW - 9000).beat(NOW - 300, lived_s=16 * 100.0).epochs(1, at=NOW - 300)
    assert status_of(study[1]).state == "running"


def test_a_run_that_left_in_order_is_to_be_continued_from_its_newest_checkpoint(study):
    Life(study[1]).beat(NOW - 5).checkpoint(3, step=50).checkpoint(6, step=100)
    found = status_of(study[1])
    assert (found.state, found.words) == ("paused", "to be continued from epoch 6")


def test_a_torn_checkpoint_falls_back_to_the_one_before(study):
    life = Life(study[1]).beat(NOW - 5).checkpoint(3, step=50)
    life.write("checkpoint-000000100.safetensors", "torn")
    assert status_of(study[1]).words == "to be continued from epoch 3"


def test_a_submitted_job_is_queued_with_its_number(study):
    Life(study[1]).submitted(NOW - 720)
    found = status_of(study[1])
    assert (found.state, found.words) == ("queued", "slurm job 1234, submitted 12 min ago")
    assert "logs/1234.log" in found.logs


def test_a_continued_run_is_queued_until_it_starts(study):
    Life(study[1]).beat(NOW - 10).checkpoint(6).submitted(NOW - 5)
    found = status_of(study[1])
    assert (found.state, found.words) == ("queued", "slurm job 1234, submitted 5.0 s ago, goes on from epoch 6")


def test_a_cell_without_a_folder_waits(study):
    assert {one.state for one in take(study[1], NOW).cells} == {"waiting"}


EDGE = {
    "training": {"learning_rate": "edge", "target": {"sequential_epochs": 5, "pilots": [11, 12]}, "max_epochs": 40},
    "edge": {"between": [0.001, 0.004], "rates": [0.001]},
}
PILOT = Cell("small", "pilot", 1, 11)


def test_a_cell_waits_for_the_edge_search_and_says_how_far_that_is(tmp_path):
    _, folder = make_study(tmp_path / "results", **EDGE)
    trial = folder / "edge/trials/0.001/seed101/result.json"
    trial.parent.mkdir(parents=True)
    trial.write_text("{}")
    words = "for the search for the edge (1 short runs done)"
    assert status_of(folder).words == status_of(folder, PILOT).words == words
    assert status_of(folder, Cell("small", "rate_0.001", 1, 1)).words == "to be started"
    assert "search for the edge: 1 short runs done" in Page().write(take(folder, NOW))


def test_a_search_that_is_over_is_told_no_more(tmp_path):
    _, folder = make_study(tmp_path / "results", **EDGE)
    (folder / "learning_rate.json").write_text("{}")
    assert "search for the edge" not in Page().write(take(folder, NOW))


def test_a_cell_waits_for_the_pilots_that_set_the_target(tmp_path):
    _, folder = make_study(tmp_path / "results", **EDGE)
    (folder / "learning_rate.json").write_text("{}")
    Life(folder, PILOT).ended("exhausted")
    assert status_of(folder).words == "for the pilots, which set the target (1 of 2 done)"
    assert status_of(folder, Cell("small", "pilot", 1, 12)).words == "to be started"


def test_no_cell_waits_for_a_network_that_only_seconds_are_made_of(tmp_path):
    _, folder = make_study(tmp_path / "results", clock="emulated", network="measured", max_ranks=1)
    assert status_of(folder).words == "to be started"


def test_an_emulated_cell_whose_epochs_tell_no_seconds_shows_how_far_it_is(tmp_path):
    _, folder = make_study(tmp_path / "results", clock="emulated", max_ranks=1)
    life = Life(folder).locked(NOW - 9).beat(NOW, lived_s=30.0)
    columns = "epoch,step,samples,learning_rate,training_loss,validation_loss,weights_hash"
    life.write("epochs.csv", f"{columns}\n1,16,512,0.001,0.03,0.02,ab\n2,32,1024,0.001,0.02,0.01,cd\n3,48,15")
    assert (status_of(folder).epoch, status_of(folder).validation_loss) == (2, 0.01)


def test_a_cell_with_its_settings_waits_for_nothing_but_its_turn(tmp_path):
    study, folder = make_study(tmp_path / "results", **EDGE)
    Life(folder).prepared(study)
    assert status_of(folder).words == "to be started"


def test_a_line_that_is_being_written_doesnt_count(study):
    life = Life(study[1]).locked(NOW - 9).beat(NOW).epochs(3, at=NOW)
    life.write("epochs.csv", (life.folder / "epochs.csv").read_text() + "4,64,2048,0.001,0.01,0.0")
    assert status_of(study[1]).epoch == 3


@pytest.mark.parametrize("name", ["heartbeat.json", "job.json", "cell.json", "epochs.csv"])
@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "null", '{"at": 17', "[]", '{"at": "soon", "submitted_at": null, "training": 3}', "\0,\n,\n"),
        *("[" * 100_000, f'{{"at": {10**400}, "lived_s": {10**400}, "id": {{}}}}'),
        "epoch,step,validation_loss,time_s\nnan,nan,nan,nan\n",
    ],
    ids=range(10),
)
def test_a_torn_file_is_as_good_as_none(study, name, text):
    Life(study[1]).locked(NOW - 1).write(name, text)
    assert status_of(study[1]).state == "running"


def test_a_loss_that_is_no_number_is_shown_and_stays_json(study):
    Life(study[1]).locked(NOW - 9).beat(NOW).epochs(2, at=NOW, loss=math.nan)
    assert "validation nan" in status_of(study[1]).words
    json.dumps(as_table(take(study[1], NOW)), allow_nan=False)


def test_a_life_goes_from_waiting_to_its_result(study):
    life, seen = Life(study[1]), []
    for event in (
        lambda: life.prepared(study[0]),
        lambda: life.submitted(NOW - 90),
        lambda: life.locked(NOW - 80),
        lambda: life.beat(NOW - 70),
        lambda: (life.folder / "lock").unlink(),
        lambda: life.submitted(NOW - 60),
        lambda: life.locked(NOW - 50).beat(NOW - 40),
        lambda: life.failed(NOW - 30),
        lambda: (life.folder / "failure.txt").unlink(),
        lambda: life.ended(),
    ):
        event()
        seen.append(status_of(study[1]).state)
    assert seen == [
        *("waiting", "queued", "running", "running", "paused", "queued", "running", "failed", "running"),
        "converged",
    ]  # fmt: skip


def test_a_comparison_is_as_many_studies(tmp_path):
    found = planned.members(tmp_path / "results" / "comparison")
    assert [folder.name for folder in found][:2] == ["compare_digits", "compare_digits_tuned"]
    assert planned.members(tmp_path / "results" / "quick") == [tmp_path / "results" / "quick"]
