"""What is going on in a study, from files alone: finished, running, dead or never started."""

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from analysis_fixtures import settings_of
from conftest import environment

from strongscale import failure
from strongscale.cells import Cell, all_cells
from strongscale.config import Study
from strongscale.errors import UserError
from strongscale.schema import build, plain
from strongscale.status import __main__ as command
from strongscale.status.page import Page
from strongscale.status.snapshot import as_table, take
from strongscale.status.state import FINISHED, duration

NOW = 1_700_000_000.0
WEAK = Cell("small", "weak", 2, 1)
HEADER = "epoch,step,samples,learning_rate,training_loss,validation_loss,time_s"


def make_study(results, **changes):
    """A study without any cell: two strategies at 2 and 4 workers, on the wall clock."""
    raw = {
        "dataset": "tiny",
        "strategies": {"strong": {}, "weak": {}},
        "workers": [1, 2, 4],
        "training": {"target": 0.005, "max_epochs": 40},
    }
    study = build(Study, raw | changes, "study")
    folder = results / "small"
    folder.mkdir(parents=True)
    extra = {"name": "small", "dataset_provenance": "phantom scans, seed 1"}
    (folder / "study.json").write_text(json.dumps(plain(study) | extra))
    return study, folder


class Life:
    """Writes what the stages would leave in a cell's folder, at the times that a test chooses."""

    def __init__(self, study_folder, cell=WEAK):
        self.folder = study_folder.parent / cell.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cell = cell

    def write(self, name, text, at=NOW):
        path = self.folder / name
        path.write_text(text)
        os.utime(path, (at, at))

    def prepared(self, study):
        self.write("cell.json", json.dumps(plain(settings_of(study, self.cell))))
        return self

    def submitted(self, at):
        job = {"scheduler": "slurm", "id": "1234", "submitted_at": at, "log": "logs/1234.log"}
        self.write("job.json", json.dumps(job), at)
        return self

    def locked(self, at):
        self.write("lock", "host node1, process 7", at)
        return self

    def beat(self, at, lived_s=0.0, attempts=1, lost_s=0.0):
        beat = {"at": at, "lived_s": lived_s, "lost_s": lost_s, "attempts": attempts}
        self.write("heartbeat.json", json.dumps(beat), at)
        return self

    def epochs(self, count, at, loss=0.01, end="\n"):
        rows = [f"{n},{16 * n},{512 * n},0.001,{loss},{loss},{2.0 * n}" for n in range(1, count + 1)]
        self.write("epochs.csv", "\n".join([HEADER, *rows]) + end, at)
        return self

    def failed(self, at, words="rank 1 on host node7 failed: RuntimeError: no such device"):
        self.write("failure.txt", words + "\n", at)
        return self

    def checkpoint(self, epoch, step=100):
        values = json.dumps({"counters": {"epoch": epoch}})
        header = json.dumps({"__metadata__": {"values": values}}).encode()
        path = self.folder / f"checkpoint-{step:09d}.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
        return self

    def ended(self, status="converged", **changes):
        cell = self.cell
        result = {"study": cell.study, "strategy": cell.strategy, "workers": cell.workers, "seed": cell.seed}
        result |= {"status": status, "clock": "wall", "epochs": 10, "time_s": 3590.0, "startup_s": 10.0}
        result |= {"ranks": cell.workers, "device": "GPU: A100", "final_validation_loss": 0.004, "target_loss": 0.005}
        self.write("result.json", json.dumps(result | changes))
        return self


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "results")


def status_of(folder, cell=WEAK, now=NOW):
    return next(one for one in take(folder, now).cells if one.cell == cell)


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
    study, folder = make_study(
        tmp_path / "results", training={"target": {"sequential_epochs": 20}, "max_epochs": 40}, edge={"rates": []}
    )
    Life(folder).prepared(study).locked(NOW - 9).beat(NOW).epochs(1, at=NOW)
    assert status_of(folder).target == pytest.approx(0.00519524, rel=1e-3)


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


def test_a_run_whose_heart_stopped_is_silent_and_goes_on_from_its_checkpoint(study):
    Life(study[1]).locked(NOW - 2000).beat(NOW - 720).checkpoint(5)
    found = status_of(study[1])
    assert found.state == "silent"
    assert found.words.startswith(
        "no sign of life for 12 min: killed, out of memory, or its node lost; Snakemake starts"
    )
    assert found.words.endswith("from epoch 5")


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
    "training": {"learning_rate": "edge", "target": {"sequential_epochs": 5}, "max_epochs": 40},
    "edge": {"rates": [0.001, 0.002]},
}


def test_a_cell_waits_for_the_edge_search_and_says_how_far_that_is(tmp_path):
    _, folder = make_study(tmp_path / "results", **EDGE)
    Life(folder, Cell("small", "rate_0.001", 1, 1)).ended("exhausted")
    assert status_of(folder).words == "for the edge search (1 of 2 runs at other rates done)"
    assert status_of(folder, Cell("small", "rate_0.002", 1, 1)).words == "to be started"


def test_a_cell_waits_for_the_sequential_run_of_its_seed(tmp_path):
    _, folder = make_study(tmp_path / "results", **EDGE)
    (folder / "learning_rate.json").write_text("{}")
    Life(folder, Cell("small", "sequential", 1, 1)).locked(NOW).beat(NOW)
    assert "for the sequential run of seed 1, which sets the target (running)" in status_of(folder).words


def test_a_cell_that_can_never_start_says_so(tmp_path):
    _, folder = make_study(tmp_path / "results", **EDGE)
    (folder / "learning_rate.json").write_text("{}")
    Life(folder, Cell("small", "sequential", 1, 1)).ended("diverged")
    assert "the sequential run of seed 1 diverged, so it sets no target" in status_of(folder).words


def test_a_cell_waits_for_the_measured_network(tmp_path):
    _, folder = make_study(tmp_path / "results", clock="emulated", network="measured", max_ranks=1)
    assert status_of(folder).words == "for the network's measurement"


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
    "text", ["", '{"at": 17', "[]", '{"at": "soon", "submitted_at": null, "training": 3}', "\0,\n,\n"]
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


def test_hours_are_ranks_times_hours_of_finished_and_unfinished_cells(study):
    Life(study[1]).ended()  # 2 ranks, 1 hour
    Life(study[1], Cell("small", "strong", 4, 1)).locked(NOW - 9).beat(NOW, lived_s=1800.0)
    hours = take(study[1], NOW).hours
    assert (hours.unit, hours.spent) == ("GPU-hours", pytest.approx(4.0))


def test_hours_to_come_are_unknown_until_a_cell_has_finished(study):
    assert take(study[1], NOW).hours.to_come is None
    assert "unknown, for nothing has finished" in Page().write(take(study[1], NOW))


def test_hours_to_come_take_the_cells_of_the_same_strategy_first(study):
    Life(study[1]).ended()  # weak: 2 GPU-hours
    Life(study[1], Cell("small", "strong", 2, 1)).ended(time_s=8 * 3600 - 10.0)  # strong: 16
    # still to come: weak at 4 workers (2), strong at 4 (16), sequential: the median of both (9)
    assert take(study[1], NOW).hours.to_come == pytest.approx(2 + 16 + 9)


def test_a_run_takes_no_longer_than_all_its_epochs(study):
    for cell in all_cells("small", study[0]):
        Life(study[1], cell).ended(time_s=36000.0)
    running = Life(study[1]).locked(NOW - 9).beat(NOW, lived_s=390.0).epochs(39, at=NOW)
    (running.folder / "result.json").unlink()
    assert take(study[1], NOW).hours.to_come == pytest.approx(2 * 10 / 3600)


def test_modelled_seconds_arent_taken_for_hours(tmp_path):
    _, folder = make_study(tmp_path / "results", clock="emulated", max_ranks=1)
    life = Life(folder).ended(clock="emulated", ranks=1, time_s=1e9)
    assert take(folder, NOW).hours.num_unknown == 1
    life.write("benchmark.tsv", "s\th:m:s\n7200.0\t2:00:00\n")
    hours = take(folder, NOW).hours
    assert (hours.unit, hours.spent, hours.num_unknown) == ("rank-hours", pytest.approx(2.0), 0)


def test_seeds_are_counted_by_state_in_one_place_of_the_matrix(tmp_path):
    _, folder = make_study(tmp_path / "results", seeds=[1, 2, 3], workers=[1, 2])
    for seed in (1, 2, 3):
        Life(folder, Cell("small", "strong", 2, seed)).ended()
    for seed in (1, 2):
        Life(folder, Cell("small", "weak", 2, seed)).ended("exhausted")
    lines = Page().write(take(folder, NOW)).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("weak"))
    assert lines[place].split() == ["weak", "exhausted", "2/3"]
    assert lines[place + 1].split() == ["waiting", "1/3"]
    assert lines[place - 1].split() == ["strong", "converged", "3/3"]


def test_a_page_lists_what_runs_and_failed_with_the_log_to_read(study):
    Life(study[1]).submitted(NOW - 90).locked(NOW - 9).beat(NOW).failed(NOW)
    Life(study[1], Cell("small", "strong", 4, 1)).locked(NOW - 9).beat(NOW)
    text = Page().write(take(study[1], NOW))
    assert "weak, 2 workers, seed 1: rank 1 on host node7 failed: RuntimeError" in text
    assert f"    log: {study[1]}/cells/weak/02workers/seed1/train.log\n    log: logs/1234.log" in text
    assert "strong, 4 workers, seed 1: epoch 1 of 40" in text
    assert "5 cells: 1 running, 1 failed, 3 waiting" in text


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3], list(range(12))])
def test_a_page_fits_in_a_hundred_columns(tmp_path, seeds):
    strategies = {"strong": {}, "weak": {}, "linear": {}, "warmup10": {"kind": "warmup", "parameters": {"epochs": 10}}}
    edge = {"rates": [0.000525, 0.0021]}
    study, folder = make_study(
        tmp_path / "results", strategies=strategies, workers=[1, 2, 4, 8, 16, 32], seeds=seeds, edge=edge
    )
    for cell in all_cells("small", study):
        Life(folder, cell).failed(NOW, "many words " * 30).beat(NOW)
    text = Page().write(take(folder, NOW))
    assert max(len(line) for line in text.splitlines() if "log: " not in line) <= 100
    assert text.count("workers   ") == 1


def test_a_wide_matrix_goes_on_below(tmp_path):
    workers = [1, *range(2, 22)]
    study, folder = make_study(tmp_path / "results", workers=workers)
    for cell in all_cells("small", study):
        Life(folder, cell).ended()
    lines = Page(60).write(take(folder, NOW)).splitlines()
    heads = [line.split()[1:] for line in lines if line.startswith("workers")]
    assert [int(head) for line in heads for head in line] == workers
    assert max(map(len, lines)) <= 60


def test_colour_is_asked_for(study):
    snapshot = take(study[1], NOW)
    assert "\x1b[" not in Page().write(snapshot)
    assert "\x1b[2mwaiting" in Page(colour=True).write(snapshot)


def test_a_study_that_was_renamed_is_still_read(study):
    Life(study[1]).ended()
    renamed = study[1].rename(study[1].with_name("elsewhere"))
    assert status_of(renamed).state == "converged"


@pytest.mark.parametrize("text", [None, "{", "{}", '{"name": "small", "workers": 3}'])
def test_a_folder_that_is_no_study_is_told_in_one_line(tmp_path, text):
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    with pytest.raises(UserError, match=str(tmp_path)) as told:
        take(tmp_path, NOW)
    assert "\n" not in str(told.value)


def test_the_command_line_writes_text_or_json(study, capsys):
    Life(study[1]).ended()
    command.main([str(study[1])])
    assert "5 cells: 1 converged, 4 waiting" in capsys.readouterr().out
    command.main([str(study[1]), "--json"])
    table = json.loads(capsys.readouterr().out)
    assert table["states"] == {"converged": 1, "waiting": 4}
    assert {cell["state"] for cell in table["cells"] if cell["strategy"] == "weak"} == {"converged", "waiting"}


def test_a_watch_redraws_a_terminal_and_ends_at_ctrl_c(study, capsys, monkeypatch):
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", nap)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command.main([str(study[1]), "--watch", "3"])
    assert naps == [3.0, 3.0]
    assert capsys.readouterr().out.count(command.CLEAR + "study small") == 2


def test_a_watch_into_a_file_writes_a_line_of_json_a_period(study, capsys, monkeypatch):
    def nap(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", nap)
    command.main([str(study[1]), "--watch", "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)["study"] == "small"


@pytest.mark.parametrize("period", ["0", "-1", "often", "nan"])
def test_a_period_that_is_none_is_refused(study, capsys, period):
    with pytest.raises(SystemExit):
        command.main([str(study[1]), f"--watch={period}"])
    assert "--watch" in capsys.readouterr().err


def test_no_colour_is_respected_on_a_terminal(study, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in command.show(study[1], as_json=False)
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[" in command.show(study[1], as_json=False)


def test_nothing_beyond_the_standard_library_is_imported(study):
    code = (
        "import sys; from strongscale.status.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(str([name for name in sys.modules if name.partition('.')[0] not in "
        "{*sys.stdlib_module_names, 'strongscale', '__main__'} and not name.startswith('__')]))"
    )
    options = ["-S", "-c", code, str(study[1])]  # -S: without installed packages
    done = subprocess.run([sys.executable, *options], env=environment(), capture_output=True, text=True, timeout=30)
    assert done.stderr.strip() == "[]"
    assert "5 cells" in done.stdout


def test_the_module_is_a_command_that_fails_in_one_line(tmp_path):
    call = [sys.executable, "-m", "strongscale.status", str(tmp_path)]
    done = subprocess.run(call, env=environment(), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no study" in done.stderr


def test_durations_are_told_in_the_unit_that_fits():
    told = [duration(seconds) for seconds in (0.5, 45, 150, 3600 * 3.4, 86400 * 2.1, -3)]
    assert told == ["0.5 s", "45 s", "2 min", "3.4 h", "2.1 days", "0.0 s"]


# --- why a run failed


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


QUICK = Path(__file__).parents[1] / "results/quick"


@pytest.mark.skipif(not (QUICK / "study.json").exists(), reason="needs the study quick")
def test_the_study_of_this_tree_is_read():
    assert "study quick" in Page().write(take(QUICK, NOW))
