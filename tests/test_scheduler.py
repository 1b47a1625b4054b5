"""What stands in front of the scheduler's own commands: it waits, translates, and notes."""

import json
import os
import subprocess
import sys
from pathlib import PurePosixPath

import pytest
from conftest import ROOT

from strongscale.jobs.scheduler import lsf, own, slurm, states, submission
from strongscale.jobs.scheduler.patience import SILENT, ask

CELL = "results/tiny/cells/strong/04workers/seed1"
COMMAND = (
    "python -m snakemake --target-jobs train:study=tiny,strategy=strong,workers=04,seed=1 --allowed-rules train --force"
)


FAILS_TWICE = """echo x >> calls
[ $(wc -l < calls) -gt 2 ] || { echo daemon is down >&2; exit 255; }
echo 7 RUN"""


# --- patience


def test_it_asks_again_until_there_is_an_answer(program, clock):
    answer = ask([program(FAILS_TWICE)], clock.patience(pause_s=10))
    assert (answer.status, answer.output) == (0, "7 RUN\n")
    assert clock.slept == [10, 10]


def test_it_gives_up_when_patience_ends_and_tells_the_last_answer(program, clock):
    answer = ask([program("echo daemon is down >&2; exit 3")], clock.patience(total_s=25, pause_s=10))
    assert (answer.status, answer.words) == (3, "daemon is down\n")
    assert clock.slept == [10, 10, 10]


def test_a_command_that_does_not_answer_is_left_after_a_while(program, clock):
    path = program("exec sleep 60")
    answer = ask([path], clock.patience(total_s=-1, answer_s=0.1))
    assert (answer.status, answer.words) == (SILENT, f"{path}: no answer in 0.1 s\n")


def test_words_that_are_an_answer_are_not_asked_for_again(program, clock):
    answer = ask([program("echo Job 7 is not found >&2; exit 255")], clock.patience(), good=lsf.NO_JOB)
    assert answer.status == 255
    assert clock.slept == []


# --- bjobs


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("PEND", "PEND"),
        ("RUN", "RUN"),
        ("DONE", "DONE"),
        ("EXIT", "EXIT"),
        ("UNKWN", "RUN"),
        ("USUSP", "RUN"),
        ("SSUSP", "RUN"),
        ("PSUSP", "PEND"),
    ],
)
def test_a_suspended_or_unknown_job_is_still_there(tmp_path, state, told):
    assert lsf.translate(f"7 {state}\n", tmp_path / "memory.json", 0.0) == f"7 {told}\n"


def test_a_job_that_stays_unknown_counts_as_failed_at_last(tmp_path):
    memory = tmp_path / "new" / "memory.json"
    told = [lsf.translate("7 UNKWN\n", memory, now_s) for now_s in (0.0, lsf.UNKNOWN_S, lsf.UNKNOWN_S + 1)]
    assert told == ["7 RUN\n", "7 RUN\n", "7 EXIT\n"]


def test_a_job_that_was_known_meanwhile_is_waited_for_anew(tmp_path):
    memory = tmp_path / "memory.json"
    for now_s, state in ((0.0, "UNKWN"), (1000.0, "RUN"), (1500.0, "UNKWN")):
        lsf.translate(f"7 {state}\n", memory, now_s)
    assert lsf.translate("7 UNKWN\n", memory, 3000.0) == "7 RUN\n"


def test_each_unknown_job_has_a_time_of_its_own(tmp_path):
    memory = tmp_path / "memory.json"
    lsf.translate("7 UNKWN\n8 RUN\n", memory, 0.0)
    assert lsf.translate("7 UNKWN\n8 UNKWN\n", memory, lsf.UNKNOWN_S + 1) == "7 EXIT\n8 RUN\n"


def test_a_torn_memory_of_unknown_jobs_is_begun_anew(tmp_path):
    memory = tmp_path / "memory.json"
    memory.write_text('{"7": 0')
    assert lsf.translate("7 UNKWN\n", memory, 9999.0) == "7 RUN\n"
    assert json.loads(memory.read_text()) == {"7": 9999.0}


def test_bjobs_waits_for_lsf(program, clock, tmp_path, capsys):
    assert lsf.bjobs(program(FAILS_TWICE), [], tmp_path, clock.patience()) == 0
    assert capsys.readouterr().out == "7 RUN\n"


def test_when_lsf_is_away_a_job_that_is_not_there_runs(program, clock, tmp_path, capsys):
    status = lsf.bjobs(program("echo LIM is down >&2; exit 255"), [], tmp_path, clock.patience(total_s=30))
    assert (status, capsys.readouterr().out) == (0, "0 RUN\n")


def test_no_such_job_is_an_answer_of_bjobs(program, clock, tmp_path, capsys):
    status = lsf.bjobs(program("echo 'Job <x> is not found' >&2; exit 255"), [], tmp_path, clock.patience())
    captured = capsys.readouterr()
    assert (status, captured.out, captured.err) == (0, lsf.NOBODY, "")
    assert clock.slept == []


# --- bkill


def test_to_kill_a_job_that_has_ended_is_no_failure(program, tmp_path):
    script = "echo 'Job <7>: Job has already finished' >&2; echo 'Job <8> is being terminated'; exit 255"
    assert lsf.bkill(program(script), ["7", "8"], tmp_path) == 0


def test_a_job_that_may_not_be_killed_is_a_failure(program, tmp_path):
    script = "echo 'Job <7>: Job has already finished'; echo 'Job <8>: User permission denied' >&2; exit 255"
    assert lsf.bkill(program(script), ["7", "8"], tmp_path) == 255


# --- squeue


def test_squeue_waits_for_slurm(program, clock, tmp_path, capsys):
    assert slurm.squeue(program(FAILS_TWICE), [], tmp_path, clock.patience()) == 0
    assert capsys.readouterr().out == "7 RUN\n"


def test_when_slurm_is_away_squeue_says_nothing(program, clock, tmp_path, capsys):
    script = "echo half an answer; echo no controller >&2; exit 1"
    assert slurm.squeue(program(script), [], tmp_path, clock.patience(total_s=30)) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no controller" in captured.err


# --- states, for strongscale.status


@pytest.mark.parametrize(
    ("command", "said", "told"),
    [(lsf.bjobs, "7 USUSP", "7 RUN\n"), (slurm.squeue, "7|SUSPENDED", "7|SUSPENDED\n")],
)
def test_what_the_scheduler_says_of_jobs_is_kept(program, clock, tmp_path, capsys, command, said, told):
    own_command = program(f"echo '{said}'; echo '8_1|RUNNING'")
    command(own_command, [], tmp_path, clock.patience())
    assert told in capsys.readouterr().out
    assert states.read(tmp_path) == {"7": {"state": said.replace("|", " ").split()[1], "at": 1000.0}}


def test_states_of_jobs_are_forgotten_after_a_week_and_not_before(tmp_path):
    for now_s, job in ((0.0, "7"), (states.FORGOTTEN_S - 1, "8"), (states.FORGOTTEN_S + 1, "9")):
        states.keep(tmp_path, f"{job} RUN\n", now_s)
    assert sorted(states.read(tmp_path)) == ["8", "9"]


@pytest.mark.parametrize("text", ["", "[]", '{"7": 3, "8": {"state": 1, "at": 2}, "9": {"state": "RUN", "at": "now"}}'])
def test_torn_states_are_none(tmp_path, text):
    (tmp_path / states.STATES).parent.mkdir()
    (tmp_path / states.STATES).write_text(text)
    assert states.read(tmp_path) == {}


# --- submission


def test_the_cells_of_a_submitted_command_are_found():
    assert submission.cells_of(COMMAND) == [PurePosixPath(CELL)]


def test_a_job_of_another_rule_trains_no_cell():
    assert submission.cells_of("snakemake --target-jobs phantom_scans:dataset=tiny,subset=subset0") == []


def test_a_group_trains_each_of_its_cells():
    other = "train:study=tiny,strategy=rate_0.003,workers=1,seed=2"
    assert submission.cells_of(f"{COMMAND} {other}")[1:] == [
        PurePosixPath("results/tiny/cells/rate_0.003/1workers/seed2")
    ]


@pytest.mark.parametrize(
    ("submit", "said", "arguments", "scheduler", "log"),
    [
        (submission.sbatch, "42", ["--output", "logs/%j.log"], "slurm", "logs/42.log"),
        (submission.sbatch, "42;main", ["--output=logs/%j.log"], "slurm", "logs/42.log"),
        (submission.bsub, "Job <42> is submitted to queue <normal>.", ["-o", "logs/%J.log"], "lsf", "logs/42.log"),
        (submission.bsub, "Job <42> is submitted to default queue <normal>.", [], "lsf", None),
    ],
)
def test_a_submitted_job_is_noted_in_its_cells_folder(
    program, tmp_path, capsys, submit, said, arguments, scheduler, log
):
    (tmp_path / CELL).mkdir(parents=True)
    assert submit(program(f"echo '{said}'"), [*arguments, COMMAND], tmp_path) == 0
    assert capsys.readouterr().out == f"{said}\n"
    job = json.loads((tmp_path / CELL / "job.json").read_text())
    assert {name: job[name] for name in ("scheduler", "id", "log")} == {"scheduler": scheduler, "id": "42", "log": log}


def test_the_jobs_before_are_remembered_for_one_of_them_may_be_at_work(tmp_path):
    for number in ("7", "8", "9", "8"):
        submission.note(tmp_path, {"id": number, "log": f"{number}.log"})
    known = [(job["id"], job["log"]) for job in submission.jobs_of(tmp_path)]
    assert known == [("8", "8.log"), ("9", "9.log"), ("7", "7.log")]


def test_a_job_whose_cell_has_no_folder_is_submitted_all_the_same(program, tmp_path):
    assert submission.sbatch(program("echo 42"), [COMMAND], tmp_path) == 0


# --- the commands themselves


def run(command, *arguments, path):
    """One of our commands, with this PATH behind it."""
    folders = [str(own.FRONT), str(path), os.path.dirname(sys.executable), "/usr/bin", "/bin"]  # noqa: PTH120
    environment = os.environ | {"PATH": os.pathsep.join(folders)}
    return subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, cwd=path)


def test_a_command_that_is_not_installed_is_named_in_one_line(tmp_path):
    answer = run("bkill", "7", path=tmp_path)
    assert answer.returncode == 127
    assert answer.stderr == "bkill: not found; is this machine part of the cluster, and its module loaded?\n"


@pytest.mark.parametrize("name", ["sbatch", "squeue", "bsub", "bjobs", "bkill"])
def test_each_command_calls_the_schedulers_own_with_its_arguments(program, tmp_path, name):
    program('printf "%s|" "$@" > arguments; echo 7 RUN', name=name)
    answer = run(name, "-x", "two words", path=tmp_path)
    assert (answer.returncode, answer.stdout) == (0, "7 RUN\n")
    assert (tmp_path / "arguments").read_text() == "-x|two words|"


def test_all_commands_in_front_are_ours():
    assert {path.name for path in (ROOT / "workflow" / "scheduler").iterdir()} == {
        "sbatch",
        "squeue",
        "bsub",
        "bjobs",
        "bkill",
    }


def test_ctrl_c_while_the_scheduler_is_away_is_no_traceback(program, tmp_path):
    program("echo up; kill -INT $PPID; exec sleep 60", name="squeue")
    answer = run("squeue", path=tmp_path)
    assert (answer.returncode, answer.stderr) == (130, "")
