"""A tiny study through the stand-in for LSF, with faults on the way, ends with the same bits as on this machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, environment, rows
from workflow_fixtures import command, fingerprint

from strongscale.common.files import read_json

BIN = ROOT / "tests" / "lsf" / "bin"
DEADLINE_S = 300
CONFIG = """
study: tiny
datasets:
  tiny: {phantom: {scans: 4, nodules: 24, subsets: 1, size_mm: [60, 60, 60]}, num_validation: 6}
studies:
  tiny:
    dataset: tiny
    clock: emulated
    share_trajectories: false # each cell a job
    max_ranks: 2
    workers: [1, 2]
    strategies: {strong: {}, weak: {}}
    model: {components: 4, filters: [4, 4], kernels: [3, 3]}
    training: {batch_size: 8, learning_rate: 0.001, target: null, max_epochs: 60, reduction: exact, microbatch: 2}
    checkpoints: {every_epochs: 5}
    job: {minutes: 30, memory_mb: 400}
  brief:
    like: tiny
    job: {minutes: 5}
  long:
    like: tiny
    strategies: {strong: {workers: [1]}}
    training: {max_epochs: 400, collapse: {stop: false}}
"""
LONG = "results/long/cells/sequential/01workers/seed1"
BRIEF = "results/brief/cells/sequential/01workers/seed1"
CELLS = [f"results/tiny/cells/{cell}/seed1" for cell in ("sequential/01workers", "strong/02workers", "weak/02workers")]
RECEIPTS = [f"{cell}/receipt.json" for cell in CELLS]
pytestmark = pytest.mark.slow


class Lsf:
    """The stand-in, and Snakemake with it."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.environment = environment()
        path = f"{BIN}{os.pathsep}{self.environment['PATH']}"
        self.environment |= {"LSF_DOUBLE_STATE": str(folder / "lsf"), "PATH": path}
        self.call("lsf_double", "start", "--kill-delay-s", "1", *options)

    def call(self, *arguments):
        done = subprocess.run(arguments, env=self.environment, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done
        return done.stdout

    def states(self):
        """The state of each job, by its number."""
        done = subprocess.run(
            ["bjobs", "-noheader", "-a", "-o", "jobid stat"],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The study made on this machine."""
    folder = tmp_path_factory.mktemp("calm")
    (folder / "tiny.yaml").write_text(CONFIG)
    targets = [*RECEIPTS, f"{LONG}/receipt.json"]
    subprocess.run(command(folder, "--", *targets), env=environment(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def lsf(calm, tmp_path, request):
    """A stand-in, with options where a test asks for them, and a folder with the data set but without cells."""
    shutil.copytree(calm, tmp_path / "work")
    for study in ("tiny", "long"):
        shutil.rmtree(tmp_path / "work" / "results" / study)
    cluster = Lsf(tmp_path / "work", *getattr(request, "param", []))
    yield cluster
    cluster.call("lsf_double", "stop")


def start(lsf, *results):
    """Snakemake on the cluster, at work."""
    quick = [sys.executable, ROOT / "tests" / "quick_snakemake.py", "--snakefile", ROOT / "Snakefile"]
    quick += ["--profile", ROOT / "profiles" / "lsf", "--directory", lsf.folder, "--configfile", "tiny.yaml"]
    quick += ["--latency-wait", "5", "--", *results]
    with (lsf.folder / "log").open("w") as log:
        return subprocess.Popen(
            list(map(str, quick)),
            cwd=lsf.folder,
            env=lsf.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until(condition, process, folder):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)


def finish(lsf, process):
    assert end_of(lsf, process) == 0, (lsf.folder / "log").read_text()


def end_of(lsf, process):
    """The status of Snakemake, which ends in time; with what it said if it doesn't."""
    try:
        return process.wait(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"Snakemake goes on; jobs: {lsf.states()}\n{(lsf.folder / 'log').read_text()}")


def trains(cell, epochs=1):
    """Whether a cell's run has written so many epochs."""
    path = Path(cell, "epochs.csv")
    return path.exists() and len(path.read_text().splitlines()) > epochs


def same_bits(lsf, calm, cells):
    return all(rows(lsf.folder / cell) == rows(calm / cell) for cell in cells)


def test_all_cells_are_the_same_as_on_this_machine_though_a_job_is_killed(lsf, calm):
    process = start(lsf, *RECEIPTS)
    wait_until(lambda: any(trains(lsf.folder / cell) for cell in CELLS), process, lsf.folder)
    subprocess.run(["bkill", *lsf.states()], env=lsf.environment, cwd=lsf.folder, capture_output=True)
    finish(lsf, process)
    assert len(lsf.states()) > len(CELLS)
    assert "EXIT" in lsf.states().values()
    assert same_bits(lsf, calm, CELLS)


def test_a_job_unknown_for_a_while_and_a_silent_bjobs_change_nothing(lsf, calm):
    process = start(lsf, RECEIPTS[0])
    wait_until(lsf.states, process, lsf.folder)
    lsf.call("lsf_double", "show", "1", "UNKWN")
    lsf.call("lsf_double", "fault", "bjobs", "fail", "1")
    wait_until(lambda: (lsf.folder / RECEIPTS[0]).exists(), process, lsf.folder)
    assert process.poll() is None  # it isn't taken for finished while nobody knows
    lsf.call("lsf_double", "show", "1", "real")
    finish(lsf, process)
    assert list(lsf.states()) == ["1"]
    assert same_bits(lsf, calm, CELLS[:1])


def train_a_while(lsf):
    """Snakemake, whose one long cell is in training."""
    process = start(lsf, f"{LONG}/receipt.json")
    wait_until(lambda: trains(lsf.folder / LONG, 20), process, lsf.folder)
    return process


def went_on_in_another_job(lsf, calm, process):
    """Whether the long cell ended as it should, in a second job and from a checkpoint of the first."""
    finish(lsf, process)
    assert lsf.states() == {"1": "EXIT", "2": "DONE"}
    assert read_json(lsf.folder / LONG / "result.json")["attempts"] == 2
    return same_bits(lsf, calm, [LONG])


def test_a_cell_that_reaches_its_run_limit_goes_on_in_another_job(lsf, calm):
    process = train_a_while(lsf)
    lsf.call("lsf_double", "expire", "1")
    assert went_on_in_another_job(lsf, calm, process)


def test_a_cell_goes_on_when_its_host_is_lost(lsf, calm):
    process = train_a_while(lsf)
    lsf.call("lsf_double", "lose", "h1")
    assert lsf.states() == {"1": "UNKWN"}
    time.sleep(2)
    assert lsf.states() == {"1": "UNKWN"}  # no second copy while nobody knows
    lsf.call("lsf_double", "restore", "h1")
    assert went_on_in_another_job(lsf, calm, process)


def test_a_job_that_outlives_snakemake_and_its_second_copy_do_not_write_one_folder(lsf, calm):
    first = train_a_while(lsf)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    finish(lsf, start(lsf, f"{LONG}/receipt.json"))
    assert lsf.states() == {"1": "DONE", "2": "DONE"}
    assert read_json(lsf.folder / LONG / "result.json")["attempts"] == 1
    assert "done already, by another run" in (lsf.folder / LONG / "train.log").read_text()
    assert same_bits(lsf, calm, [LONG])


@pytest.mark.parametrize("lsf", [["--hosts", "1", "--slots", "1"]], indirect=True)
def test_a_second_copy_that_starts_when_the_first_has_ended_trains_nothing(lsf, calm):
    first = train_a_while(lsf)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second, result = start(lsf, f"{LONG}/receipt.json"), lsf.folder / LONG / "result.json"
    wait_until(lambda: lsf.states().get("2") == "PEND", second, lsf.folder)
    wait_until(result.exists, second, lsf.folder)
    before = fingerprint(result)
    finish(lsf, second)
    assert lsf.states() == {"1": "DONE", "2": "DONE"}
    assert fingerprint(result) == before
    assert read_json(result)["attempts"] == 1
    assert same_bits(lsf, calm, [LONG])


def test_a_refused_job_fails_alone_and_says_why(lsf):
    """The queue `short` allows 5 minutes; one cell asks for 5, the other for 30."""
    (lsf.folder / "site.yaml").write_text("queue: short\n")
    lsf.call("lsf_double", "fault", "bqueues", "fail", "9")  # else it were foreseen
    process = start(lsf, RECEIPTS[0], f"{BRIEF}/receipt.json")
    assert end_of(lsf, process) == 1
    said = (lsf.folder / "log").read_text()
    assert (lsf.folder / BRIEF / "result.json").exists(), said
    assert lsf.states() == {"1": "DONE"}
    reason = "bsub refused the job: RUNLIMIT: Cannot exceed queue's hard limit(s)"
    assert (lsf.folder / CELLS[0] / "failure.txt").read_text().startswith(reason)
    assert reason in said
    assert "set longest_minutes in site.yaml" in said
    assert "Traceback" not in said


def test_what_the_queue_would_refuse_is_told_before_anything_is_submitted(lsf):
    (lsf.folder / "site.yaml").write_text("queue: short\n")
    process = start(lsf, RECEIPTS[0])
    assert end_of(lsf, process) == 1
    last = (lsf.folder / "log").read_text().strip().splitlines()[-1]
    assert last.startswith("site.yaml: longest_minutes: null is not allowed, for jobs would ask for up to 180 minutes")
    assert last.endswith("lsf's queue short allows 5; allowed: longest_minutes: 5, or a queue with more")
    assert lsf.states() == {}
