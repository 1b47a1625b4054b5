"""The fault campaign's whole workflows: Snakemake killed, started twice, or refused by its scheduler."""

import os
import random
import subprocess
import sys
import time

import psutil
from conftest import ROOT, environment

CONFIG = """
study: faults
datasets:
  faults:
    phantom: {scans: 4, nodules: 24, subsets: 1, size_mm: [60, 60, 60]}
    num_validation: 6
studies:
  faults:
    dataset: faults
    clock: emulated
    share_trajectories: false # the cell that is disturbed is trained by itself
    max_ranks: 2
    strategies: {strong: {}}
    workers: [1, 2]
    model: {components: 4, filters: [4, 4], kernels: [3, 3]}
    training: {target: 1.0e-9, max_epochs: 60, batch_size: 8, reduction: exact, microbatch: 2}
    checkpoints: {every_epochs: 3, every_s: 0.1}
"""
CELL = "results/faults/cells/strong/02workers/seed1"
REFUSED = "another Snakemake is at work in this folder"
NUM_REFUSED = 2


class Workflow:
    """The workflow up to one cell, in a folder of its own."""

    def __init__(self, root, name, profile="local", **variables):
        self.folder, self.variables = root / name, environment() | variables
        self.folder.mkdir()
        (self.folder / "study.yaml").write_text(CONFIG)
        program = ["-m", "snakemake"] if profile == "local" else [ROOT / "tests" / "quick_snakemake.py"]
        command = [
            sys.executable,
            *program,
            "--snakefile",
            ROOT / "Snakefile",
            "--profile",
            ROOT / "profiles" / profile,
        ]
        command += [
            "--configfile",
            "study.yaml",
            *(["--cores", "1"] if profile == "local" else ["--latency-wait", "5"]),
        ]
        self.command = list(map(str, [*command, "--", f"{CELL}/receipt.json"]))
        self.cell = self.folder / CELL

    def start(self):
        """Snakemake at work, in a process group of its own."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self.command, cwd=self.folder, env=self.variables, start_new_session=True, **quiet)

    def run(self):
        """Snakemake, once it has ended; what it said is kept."""
        return subprocess.run(self.command, cwd=self.folder, env=self.variables, capture_output=True, text=True)

    def wait_until_training(self, process):
        """Until the cell has written an epoch or two, or Snakemake has ended."""
        journal = self.cell / "epochs.csv"
        while process.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) > 2):
            time.sleep(0.02)


def undisturbed(root):
    """The cell as it should be."""
    workflow = Workflow(root, "undisturbed")
    assert workflow.run().returncode == 0
    return workflow.cell


def snakemake_killed(root, seed, num_deaths=2):
    """Killed and started again with the same command; the cell, and how often it died."""
    order, workflow = random.Random(seed), Workflow(root, f"killed{seed}")
    deaths = 0
    for _ in range(num_deaths):
        process = workflow.start()
        workflow.wait_until_training(process)
        time.sleep(order.uniform(0, 0.5))
        deaths += process.poll() is None
        victims = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.kill()
        process.wait()
        if order.random() < 0.5:  # the machine dies; else Snakemake alone: its job goes on, and holds the cell's lock
            for victim in victims:
                victim.kill()
        psutil.wait_procs(victims, timeout=60)
    assert workflow.run().returncode == 0
    return workflow.cell, deaths


def second_snakemake(root, seed):
    """Started while the first is at work: it is refused, and the first goes on."""
    workflow = Workflow(root, f"second{seed}")
    first = workflow.start()
    workflow.wait_until_training(first)
    second = workflow.run()
    struck = REFUSED in second.stderr
    assert struck == bool(second.returncode)
    assert first.wait(timeout=300) == 0
    return workflow.cell, int(struck)


def submission_refused(root, seed):
    """LSF, in the tests' stand-in, doesn't take the first jobs."""
    double = ROOT / "tests" / "lsf" / "bin"
    state = root / f"lsf{seed}"
    path = f"{double}{os.pathsep}{environment()['PATH']}"
    workflow = Workflow(root, f"refused{seed}", "lsf", LSF_DOUBLE_STATE=str(state), PATH=path)
    for arguments in (["start"], ["fault", "bsub", "fail", str(NUM_REFUSED)]):
        subprocess.run(["lsf_double", *arguments], env=workflow.variables, cwd=root, check=True, capture_output=True)
    try:
        answer = workflow.run()
    finally:
        subprocess.run(["lsf_double", "stop"], env=workflow.variables, cwd=root, capture_output=True)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return workflow.cell, NUM_REFUSED


FAULTS = [snakemake_killed, second_snakemake, submission_refused]
