"""What Snakemake's plugins really ask the schedulers for: the lines that their commands are called with."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, environment

CONFIG = """
study: cpu
datasets:
  tiny: {phantom: {scans: 6, nodules: 40, subsets: 2, size_mm: [60, 60, 60]}, num_validation: 10}
studies:
  cpu:
    dataset: tiny
    clock: wall
    workers: [1, 4, 32]
    strategies: {strong: {}}
    training: {learning_rate: 0.001, target: null, max_epochs: 3}
    job: {minutes: 5, memory_mb: 400}
  gpu:
    like: cpu
    training: {device: cuda}
    job: {minutes: 30}
    edge: {rates: [0.002, 0.003, 0.004]}
"""
SITE = """
queue: long
account: physics
cores_per_host: 16
gpus_per_host: 2
"""
CELLS = {
    f"{study} {workers}": f"results/{study}/cells/{strategy}/{workers}workers/seed1"
    for study in ("cpu", "gpu")
    for strategy, workers in (("sequential", "01"), ("strong", "04"), ("strong", "32"))
}
RECORD = f"""#!{sys.executable}
import json, sys
with open({{record!r}}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
number = len(open({{record!r}}).readlines())
"""
REFUSE = RECORD + 'sys.exit("refused")\n'
SUBMIT = RECORD + 'print("Job <%d> is submitted to queue <long>." % number)\n'  # a refusal ends the plugin at once
FAILED = "#!/bin/sh\nfor job in 1 2 3 4 5 6; do echo $job EXIT; done\n"
ABSENT = '#!/bin/sh\necho "not here" >&2; exit 1\n'
ACCOUNTS = "#!/bin/sh\necho physics\n"


RATES = [f"results/gpu/cells/rate_{rate}/01workers/seed1" for rate in ("0.002", "0.003", "0.004")]


def submissions(folder, scheduler, cells, *options, extra="", **programs):
    """What Snakemake asked a scheduler's commands for: the arguments of each submission, and all that it said."""
    (folder / "study.yaml").write_text(CONFIG)
    (folder / "site.yaml").write_text(f"{SITE}extra: {json.dumps(extra)}\n")
    for made in (*cells, "results/datasets/tiny/receipts", "bin"):
        (folder / made).mkdir(parents=True)
    for name in (*(f"{cell}/cell.json" for cell in cells), "results/datasets/tiny/receipts/dataset.json"):
        (folder / name).write_text('{"files": {}}')
    for name, text in programs.items():
        (folder / "bin" / name).write_text(text.format(record=str(folder / "record")))
        (folder / "bin" / name).chmod(0o755)
    command = [sys.executable, ROOT / "tests" / "quick_snakemake.py", "--snakefile", ROOT / "Snakefile"]
    command += ["--profile", ROOT / "profiles" / scheduler, "--directory", folder, "--configfile", "study.yaml"]
    command += ["--retries", "0", "--allowed-rules", "train", "--latency-wait", "0"]
    command += [*options, "--", *(f"{cell}/receipt.json" for cell in cells)]
    values = environment()
    values |= {"PATH": f"{folder / 'bin'}{os.pathsep}{values['PATH']}"}
    said = subprocess.run(list(map(str, command)), cwd=folder, env=values, capture_output=True, text=True, timeout=200)
    assert said.returncode == 1, said.stdout + said.stderr
    assert (folder / "record").exists(), said.stdout + said.stderr
    return [json.loads(line) for line in (folder / "record").read_text().splitlines()], said.stdout + said.stderr


def by_cell(asked, said):
    """Each cell's submission."""
    found = {}
    for arguments in asked:
        study, workers = re.search(r"train:study=(\w+),.*?workers=(\d+)", " ".join(arguments)).groups()
        found[f"{study} {workers}"] = arguments
    assert found.keys() == CELLS.keys(), said
    return found


def between(arguments, first, last, num_values=1):
    """The arguments after `first` and its values, up to `last`, in one line."""
    return " ".join(arguments[arguments.index(first) + 1 + num_values : arguments.index(last)])


def gpus_of(arguments):
    """What Slurm is asked for besides."""
    return " ".join(word for word in arguments[arguments.index("-D") :] if word.startswith("--g"))


SLURM = {
    "cpu 01": "-t 5 --mem-per-cpu 400 --ntasks=1 --cpus-per-task=1",
    "cpu 04": "-t 5 --mem-per-cpu 400 --nodes=1 --ntasks-per-node=4 --cpus-per-task=1",
    "cpu 32": "-t 5 --mem-per-cpu 400 --nodes=2 --ntasks-per-node=16 --cpus-per-task=1",
    "gpu 01": "-t 30 --mem-per-cpu 400 --cpus-per-task=1",
    "gpu 04": "-t 30 --mem-per-cpu 400 --nodes=2 --ntasks-per-node=2 --cpus-per-task=1",
    "gpu 32": "-t 30 --mem-per-cpu 400 --nodes=16 --ntasks-per-node=2 --cpus-per-task=1",
}
SLURM_GPUS = {"gpu 01": "--gpus=1", "gpu 04": "--gres=gpu:2", "gpu 32": "--gres=gpu:2"}


SLURM_PROGRAMS = {"sbatch": REFUSE, "squeue": ABSENT, "scontrol": ABSENT, "sacctmgr": ACCOUNTS, "sacct": ABSENT}
SLURM_PROGRAMS |= {"sinfo": ABSENT}


def test_what_sbatch_is_called_with(tmp_path):
    extra = "--exclusive --signal=USR1@60"
    found = by_cell(*submissions(tmp_path, "slurm", CELLS.values(), extra=extra, **SLURM_PROGRAMS))
    for cell, arguments in found.items():
        line = f"-A physics -p long {SLURM[cell]} --exclusive --signal=USR1@60"
        assert between(arguments, "--comment", "-D") == line, cell
        assert gpus_of(arguments) == SLURM_GPUS.get(cell, ""), cell


LSF = {
    "cpu 01": "-W 5 -n 1 -R rusage[mem=400] -R span[hosts=1]",
    "cpu 04": "-W 5 -n 4 -R rusage[mem=400] -R span[ptile=4]",
    "cpu 32": "-W 5 -n 32 -R rusage[mem=400] -R span[ptile=16]",
    "gpu 01": "-W 30 -n 1 -R rusage[mem=400] -R span[hosts=1] -gpu num=1",
    "gpu 04": "-W 30 -n 4 -R rusage[mem=400] -R span[ptile=2] -gpu num=2",
    "gpu 32": "-W 30 -n 32 -R rusage[mem=400] -R span[ptile=2] -gpu num=2",
}


def test_what_bsub_is_called_with(tmp_path):
    parameters = tmp_path / "lsbatch" / "main" / "configdir" / "lsb.params"
    parameters.parent.mkdir(parents=True)
    parameters.write_text("Begin Parameters\nDEFAULT_QUEUE = normal\nEnd Parameters\n")
    settings = f"MBD\nLSB_SHAREDIR = {tmp_path}\nLSF_CONFDIR = {tmp_path}\nLSF_UNIT_FOR_LIMITS = MB\n"
    asked = {
        "badmin": f"#!/bin/sh\ncat <<END\n{settings}END\n",
        "lsclusters": "#!/bin/sh\necho CLUSTER_NAME STATUS\necho main ok\n",
    }
    asked |= {"bsub": SUBMIT, "bjobs": FAILED, "bkill": ABSENT}
    found = by_cell(*submissions(tmp_path, "lsf", CELLS.values(), extra="-wt 1 -wa USR1", **asked))
    for cell, arguments in found.items():
        line = f"-P physics -q long {LSF[cell]} -wt 1 -wa USR1"
        assert between(arguments, "-env", "-cwd") == line, cell


def test_cells_of_one_rank_share_a_job_where_that_is_asked_for(tmp_path):
    asked, said = submissions(tmp_path, "slurm", RATES, "--group-components", "rates=2", **SLURM_PROGRAMS)
    assert len(asked) == 2, said
    lines = {f"{between(arguments, '-p', '-D')} {gpus_of(arguments)}" for arguments in asked}
    assert lines == {"-t 30 --mem 400 --cpus-per-task=1 --gpus=1", "-t 30 --mem 800 --cpus-per-task=2 --gpus=2"}


@pytest.mark.parametrize(("scheduler", "command"), [("slurm", "sbatch"), ("lsf", "bsub")])
def test_a_machine_without_the_scheduler_is_told_so_in_one_line(tmp_path, scheduler, command):
    for name in ("which", "sh", "bash"):
        (tmp_path / name).symlink_to(shutil.which(name))
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", tmp_path]
    said = subprocess.run(
        list(map(str, [*snakemake, "--profile", ROOT / "profiles" / scheduler])),
        env=environment() | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 1
    line = f"{scheduler}: no {command} on this machine; type this on a login node, or with --profile local"
    assert said.stderr.splitlines()[-1] == line
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "results").exists()
