"""The workflow on a real Slurm, disturbed in every way that a cluster has: each cell must end with the same bits."""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, environment, rows
from workflow_fixtures import fingerprint

from strongscale.common.files import read_json

sys.path.insert(0, str(Path(__file__).parent / "slurm"))

import cluster as slurm_cluster

pytestmark = pytest.mark.slurm

CONFIG = """
study: tiny
datasets:
  tiny:
    phantom: {scans: 6, nodules: 40, subsets: 2, size_mm: [60, 60, 60]}
    num_validation: 10
    cubes: {window_hu: [-700, 8000]} # so faint that a tiny model soon beats the best constant output
studies:
  tiny:
    dataset: tiny
    clock: wall
    workers: [1, 2, 4]
    strategies: {strong: {}, weak: {workers: [2]}}
    model: {components: 4, filters: [4, 4], kernels: [5, 3]}
    training:
      {batch_size: 8, learning_rate: 0.003, target: null, max_epochs: 4, reduction: exact, microbatch: 2}
    job: {minutes: 5, memory_mb: 400}
  undisturbed:
    like: tiny
    workers: [1, 2]
    strategies: {strong: {workers: [2]}}
    training: {learning_rate: 0.001, target: null, max_epochs: 60, collapse: {stop: false}}
    checkpoints: {every_epochs: 5}
"""
SITE = {"gpus_per_host": 2, "cores_per_host": 2}
SEQUENTIAL, STRONG = "sequential/01workers/seed1", "strong/02workers/seed1"
TINY_CELLS = (SEQUENTIAL, STRONG, "strong/04workers/seed1", "weak/02workers/seed1")
MANY_EPOCHS = 400
DEADLINE_S = 300
LIMIT = {"minutes": 2, "memory_mb": 400}
LEAVE_AFTER_S = 10


@pytest.fixture(scope="session")
def cluster():
    """A running cluster of two nodes."""
    if reason := slurm_cluster.missing():
        pytest.skip(reason)
    started = slurm_cluster.Cluster()
    try:
        started.start()
        yield started
    finally:
        slurm_cluster.stop()


def write_config(folder):
    """Every fault has a study of its own name, which differs in nothing else: all of them must give the same bits."""
    config = yaml.safe_load(CONFIG)
    studies = config["studies"]
    studies["undisturbed_long"] = {"like": "undisturbed", "training": {"max_epochs": MANY_EPOCHS}}
    for fault in ("cancelled", "limited", "preempted", "abandoned", "queued"):
        studies[fault] = {"like": "undisturbed_long"}
    studies["limited"]["job"] = LIMIT
    studies["lost"] = {"like": "undisturbed"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def receipt_path(study, cell):
    return result_path(study, cell).with_name("receipt.json")


def result_path(study, cell):
    return Path("results", study, "cells", cell, "result.json")


def command(folder, profile, *targets):
    """Snakemake's command line; Slurm is asked soon and often, since all is over in seconds here."""
    program = [sys.executable, ROOT / "tests" / "quick_snakemake.py"] if profile == "slurm" else ["snakemake"]
    options = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", "config.yaml"]
    options += ["--profile", ROOT / "profiles" / profile, "--latency-wait", 5]
    return list(map(str, [*program, *options, "--", *targets]))


def start(folder, *targets):
    """Snakemake on Slurm, in a process group of its own; what it says goes to a file."""
    with (folder / "snakemake.txt").open("a") as said:
        return subprocess.Popen(
            command(folder, "slurm", *targets),
            env=environment(),
            cwd=folder,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


@contextlib.contextmanager
def running(folder, *targets, deadline_s=DEADLINE_S):
    """Snakemake on Slurm while a test disturbs its cells; afterwards it must come to a good end."""
    process = start(folder, *targets)
    try:
        yield process
        assert process.wait(timeout=deadline_s) == 0, (folder / "snakemake.txt").read_text()[-4000:]
    finally:
        abandon(process)


def abandon(process):
    """Kill Snakemake with all that it started here; its jobs run on."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def wait_until(condition, what, process=None):
    """Ask until it is true, and give what it said; fail where Snakemake ends before, or the deadline passes."""
    deadline = time.monotonic() + DEADLINE_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, what
        assert process is None or process.poll() is None, f"Snakemake ended before: {what}"
        time.sleep(0.1)
    return answer


def slurm(*arguments):
    """What one of Slurm's commands says."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def epochs_so_far(folder):
    """Epochs in the journal of a cell in training."""
    with contextlib.suppress(FileNotFoundError), (folder / "epochs.csv").open(newline="") as file:
        return len(list(csv.DictReader(file)))
    return 0


def job_in_training(folder, process, epochs=20):
    """The job of a cell, once it has trained a while: it has checkpoints, and is far from its end."""
    wait_until(lambda: epochs_so_far(folder) >= epochs, f"{folder}: no {epochs} epochs", process)
    return read_json(folder / "job.json")["id"]


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    """The same cells on this machine, without a scheduler and undisturbed: what all others must be equal to."""
    folder = tmp_path_factory.mktemp("local")
    write_config(folder)
    targets = [receipt_path("tiny", cell) for cell in TINY_CELLS]
    targets += [receipt_path("undisturbed_long", SEQUENTIAL), receipt_path("undisturbed", STRONG)]
    done = subprocess.run(
        command(folder, "local", *targets), env=environment(), cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def work(cluster, local, tmp_path):
    """A working folder with the data set, so that only cells are left to be made."""
    folder = tmp_path / "work"
    shutil.copytree(local / "results" / "datasets", folder / "results" / "datasets")
    shutil.copytree(local / ".snakemake" / "metadata", folder / ".snakemake" / "metadata")
    write_config(folder)
    (folder / "site.yaml").write_text(yaml.safe_dump(SITE))
    return folder


@pytest.fixture
def quick(tmp_path):
    """The study `quick` of fewer epochs on this machine: all its cells, its model and its data set."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    study = config["studies"]["quick"]
    study["training"] |= {"learning_rate": 0.00105, "target": None, "max_epochs": 2}
    study["edge"] = {"rates": [0.001, 0.002, 0.004], "epochs": 2}
    study |= {"seeds": [1], "share_trajectories": False}  # each cell a job
    folder = tmp_path / "quick"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    done = subprocess.run(command(folder, "local"), env=environment(), cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def same_bits(work, study, local, undisturbed, cell):
    """Whether a disturbed cell ended as the undisturbed one: every epoch once, its losses and digests of the weights."""
    ours, theirs = (
        folder.parent for folder in (work / result_path(study, cell), local / result_path(undisturbed, cell))
    )
    assert rows(ours) == rows(theirs)
    names = ("status", "epochs", "epochs_to_target")
    ours, theirs = (read_json(folder / "result.json") for folder in (ours, theirs))
    return [ours[name] for name in names] == [theirs[name] for name in names]


def test_a_whole_study_has_the_same_bits_as_without_a_scheduler(work, local):
    with running(work, "all"):
        pass
    for cell in TINY_CELLS:
        assert same_bits(work, "tiny", local, "tiny", cell)
    assert read_json(work / result_path("tiny", TINY_CELLS[2]))["ranks"] == 4
    assert (work / "results/tiny/figures/figure4.png").exists()


def test_the_study_quick_has_the_same_bits_as_without_a_scheduler(cluster, quick, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(quick, folder)
    shutil.rmtree(folder / "results" / "quick")
    (folder / "site.yaml").write_text(yaml.safe_dump({"cores_per_host": 8}))
    with running(folder, "all", deadline_s=1800):
        pass
    cells = [path.parent for path in (quick / "results/quick/cells").glob("*/*/*/result.json")]
    assert len(cells) == 13 + 3  # the matrix, and a try at each rate
    for cell in cells:
        ours = folder / cell.relative_to(quick)
        assert rows(ours) == rows(cell)
        assert read_json(ours / "job.json")["scheduler"] == "slurm"


def test_cells_that_are_cancelled_or_reach_their_limit_go_on_in_another_job(work, local):
    (work / "site.yaml").write_text(yaml.safe_dump(SITE | {"warning_s": LIMIT["minutes"] * 60 - LEAVE_AFTER_S}))
    studies = ("cancelled", "limited")
    folder = (work / result_path("cancelled", SEQUENTIAL)).parent
    with running(work, *(receipt_path(study, SEQUENTIAL) for study in studies)) as process:
        cancelled = job_in_training(folder, process)
        slurm("scancel", cancelled)
    for study in studies:
        assert same_bits(work, study, local, "undisturbed_long", SEQUENTIAL)
        assert read_json(work / result_path(study, SEQUENTIAL))["attempts"] > 1
    assert read_json(folder / "job.json")["id"] != cancelled


def test_a_cell_over_two_nodes_goes_on_when_one_of_them_is_lost(work, local, cluster):
    (work / "site.yaml").write_text(yaml.safe_dump(SITE | {"cores_per_host": 1}))
    folder = (work / result_path("lost", STRONG)).parent
    with running(work, receipt_path("lost", STRONG)) as process:
        job = job_in_training(folder, process)
        assert slurm("squeue", "-h", "-j", job, "-o", "%N") == "n[1-2]"
        cluster.kill_node("n2")
        wait_until(lambda: slurm("squeue", "-h", "-j", job, "-o", "%T") != "RUNNING", "the job runs on", process)
        cluster.restore_node("n2")
    assert same_bits(work, "lost", local, "undisturbed", STRONG)
    assert read_json(folder / "result.json")["attempts"] > 1


def test_a_preempted_cell_goes_on_where_it_was(work, local):
    (work / "site.yaml").write_text(yaml.safe_dump(SITE | {"queue": "low"}))
    folder = (work / result_path("preempted", SEQUENTIAL)).parent
    with running(work, receipt_path("preempted", SEQUENTIAL)) as process:
        job = job_in_training(folder, process)
        place = slurm("squeue", "-h", "-j", job, "-o", "%N")
        urgent = ["--partition=high", f"--nodelist={place}", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"]
        slurm("sbatch", *urgent)
        wait_until(lambda: slurm("squeue", "-h", "-j", job, "-o", "%T") == "PENDING", "it is not preempted", process)
    assert same_bits(work, "preempted", local, "undisturbed_long", SEQUENTIAL)
    assert read_json(folder / "result.json")["attempts"] > 1


def test_jobs_that_outlive_snakemake_and_their_second_copies_do_not_write_one_folder(work, local):
    target = receipt_path("abandoned", SEQUENTIAL)
    folder = (work / target).parent
    first = start(work, target)
    try:
        job = job_in_training(folder, first)
    finally:
        abandon(first)
    with running(work, target) as second:
        wait_until(lambda: read_json(folder / "job.json")["id"] != job, "no second copy is submitted", second)
        assert slurm("squeue", "-h", "-j", job, "-o", "%T") == "RUNNING"
    assert same_bits(work, "abandoned", local, "undisturbed_long", SEQUENTIAL)
    assert read_json(folder / "result.json")["attempts"] == 1
    assert "done already, by another run" in (folder / "train.log").read_text()


def test_a_second_copy_that_starts_when_the_first_has_ended_trains_nothing(work, local):
    target, result = receipt_path("queued", SEQUENTIAL), work / result_path("queued", SEQUENTIAL)
    first = start(work, target)
    try:
        job = job_in_training(result.parent, first)
    finally:
        abandon(first)
    (work / "site.yaml").write_text(yaml.safe_dump(SITE | {"extra": f"--dependency=afterany:{job}"}))
    with running(work, target) as second:
        wait_until(lambda: read_json(result.parent / "job.json")["id"] != job, "no second copy is submitted", second)
        assert slurm("squeue", "-h", "-j", job, "-o", "%T") == "RUNNING"
        wait_until(result.exists, "the first doesn't end", second)
        before = fingerprint(result)
    assert fingerprint(result) == before
    assert (work / target).exists()
    assert read_json(result)["attempts"] == 1
    assert same_bits(work, "queued", local, "undisturbed_long", SEQUENTIAL)


def test_what_the_partition_would_refuse_is_told_before_anything_is_submitted(work):
    (work / "site.yaml").write_text(yaml.safe_dump(SITE | {"queue": "brief"}))
    process = start(work, receipt_path("tiny", SEQUENTIAL))
    assert process.wait(timeout=DEADLINE_S) == 1
    last = (work / "snakemake.txt").read_text().strip().splitlines()[-1]
    assert last.endswith("slurm's queue brief allows 5; allowed: longest_minutes: 5, or a queue with more")
    assert not (work / result_path("tiny", SEQUENTIAL)).parent.exists()
