"""The fault campaign: kill training at random moments, in many ways, and see whether every run ends as if nothing had been.

`make faults` runs it at length and writes docs/faults.md; a shortened one is among the tests. A run trains a tiny model on
several ranks; it is disturbed one to three times, then left alone, and its epochs (losses and digests of the weights) are
compared with those of an undisturbed run.
"""

import argparse
import contextlib
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

import psutil
import workflow_faults
from conftest import environment, launch_spoilt, mpi_command, rows, write_cell, write_dataset

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.settings.config import Checkpoints

LONG = {"max_epochs": 40, "checkpoints": Checkpoints(every_epochs=5, every_s=0.1)}
REDUCTIONS = {"exact": {"reduction": "exact", "microbatch": 2}, "fast": {"reduction": "fast"}}
WORKERS = 4
SUSPENDED_S = 6.0  # longer than what counts as a stumble
TORN = "half-written checkpoints left behind by them"


@dataclass
class Run:
    """One training run of the campaign."""

    folder: Path
    ranks: int
    random: random.Random
    deaths: Counter = field(default_factory=Counter)
    torn: int = 0
    """How often a half-written checkpoint was left behind."""

    def start(self, **options):
        """Start an attempt, in a process group of its own."""
        log = (self.folder / "train.log").open("a")
        command = [sys.executable, "-m", "strongscale.jobs.launch", str(self.folder), "--command"]
        command += mpi_command(self.ranks, "strongscale.training", self.folder)
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


def below(process):
    """All processes that this one started, and those they started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(victims):
    """SIGKILL, at once, to all of them; wait until they are gone."""
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=60)


def kill_all(process):
    """SIGKILL to the launcher, mpirun and all ranks, as when the machine dies."""
    victims = below(process)
    process.kill()
    process.wait()
    kill(victims)


def one_rank_killed(run):
    process = run.start()
    run.wait_until_training(process)
    ranks = [one for one in below(process) if one.name().startswith("python")]
    kill(run.random.sample(ranks, min(1, len(ranks))))
    process.wait(timeout=60)


def mpirun_killed(run):
    process = run.start()
    run.wait_until_training(process)
    kill([one for one in below(process) if one.name() in ("mpirun", "prterun")])
    process.wait(timeout=60)  # and at once again: ranks that still live hold the cell's lock until they notice


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
    everybody = []
    while process.poll() is None and not (everybody and list(run.folder.glob(".checkpoint-*"))):
        everybody = everybody if len(everybody) > run.ranks else below(process)
    for one in everybody:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    run.torn += bool(list(run.folder.glob(".checkpoint-*")))
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
    command = [sys.executable, "-m", "strongscale.training", run.folder]
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
    elif subprocess.run(["mount", "--bind", run.folder, run.folder], capture_output=True).returncode:
        return False  # root in a container that may not mount: there is no folder that it can't write in
    else:
        subprocess.run(["mount", "-o", "remount,ro,bind", run.folder], check=True)
    try:
        command = mpi_command(run.ranks, "strongscale.training", run.folder)
        answer = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    finally:
        if os.getuid() != 0:
            run.folder.chmod(0o755)
        else:
            subprocess.run(["umount", run.folder], check=True)
    assert answer.returncode != 0
    assert f"{run.folder}/lock: {os.strerror(errno.EROFS if os.getuid() == 0 else errno.EACCES)}" in answer.stderr
    assert "Traceback" not in answer.stderr
    return True


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


def suspended(run):
    """As by bstop in a job's first minute, which stops the launcher alone; continued, it is told to leave later."""
    process = run.start()
    run.wait_until_training(process)
    process.send_signal(signal.SIGSTOP)
    time.sleep(SUSPENDED_S)
    stopped = [one for one in below(process) if one.status() == psutil.STATUS_STOPPED]
    ended = process.poll() is not None or (run.folder / "result.json").exists()
    process.send_signal(signal.SIGCONT)
    assert ended or len(stopped) >= run.ranks, "its ranks went on"
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    return not ended


def replica_astray(run):
    """The weights of the last of two ranks are spoilt: the run ends by itself, and nothing of it is kept."""
    spoil = """
        take_step = loop.Trainer._take_step
        def spoilt(self, *arguments):
            take_step(self, *arguments)
            self.flat.values.data.mul_(1.5)
        if rank == 1: loop.Trainer._take_step = spoilt
    """
    answer = launch_spoilt(run.folder, spoil)
    assert answer.returncode == 1
    assert "rank 1" in answer.stderr.splitlines()[-1]
    assert not (run.folder / "result.json").exists()


FAULTS = [
    suspended,
    replica_astray,
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


def any_ranks(order):
    """One, two or, seldom because it takes long on few cores, four."""
    return order.choices([1, 2, 4], [0.4, 0.5, 0.1])[0]


def disturb(root, dataset, number, calm, faults):
    """One run: its faults, then its undisturbed end; how it died, and whether it ended as the calm one."""
    order = random.Random(number)
    ranks, reduction = any_ranks(order), order.choice(list(REDUCTIONS))
    folder = write_cell(root, dataset, "strong", WORKERS, name=f"run{number}", **LONG, **REDUCTIONS[reduction])
    run = Run(folder, ranks, order)
    for fault in faults:
        struck = fault(run) is not False
        if (folder / "result.json").exists():  # it was faster than its death
            struck = False
            (folder / "result.json").unlink()
        run.deaths[fault.__name__] += struck
    if reduction == "exact":  # whoever carries it on
        run.ranks = any_ranks(order)
    run.finish()
    run.deaths[TORN] += run.torn
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
    calm_cell = workflow_faults.undisturbed(root)
    for number in range(num_workflows):
        fault = workflow_faults.FAULTS[number % len(workflow_faults.FAULTS)]
        cell, struck = fault(root, number)
        deaths[fault.__name__] += struck
        outcomes["exact", rows(cell) == rows(calm_cell)] += 1
    return deaths, outcomes


def page(deaths, outcomes, command):
    """The campaign as a page."""
    lines = [
        "# The fault campaign",
        "",
        f"What `{command}` printed when it was last run for this page; `make faults`",
        "",
    ]
    lines[-2] += " strikes more than a hundred times."
    lines += ["| fault | times |", "|---|---|"]
    faults = {name.replace("_", " "): count for name, count in sorted(deaths.items()) if name != TORN}
    lines += [f"| {name} | {count} |" for name, count in faults.items()]
    lines += [f"| **all** | {sum(faults.values())} |", f"| {TORN} | {deaths[TORN]} |"]
    lines += ["", "| reduction | runs | ended with the same bits |", "|---|---|---|"]
    for reduction in REDUCTIONS:
        equal, other = outcomes[reduction, True], outcomes[reduction, False]
        lines.append(f"| {reduction} | {equal + other} | {equal} |")
    return "\n".join([*lines, ""])


def main():
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=115)
    parser.add_argument("--workflows", type=int, default=6)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        deaths, outcomes = campaign(Path(folder), options.kills, options.workflows)
    text = page(deaths, outcomes, f"python tests/faults.py --kills {options.kills} --workflows {options.workflows}")
    print(json.dumps({"faults": dict(deaths)}), text, sep="\n")
    if options.output:
        options.output.write_text(text)
    sys.exit(any(not equal for _, equal in outcomes))


if __name__ == "__main__":
    main()
