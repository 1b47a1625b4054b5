"""The fault campaign: kill training at random moments, in many ways, and see whether every run ends as if nothing had been.

`make faults` runs it at length and writes docs/faults.md; a shortened one is among the tests. A run trains a tiny model on
several ranks; it is disturbed one to three times, then left alone, and its epochs (losses and digests of the weights) are
compared with those of an undisturbed run.
"""

import argparse
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from conftest import ROOT, environment, mpi_command, rows, write_cell, write_dataset

from strongscale.config import Checkpoints
from strongscale.errors import UserError
from strongscale.files import read_json

LONG = {"max_epochs": 40, "checkpoints": Checkpoints(every_epochs=5, every_s=0.1)}
REDUCTIONS = {"exact": {"reduction": "exact", "microbatch": 2}, "fast": {"reduction": "fast"}}
WORKERS = 4


@dataclass
class Run:
    """One training run of the campaign."""

    folder: Path
    ranks: int
    random: random.Random
    deaths: Counter = field(default_factory=Counter)

    def start(self, **options):
        """Start an attempt, in a process group of its own."""
        log = (self.folder / "train.log").open("a")
        command = mpi_command(self.ranks, "strongscale.train", self.folder)
        return subprocess.Popen(command, env=environment(), stderr=log, start_new_session=True, **options)

    def wait_until_training(self, process):
        """Until this attempt has written an epoch, then for a random moment."""
        path, before = self.folder / "epochs.csv", time.time()
        while process.poll() is None and not (
            path.exists() and path.stat().st_mtime > before - 0.01 and self._has_epochs()
        ):
            time.sleep(0.01)
        time.sleep(self.random.uniform(0, 0.5))

    def _has_epochs(self):
        return len((self.folder / "epochs.csv").read_text().splitlines()) > 1

    def finish(self):
        """Run undisturbed to the end."""
        process = self.start()
        assert process.wait(timeout=120) == 0, (self.folder / "train.log").read_text()[-2000:]


def ranks_of(process):
    """The process ids of the ranks that an mpirun started."""
    answer = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [int(word) for word in answer.stdout.split()]


def kill_all(process):
    """SIGKILL to mpirun and all ranks, and whatever they started."""
    for pid in [*ranks_of(process), process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def one_rank_killed(run):
    process = run.start()
    run.wait_until_training(process)
    ranks = ranks_of(process)
    if ranks:
        os.kill(run.random.choice(ranks), signal.SIGKILL)
    process.wait(timeout=60)


def mpirun_killed(run):
    process = run.start()
    run.wait_until_training(process)
    ranks = ranks_of(process)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in ranks):  # they notice; two copies must not write one folder
        time.sleep(0.02)


def everything_killed(run):
    process = run.start()
    run.wait_until_training(process)
    kill_all(process)


def killed_during_start(run):
    process = run.start()
    time.sleep(run.random.uniform(0, 2.5))
    kill_all(process)


def killed_while_writing_a_checkpoint(run):
    process = run.start()
    while process.poll() is None and not list(run.folder.glob(".checkpoint-*")):
        time.sleep(0.0005)
    kill_all(process)


def terminated(run):
    process = run.start()
    run.wait_until_training(process)
    process.send_signal(run.random.choice([signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]))
    process.wait(timeout=60)


def newest_checkpoint_truncated(run):
    everything_killed(run)
    paths = sorted(run.folder.glob("checkpoint-*"))
    if paths:
        os.truncate(paths[-1], run.random.randrange(paths[-1].stat().st_size))


def disk_full(run):
    """No file may grow beyond 2 kB: the same error, from the same calls, as on a full disk. (One rank: mpirun needs disk.)"""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))

    before = set(run.folder.iterdir())
    command = [sys.executable, "-m", "strongscale.train", run.folder]
    answer = subprocess.run(command, env=environment(), preexec_fn=limit, capture_output=True, text=True, timeout=120)
    assert answer.returncode != 0
    assert os.strerror(errno.EFBIG) in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (run.folder / "result.json").exists()
    assert not [path for path in set(run.folder.iterdir()) - before if path.name.startswith(".")]


def results_read_only(run):
    """The folder may be read but not written in: by its permissions, or for root, by a read-only mount."""
    if os.getuid() != 0:
        run.folder.chmod(0o555)
    else:
        subprocess.run(["mount", "--bind", run.folder, run.folder], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", run.folder], check=True)
    try:
        command = mpi_command(run.ranks, "strongscale.train", run.folder)
        answer = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    finally:
        if os.getuid() != 0:
            run.folder.chmod(0o755)
        else:
            subprocess.run(["umount", run.folder], check=True)
    assert answer.returncode != 0
    assert f"{run.folder}/epochs.csv: {os.strerror(errno.EROFS if os.getuid() == 0 else errno.EACCES)}" in answer.stderr
    assert "Traceback" not in answer.stderr


def result_torn_in_half(run):
    """The finished result loses its second half: it is named as torn, removed, and made again."""
    run.finish()
    path = run.folder / "result.json"
    os.truncate(path, path.stat().st_size // 2)
    try:
        read_json(path)
    except UserError as error:
        assert "result.json: not valid JSON" in str(error)
    else:
        raise AssertionError("a torn result was read")
    path.unlink()


FAULTS = [
    one_rank_killed,
    mpirun_killed,
    everything_killed,
    killed_during_start,
    killed_while_writing_a_checkpoint,
    terminated,
    newest_checkpoint_truncated,
    disk_full,
    results_read_only,
    result_torn_in_half,
]


def snakemake_killed(root, seed):
    """A whole workflow, killed and started again with the same command (and --unlock, as it asks for)."""
    order = random.Random(seed)
    folder = root / f"snakemake{seed}"
    folder.mkdir()
    (folder / "study.yaml").write_text(WORKFLOW)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--profile", str(ROOT / "profiles" / "local"), "--configfile", "study.yaml", "--cores", "1"]
    command += ["results/faults/cells/strong/02workers/seed1/result.json"]
    quiet = {"cwd": folder, "env": environment(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    journal = folder / "results/faults/cells/strong/02workers/seed1/epochs.csv"
    deaths = 0
    for _ in range(2):
        process = subprocess.Popen(command, start_new_session=True, **quiet)
        while process.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) > 2):
            time.sleep(0.02)
        time.sleep(order.uniform(0, 0.5))
        deaths += process.poll() is None
        subprocess.run(["pkill", "-KILL", "--session", str(process.pid)])
        process.wait()
        subprocess.run(["pkill", "-KILL", "-f", str(folder)])
        subprocess.run([*command, "--unlock"], check=True, **quiet)
    subprocess.run(command, check=True, **quiet)
    return journal.parent, deaths


WORKFLOW = """
study: faults
datasets:
  faults:
    phantom: {scans: 4, nodules: 24, subsets: 1, size_mm: [60, 60, 60]}
    num_validation: 6
studies:
  faults:
    dataset: faults
    clock: emulated
    max_ranks: 2
    strategies: {strong: {}}
    workers: [1, 2]
    model: {components: 4, filters: [4, 4], kernels: [3, 3]}
    training: {target: 1.0e-9, max_epochs: 60, batch_size: 8, reduction: exact, microbatch: 2}
    checkpoints: {every_epochs: 3, every_s: 0.1}
"""


def disturb(root, dataset, number, calm, faults):
    """One run: its faults, then its undisturbed end; how it died, and whether it ended as the calm one."""
    order = random.Random(number)
    ranks, reduction = order.choice([1, 2, 4]), order.choice(list(REDUCTIONS))
    folder = write_cell(root, dataset, "strong", WORKERS, name=f"run{number}", **LONG, **REDUCTIONS[reduction])
    run = Run(folder, ranks, order)
    for fault in faults:
        fault(run)
        run.deaths[fault.__name__] += 1
        if (folder / "result.json").exists():  # it was faster than its death
            run.deaths[fault.__name__] -= 1
            (folder / "result.json").unlink()
    run.finish()
    equal = rows(folder) == calm[reduction, ranks]
    shutil.rmtree(folder)
    return reduction, run.deaths, equal


def calm_rows(root, dataset):
    """The epochs of undisturbed runs; in exact mode those of one rank stand for all."""
    calm = {}
    for reduction, settings in REDUCTIONS.items():
        for ranks in (1, 2, 4):
            folder = write_cell(root, dataset, "strong", WORKERS, name=f"calm{reduction}{ranks}", **LONG, **settings)
            Run(folder, ranks, random.Random(0)).finish()
            calm[reduction, ranks] = rows(folder) if reduction == "fast" or ranks == 1 else calm["exact", 1]
            assert calm[reduction, ranks] == rows(folder)
    return calm


def campaign(root, num_kills, num_workflows, seed=1):
    """Disturb runs until so many faults have struck; counts of faults, and of runs by reduction and outcome."""
    dataset = write_dataset(root / "results" / "datasets" / "tiny")
    calm = calm_rows(root, dataset)
    order = random.Random(seed)
    plans = []
    while sum(map(len, plans)) < num_kills:
        deck = order.sample(FAULTS, len(FAULTS))
        while deck:
            size = order.randint(1, 3)
            plans.append([deck.pop() for _ in range(min(size, len(deck)))])
    deaths, outcomes = Counter(), Counter()
    with ThreadPoolExecutor(2) as pool:
        ended = pool.map(lambda pair: disturb(root, dataset, pair[0], calm, pair[1]), enumerate(plans))
        for reduction, died, equal in ended:
            deaths += died
            outcomes[reduction, equal] += 1
    workflows = [snakemake_killed(root, number) for number in range(num_workflows)]
    for folder, died in workflows:
        deaths["snakemake_killed"] += died
        outcomes["exact", rows(folder) == rows(workflows[0][0]) and len(rows(folder)) == 60] += 1
    return deaths, outcomes


def page(deaths, outcomes):
    """The campaign as a page."""
    lines = ["# The fault campaign", "", "What `make faults` printed when it was last run for this page.", ""]
    lines += ["| fault | times |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {count} |" for name, count in sorted(deaths.items())]
    lines += [
        f"| all | {sum(deaths.values())} |",
        "",
        "| reduction | runs | ended with the same bits |",
        "|---|---|---|",
    ]
    for reduction in REDUCTIONS:
        equal, other = outcomes[reduction, True], outcomes[reduction, False]
        lines.append(f"| {reduction} | {equal + other} | {equal} |")
    return "\n".join([*lines, ""])


def main():
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workflows", type=int, default=5)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        deaths, outcomes = campaign(Path(folder), options.kills, options.workflows)
    text = page(deaths, outcomes)
    print(json.dumps({"faults": dict(deaths)}), text, sep="\n")
    if options.output:
        options.output.write_text(text)
    sys.exit(any(not equal for _, equal in outcomes))


if __name__ == "__main__":
    main()
