"""A cell's ranks are started as its place wants it, leave in time, and say why they failed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest
from conftest import ROOT, environment, mostly_slow, write_cell

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.jobs import all_reduce, launchers
from strongscale.jobs import launch as launch_module
from strongscale.jobs.launch import note_job
from strongscale.jobs.scheduler import submission
from strongscale.recovery import failure
from strongscale.recovery.interrupt import EXIT_STATUS
from strongscale.settings.config import Checkpoints, Training

SLURM = {"SLURM_JOB_ID": "42", "SLURM_NODELIST": "n[1-2]"}
LSF = {"LSB_JOBID": "42", "LSB_DJOB_HOSTFILE": "/home/hosts"}


def command(variables, ranks, own=None):
    """The words between mpirun's own name and the program, without those for root."""
    launcher = launchers.choose(variables, own)
    words = launchers.command_line(launcher, ranks, variables, "strongscale.training", "cell")
    return [word for word in words if word != "--allow-run-as-root"]


# --- which launcher, and its words


@pytest.mark.parametrize(
    ("variables", "own", "expected"),
    [
        ({}, None, launchers.Local()),
        (SLURM, None, launchers.Slurm()),
        (LSF, None, launchers.Lsf()),
        (SLURM, "srun --mpi=pmix", launchers.Own("srun --mpi=pmix")),
        ({}, "", launchers.Local()),
    ],
)
def test_the_launcher_is_that_of_the_job_unless_the_site_has_its_own(variables, own, expected):
    assert launchers.choose(variables, own) == expected


@pytest.mark.parametrize(("variables", "own"), [({}, None), (SLURM, None), (LSF, None), (SLURM, "srun")])
def test_one_rank_needs_no_mpi(variables, own):
    assert command(variables, 1, own) == [sys.executable, "-m", "strongscale.training", "cell"]


@pytest.mark.parametrize(
    ("variables", "own", "words"),
    [
        ({}, None, "mpirun -n 4 --oversubscribe --bind-to none"),
        (SLURM, None, "mpirun -n 4 --bind-to none"),
        (LSF, None, "mpirun -n 4 --hostfile /home/hosts --prtemca plm_ssh_agent blaunch --bind-to none"),
        ({"LSB_JOBID": "42"}, None, "mpirun -n 4 --bind-to none"),
        (SLURM, "srun --mpi=pmix", "srun --mpi=pmix -n 4"),
    ],
)
def test_several_ranks_are_started_by_the_launchers_words(variables, own, words):
    program = [
        "env",
        f"PYTHONPATH={ROOT / 'workflow'}",
        sys.executable,
        "-m",
        "mpi4py",
        "-m",
        "strongscale.training",
    ]
    assert command(variables, 4, own) == [*words.split(), *program, "cell"]


def test_the_sites_own_launcher_has_its_variables_filled_in_where_the_job_runs(monkeypatch):
    monkeypatch.setenv("HOSTS_OF_JOB", "/scratch/my hosts")
    words = launchers.Own("mpiexec --hostfile $HOSTS_OF_JOB -x 'two words'").command(2, {})
    assert words == ["mpiexec", "--hostfile", "/scratch/my hosts", "-x", "two words", "-n", "2"]


# --- how ranks add up


TUNED = "OMPI_MCA_coll_tuned_allreduce_algorithm"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("auto", {}),
        ("ring", {TUNED: "4", "NCCL_ALGO": "Ring"}),
        ("halving_doubling", {TUNED: "6"}),
        ("recursive_doubling", {TUNED: "3"}),
        ("two_level", {"OMPI_MCA_coll_han_priority": "100", "NCCL_ALGO": "Tree"}),
    ],
)
def test_the_algorithm_of_the_sum_is_told_by_variables(name, expected):
    rules = {"OMPI_MCA_coll_tuned_use_dynamic_rules": "1", "OMPI_MCA_coll_han_priority": "0"}
    assert all_reduce.variables(name) == expected | (rules if TUNED in expected else {})


def test_every_choice_of_a_study_has_its_variables_or_is_auto():
    choices = get_args(get_args(get_type_hints(Training, include_extras=True)["all_reduce"])[0])
    assert [name for name in choices if not all_reduce.variables(name)] == ["auto"]


def test_variables_reach_the_ranks_whatever_the_launcher_hands_on():
    words = launchers.command_line(launchers.Lsf(), 2, LSF, "strongscale.training", variables={"NCCL_ALGO": "Ring"})
    assert words[words.index("env") :][1:3] == [f"PYTHONPATH={ROOT / 'workflow'}", "NCCL_ALGO=Ring"]


def test_a_cells_ranks_are_told_how_to_add_up(tmp_path, tiny_dataset, monkeypatch):
    started = {}

    def start_and_wait(words, *_):
        started["words"] = words
        return launch_module.Ended(EXIT_STATUS, limit_reached=False)

    monkeypatch.setattr(launch_module, "start_and_wait", start_and_wait)
    folder = write_cell(tmp_path, tiny_dataset, workers=2, clock="wall", all_reduce="ring")
    with pytest.raises(SystemExit):
        launch_module.main([str(folder)])
    assert f"{TUNED}=4" in started["words"]


def test_an_algorithm_that_exact_sums_would_not_use_is_a_mistake():
    with pytest.raises(UserError, match="all_reduce: 'ring' is not allowed with reduction: exact.*allowed: auto"):
        Training(reduction="exact", all_reduce="ring")


# --- Slurm's variables

SHOW = "import json, os; from strongscale.jobs import launchers; print(json.dumps(launchers.Slurm().environment(os.environ)))"


def restored(tmp_path, given, left):
    """What is restored in a process with the variables `left`, whose grandparent had `given`."""
    inner = [sys.executable, "-c", SHOW]
    script = "import subprocess, sys, json; subprocess.run(json.loads(sys.argv[1]), env=json.loads(sys.argv[2]))"
    plain = {name: value for name, value in environment().items() if not name.startswith("SLURM_")}
    outer = [sys.executable, "-c", script, json.dumps(inner), json.dumps(plain | left)]
    answer = subprocess.run(outer, env=plain | given, capture_output=True, text=True, timeout=60)
    return json.loads(answer.stdout)


def test_slurms_variables_come_back_from_an_ancestor(tmp_path):
    given = SLURM | {"SLURM_NTASKS": "4", "OTHER": "x"}
    assert restored(tmp_path, given, {"SLURM_JOB_ID": "42"}) == SLURM | {"SLURM_NTASKS": "4"}


def test_another_jobs_variables_are_left_alone(tmp_path):
    assert restored(tmp_path, SLURM, {"SLURM_JOB_ID": "43"}) == {}


def test_variables_that_are_there_are_not_restored(tmp_path):
    assert restored(tmp_path, SLURM, {"SLURM_JOB_ID": "42", "SLURM_NODELIST": "n1"}) == {}


# --- running a cell


def launch(folder, *arguments, script=None, **variables):
    """Launch a cell as a job does; the finished process."""
    program = ["-c", script] if script else ["-m", "strongscale.jobs.launch"]
    done = subprocess.run(
        [sys.executable, *program, folder, *arguments],
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr.splitlines()[-1:], done.stderr
    return done


def last_line(process):
    return process.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def launched(tmp_path_factory, tiny_dataset):
    """The folder of a run that was launched and has ended. To be read, but not changed."""
    folder = write_cell(tmp_path_factory.mktemp("launched"), tiny_dataset)
    assert launch(folder).returncode == 0
    return folder


@pytest.fixture
def ended(launched, tmp_path):
    """A copy of it, to be changed."""
    return Path(shutil.copytree(launched, tmp_path / launched.relative_to(launched.parents[5])))


def test_a_mistake_of_the_user_is_told_and_kept_and_not_tried_again(make_cell):
    folder = make_cell()
    cell = read_json(folder / "cell.json")
    (folder / "cell.json").write_text(json.dumps(cell | {"dataset_hash": "another"}))
    first = launch(folder)
    assert first.returncode == 1
    assert "not the data set" in last_line(first)
    assert "not the data set" in (folder / failure.NAME).read_text()
    again = launch(folder, "--attempt", "2")
    assert again.returncode == 1
    assert "not tried again, for it would fail the same way" in last_line(again)
    assert "not the data set" in last_line(again)


def test_a_first_attempt_tries_what_once_failed(make_cell):
    folder = make_cell()
    failure.record(folder, "rank 0 on host n1: a mistake that has been mended")
    assert launch(folder).returncode == 0
    assert not (folder / failure.NAME).exists()
    assert (folder / "result.json").exists()


def test_a_second_attempt_tries_what_was_no_mistake(make_cell):
    folder = make_cell()
    failure.record(folder, "killed from outside (signal 9)")
    assert launch(folder, "--attempt", "2").returncode == 0


def test_a_killed_process_is_told_in_plain_words_and_kept(make_cell):
    folder = make_cell()
    done = launch(folder, "--command", "sh", "-c", "kill -9 $$")
    assert done.returncode == 1
    assert "killed from outside (signal 9)" in last_line(done)
    assert (folder / failure.NAME).read_text().startswith("killed from outside (signal 9)")


def test_a_launcher_that_is_not_there_is_told_and_kept(make_cell):
    folder = make_cell(workers=2, clock="wall")
    done = launch(folder, "--launcher", "no-such-launcher")
    assert done.returncode == 1
    assert "no-such-launcher" in last_line(done)
    assert "no-such-launcher" in (folder / failure.NAME).read_text()


def test_a_finished_run_is_not_run_again_and_gets_its_receipt_back(make_cell):
    folder = make_cell()
    assert launch(folder).returncode == 0
    made = {path: path.stat() for path in folder.iterdir() if path.name != "receipt.json"}
    receipt = (folder / "receipt.json").read_bytes()
    (folder / "receipt.json").unlink()  # as Snakemake does before it starts a second copy

    assert launch(folder).returncode == 0

    assert (folder / "receipt.json").read_bytes() == receipt
    assert {path: path.stat() for path in made} == made


@pytest.mark.parametrize("lost", mostly_slow("result.json", "epochs.csv", "weights.safetensors"))
def test_a_run_of_which_something_is_lost_is_run_again(ended, lost):
    folder = ended
    (folder / lost).unlink()
    assert launch(folder).returncode == 0
    assert (folder / lost).exists()


def test_what_a_run_of_other_settings_left_is_gone_before_training_begins(ended):
    folder = ended
    cell = read_json(folder / "cell.json")
    (folder / "cell.json").write_text(json.dumps(cell | {"seed": 2, "dataset_hash": "another"}))
    assert launch(folder).returncode == 1
    assert not [name for name in ("result.json", "weights.safetensors") if (folder / name).exists()]


def test_a_result_of_settings_that_changed_meanwhile_gets_no_receipt(make_cell):
    folder = make_cell(max_epochs=30)
    change = "import json, sys; from strongscale.jobs import launch; from strongscale.recovery import finished; path = sys.argv[1] + '/cell.json'; "
    change += "known = launch.start_and_wait\n"
    change += "def wait(*given):\n    ended = known(*given)\n    cell = json.load(open(path)) | {'seed': 9}\n"
    change += "    json.dump(cell, open(path, 'w'))\n    return ended\n"
    change += "launch.start_and_wait = wait\nlaunch.run(launch.main)"
    done = launch(folder, script=change)
    assert done.returncode == 1
    assert "cell.json was changed while it ran" in last_line(done)
    assert not (folder / "receipt.json").exists()


def test_the_reason_of_a_failure_ends_the_log_of_the_run(make_cell):
    folder = make_cell()
    done = launch(folder, "--command", "sh", "-c", "echo from a rank >&2; kill -9 $$")
    lines = (folder / failure.LOG).read_text().splitlines()
    assert lines[0] == "from a rank"
    assert lines[-1] in last_line(done)


def test_a_job_that_starts_while_a_second_one_waits_leaves_both_noted(tmp_path, monkeypatch):
    for number in ("7", "8"):
        submission.note(tmp_path, {"scheduler": "slurm", "id": number, "log": f"{number}.log"})
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    note_job(tmp_path)
    assert [(job["id"], job["log"]) for job in submission.jobs_of(tmp_path)] == [("8", "8.log"), ("7", "7.log")]


SOON = "import sys; from strongscale.jobs import launch; launch.SHORTEST_S = 0.0; launch.main(sys.argv[1:])"


def test_a_run_whose_time_is_up_leaves_with_75_and_goes_on_from_its_checkpoint(make_cell):
    settings = {"max_epochs": 100_000, "checkpoints": Checkpoints(every_epochs=5, every_s=1000.0)}
    folder = make_cell(**settings)
    done = launch(folder, "--minutes", "2", "--warning-s", "119", script=SOON)
    assert done.returncode == EXIT_STATUS, done.stderr
    assert list(folder.glob("checkpoint-*"))
    assert not (folder / "result.json").exists()
    assert not (folder / failure.NAME).exists()
    os.utime(folder / "heartbeat.json", (0, 0))  # of the first attempt, which the scheduler would repeat later
    again = launch(folder, "--minutes", "2", "--warning-s", "119", "--attempt", "2", script=SOON)
    assert again.returncode == EXIT_STATUS
    assert "attempt 2, from step" in (folder / failure.LOG).read_text()


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"SLURM_JOB_ID": "42", "SLURM_NODELIST": "n1"}, {"scheduler": "slurm", "id": "42"}),
        ({"LSB_JOBID": "43"}, {"scheduler": "lsf", "id": "43"}),
    ],
)
def test_the_job_that_runs_a_cell_is_noted(make_cell, variables, job):
    folder = make_cell()
    assert launch(folder, "--command", "true", **variables).returncode == 0
    noted = read_json(folder / "job.json")
    assert {name: noted[name] for name in job} == job


def test_what_was_noted_at_submission_is_kept(make_cell):
    folder = make_cell()
    noted = {"scheduler": "lsf", "id": "43", "submitted_at": 1.0, "log": "logs/43.log"}
    (folder / "job.json").write_text(json.dumps(noted))
    launch(folder, "--command", "true", LSB_JOBID="43")
    assert read_json(folder / "job.json") == noted


def test_on_this_machine_no_job_is_noted(make_cell):
    folder = make_cell()
    launch(folder, "--command", "true")
    assert not Path(folder, "job.json").exists()


def test_no_scratch_folder_of_mpi_is_left_behind(make_cell, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    launch(make_cell(), "--command", "sh", "-c", 'touch "$TMPDIR/left"', TMPDIR=str(scratch))
    assert os.listdir(scratch) == []  # noqa: PTH208


def test_a_suspension_uses_up_none_of_a_jobs_time(monkeypatch):
    now = SimpleNamespace(s=0.0)
    monkeypatch.setattr(launch_module, "time", SimpleNamespace(monotonic=lambda: now.s))
    left = launch_module.TimeLeft(10.0)
    for moment_s in (4.0, 3600.0, 4.0):
        now.s += moment_s
        assert not left.is_over()
    now.s += 2.5
    assert left.is_over()
