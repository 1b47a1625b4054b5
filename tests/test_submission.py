"""A submission that fails: asked again if the scheduler is away, never twice, and one job's failure at the worst."""

import fcntl
import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from strongscale.jobs.scheduler import lsf, submission
from strongscale.recovery.failure import NAME, is_permanent

CELL = "results/tiny/cells/strong/04workers/seed1"
COMMAND = "snakemake --target-jobs train:study=tiny,strategy=strong,workers=04,seed=1"
NAMED = "Snakemake_rule_train:study=tiny___(uuid)"
SLURM = ["--parsable", "--job-name", "uuid", "--output", "logs/%j.log", "--comment", "rule_train_wildcards_a", COMMAND]
LSF = ["-J", NAMED, "-o", "log", "-e", "log", COMMAND]
BIN = ROOT / "tests" / "lsf" / "bin"
LASTING = "RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted."
TAKEN_AT_THIRD = """echo x >> calls
[ $(wc -l < calls) -gt 2 ] || {{ echo "{}" >&2; exit 1; }}
echo "{}" """


@pytest.fixture
def cell(tmp_path):
    (tmp_path / CELL).mkdir(parents=True)
    return tmp_path / CELL


@pytest.fixture
def behind(program, tmp_path, monkeypatch):
    """A function that writes a scheduler's own command, which ours find."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return program


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
        "LSF is down. Please wait ...",
        "Failed in an LSF library call: LIM is down; try later. Job not submitted.",
        "batch daemon not responding ... still trying",
        "Bad connection",
    ],
)
def test_a_scheduler_that_is_away_is_asked_again(behind, clock, tmp_path, capsys, words):
    behind("exit 0", "squeue")
    own = behind(TAKEN_AT_THIRD.format(words, 42), "sbatch")
    assert submission.sbatch(own, SLURM, tmp_path, clock.patience(pause_s=10)) == 0
    assert capsys.readouterr() == ("42\n", "")
    assert clock.slept == [10, 10]


def test_a_job_that_was_taken_though_the_answer_was_lost_is_not_submitted_again(behind, cell, clock, tmp_path, capsys):
    behind("echo '6|rule_train_wildcards_b'; echo '7|rule_train_wildcards_a'", "squeue")
    own = behind("echo x >> calls; echo 'error: Batch job submission failed: Socket timed out' >&2; exit 1", "sbatch")
    assert submission.sbatch(own, SLURM, tmp_path, clock.patience()) == 0
    assert capsys.readouterr() == ("7\n", "")
    assert (tmp_path / "calls").read_text() == "x\n"
    assert json.loads((cell / "job.json").read_text())["log"] == "logs/7.log"


def test_a_job_that_shares_its_name_is_not_taken_for_another(behind, clock, tmp_path, capsys):
    """Groups and arrays of one rule do; so do the attempts of a job."""
    behind("[ -e submitted ] && echo '7|rule_train_wildcards_a'; true", "squeue")
    assert submission.sbatch(behind("touch submitted; echo 7", "sbatch"), SLURM, tmp_path, clock.patience()) == 0
    own = behind(TAKEN_AT_THIRD.format("Socket timed out", 42), "sbatch")
    assert submission.sbatch(own, SLURM, tmp_path, clock.patience()) == 0
    assert capsys.readouterr().out == "7\n42\n"


def test_nothing_is_submitted_again_while_nobody_tells_whether_it_was_taken(behind, clock, tmp_path, capsys):
    behind("exit 1", "squeue")
    own = behind("echo x >> calls; echo Socket timed out >&2; exit 1", "sbatch")
    assert submission.sbatch(own, SLURM, tmp_path, clock.patience(total_s=600)) == 1
    assert (tmp_path / "calls").read_text() == "x\n"
    assert sum(clock.slept) == 600
    assert "Socket timed out" in capsys.readouterr().err


def test_a_script_from_standard_input_is_submitted_each_time(behind, clock, tmp_path):
    behind("exit 0", "squeue")
    own = behind(f"cat >> scripts; {TAKEN_AT_THIRD.format('Socket timed out', 42)}", "sbatch")
    call = "import sys; from strongscale.jobs.scheduler import submission, patience as p; from pathlib import Path\n"
    call += f"sys.exit(submission.sbatch({own!r}, {[*SLURM, '/dev/stdin']}, Path.cwd(), p.Patience(pause_s=0)))"
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", call], input="job\n", text=True, env=variables, cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "scripts").read_text() == "job\n" * 3


# --- a lasting refusal


def test_slurms_refusal_is_told_at_once_and_in_the_cells_folder(behind, cell, clock, tmp_path, capsys):
    words = (
        "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)"
    )
    own = behind(f"echo '{words}' >&2; exit 1", "sbatch")
    assert submission.sbatch(own, SLURM, tmp_path, clock.patience()) == 1
    assert clock.slept == []
    said = capsys.readouterr().err
    assert "set longest_minutes in site.yaml" in said
    assert (cell / NAME).read_text() == said
    assert not is_permanent(cell)
    assert not (cell / "job.json").exists()


@pytest.mark.parametrize(
    "words", ["Invalid account or account/partition combination specified", "invalid partition specified: none"]
)
def test_a_refusal_for_another_reason_does_not_name_the_limit(behind, cell, clock, tmp_path, words):
    own = behind(f"echo '{words}' >&2; exit 1", "sbatch")
    assert submission.sbatch(own, SLURM, tmp_path, clock.patience()) == 1
    assert (cell / NAME).read_text() == f"sbatch refused the job: {words}\n"


def test_lsfs_refusal_becomes_a_job_that_has_failed(behind, cell, clock, tmp_path, capsys):
    own = behind(f'echo "{LASTING}" >&2; exit 255', "bsub")
    assert submission.bsub(own, LSF, tmp_path, clock.patience()) == 0
    out, err = capsys.readouterr()
    number = re.fullmatch(r"Job <(\d+)> is submitted to .*\n", out)[1]
    assert (clock.slept, err) == ([], "")
    reason = f"bsub refused the job: {LASTING}; set longest_minutes in site.yaml to what the queue allows\n"
    assert [path.read_text() for path in (cell / NAME, cell / "train.log", tmp_path / "log")] == [reason] * 3
    lsf.bjobs(behind("echo 5 RUN", "bjobs"), ["-noheader", "-aJ", "*(uuid)*"], tmp_path)
    assert capsys.readouterr().out == f"5 RUN\n{number} EXIT\n"
    lsf.bjobs(behind("echo 5 RUN", "bjobs"), ["-noheader", "-aJ", "*(another)*"], tmp_path)
    assert capsys.readouterr().out == "5 RUN\n"


def test_what_was_never_taken_is_not_killed(behind, clock, tmp_path, capsys):
    submission.bsub(behind("echo none: No such queue >&2; exit 255", "bsub"), LSF[:2] + [COMMAND], tmp_path)
    number = re.search(r"<(\d+)>", capsys.readouterr().out)[1]
    own = behind('echo "$@" > killed', "bkill")
    assert lsf.bkill(own, [number], tmp_path) == 0
    assert not (tmp_path / "killed").exists()
    assert lsf.bkill(own, ["5", number, "6"], tmp_path) == 0
    assert (tmp_path / "killed").read_text() == "5 6\n"


def test_a_cell_where_an_earlier_job_is_at_work_has_not_failed(behind, cell, clock, tmp_path):
    own = behind("echo none: No such queue >&2; exit 255", "bsub")
    with (cell / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        submission.bsub(own, LSF, tmp_path, clock.patience())
        assert not (cell / NAME).exists()
    submission.bsub(own, LSF, tmp_path, clock.patience())
    assert (cell / NAME).exists()


def test_a_refusal_takes_the_place_of_an_earlier_attempts_failure(behind, cell, clock, tmp_path):
    (cell / NAME).write_text("reached its time limit\n")
    submission.bsub(behind("echo none: No such queue >&2; exit 255", "bsub"), LSF, tmp_path, clock.patience())
    assert "No such queue" in (cell / NAME).read_text()


def test_a_bsub_by_hand_fails_as_it_does(behind, clock, tmp_path, capsys):
    own = behind("echo none: No such queue >&2; exit 255", "bsub")
    assert submission.bsub(own, ["true"], tmp_path, clock.patience()) == 255
    assert "No such queue" in capsys.readouterr().err


# --- the stand-in for LSF


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A function that calls a command of the stand-in."""
    monkeypatch.setenv("LSF_DOUBLE_STATE", str(tmp_path / "lsf"))
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")

    def call(*arguments):
        return subprocess.run(arguments, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    call("lsf_double", "start")
    yield call
    call("lsf_double", "stop")


@pytest.mark.parametrize("fault", ["fail", "empty", "lose"])
def test_an_lsf_that_is_away_takes_the_job_once(stand_in, clock, cell, tmp_path, capsys, fault):
    stand_in("lsf_double", "fault", "bsub", fault, "1")
    options = ["-J", NAMED, f"true {COMMAND}"]
    assert submission.bsub(str(BIN / "bsub"), options, tmp_path, clock.patience()) == 0
    assert capsys.readouterr().out.startswith("Job <1> is submitted")
    assert stand_in("bjobs", "-noheader", "-a", "-o", "jobid").split() == ["1"]
    assert json.loads((cell / "job.json").read_text())["id"] == "1"
