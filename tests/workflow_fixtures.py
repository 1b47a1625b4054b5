"""The workflow run as a user runs it, and one real tiny study that serves all tests of it."""

import fcntl
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, environment

TINY = """
study: tiny
datasets:
  tiny:
    phantom: {scans: 6, nodules: 40, subsets: 2, size_mm: [60, 60, 60]}
    num_validation: 10
    cubes: {diameters: 1.5} # which a tiny model soon reconstructs better than the best constant output
studies:
  tiny:
    dataset: tiny
    clock: emulated
    network: measured
    max_ranks: 1
    workers: [1, 2, 3]
    seeds: [1, 2]
    strategies:
      strong: {}
      weak: {}
      warmup10: {kind: warmup, workers: [3], parameters: {epochs: 10}}
    model: {components: 4, filters: [4, 4], kernels: [5, 3]}
    training:
      batch_size: 8
      learning_rate: edge
      target: {sequential_epochs: 12, pilots: [11]}
      max_epochs: 13
      reduction: exact
      microbatch: 2
    edge: {between: [0.001, 0.004], epochs: 12, seeds: [11], resolution: 2, rates: [0.003]}
    new_nodules: {count: 5}
  tiny_wall:
    like: tiny
    clock: wall
    max_ranks: null
    alone: true
    compare_clock_with: tiny
    workers: [1, 2]
    seeds: [1]
    strategies: {strong: {}}
    training: {learning_rate: 0.001}
    edge: {rates: []}
"""
SEEDS = ("seed1", "seed2")
LINES = ("weak/02workers", "weak/03workers", "warmup10/03workers")  # strong scaling is the sequential run
SCALED = {f"{line}/{seed}" for line in LINES for seed in SEEDS}
SEQUENTIAL = {f"sequential/01workers/{seed}" for seed in SEEDS}
EDGE = {f"rate_0.003/01workers/{seed}" for seed in SEEDS}
PILOTS = {"pilot/01workers/seed11"}
CELLS = SCALED | SEQUENTIAL | EDGE | PILOTS
ANALYSIS = {"tables", "speedup", "claims", "figures"}
EMULATED = ANALYSIS | {"clock", "machines"}
DATASET = "results/datasets/tiny"


def command(folder, *arguments, config="tiny.yaml"):
    """The command line of a user who works in `folder`; a path of an argument is relative to that folder."""
    configfile = [] if config is None else ["--configfile", folder / config]  # takes what follows, up to the next flag
    flags = ["--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles" / "local", "--directory", folder]
    return ["snakemake", *map(str, [*configfile, *flags, *arguments])]


def snakemake(folder, *arguments, config="tiny.yaml", **variables):
    """The finished process; its `stdout` is all it said. `variables` are set in its environment."""
    return subprocess.run(
        command(folder, *arguments, config=config),
        env=environment() | variables,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,  # against a hang, on a machine however busy
    )


@dataclass(frozen=True)
class Jobs:
    """What Snakemake does or would do: the outputs of each job, by rule."""

    outputs: dict[str, list[list[str]]]

    @property
    def rules(self):
        return set(self.outputs) - {"all"}

    @property
    def trained(self):
        """The cells that are trained, as strategy/workers/seed."""
        outputs = self.outputs.get("train", [])
        cells = [str(Path(files[0]).parent).split("/cells/")[1] for files in outputs]
        assert len(cells) == len(set(cells))
        return set(cells)

    @property
    def prepared(self):
        """The cells whose cell.json is written."""
        return {str(Path(files[0]).parent).split("/cells/")[1] for files in self.outputs.get("cell", [])}


def jobs_of(process):
    """The jobs that a process's output names."""
    assert process.returncode == 0, process.stdout
    return jobs_in(process.stdout)


def jobs_in(output):
    """The jobs that Snakemake names."""
    outputs, rule = {}, None
    for line in output.splitlines():
        if header := re.fullmatch(r"(?:local)?rule (\w+):", line):
            rule = header[1]
            outputs.setdefault(rule, [])
        elif rule and line.startswith("    output: "):
            outputs[rule].append(line.removeprefix("    output: ").split(", "))
            rule = None
    return Jobs(outputs)


def plan(folder, *arguments, config="tiny.yaml"):
    """What Snakemake would do."""
    return jobs_of(snakemake(folder, "--dry-run", *arguments, config=config))


def write_config(folder, change=lambda config: None, name="tiny.yaml"):
    """Write the tiny configuration, changed; a path for `config`."""
    config = yaml.safe_load(TINY)
    change(config)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def fingerprint(path):
    """Changes whenever the file is written again."""
    return path.stat().st_mtime_ns, path.read_bytes()


@dataclass(frozen=True)
class Finished:
    """A working folder in which both studies were made, and what making them said."""

    folder: Path
    tiny: Jobs
    wall: Jobs


def make_both_studies(folder):
    """One real run through every rule, from nothing; what Snakemake said is kept beside the working folder."""
    write_config(folder / "work")
    for study in ("tiny", "tiny_wall"):
        process = snakemake(folder / "work", "--config", f"study={study}")
        assert process.returncode == 0, process.stdout
        (folder / f"{study}.log").write_text(process.stdout)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A working folder with both studies. To be read, and planned on, but not changed.

    The first of pytest's workers makes it for all. Each has a copy: two Snakemakes don't work in one folder.
    """
    own = tmp_path_factory.mktemp("finished")
    common = own.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else own.parent
    with (common / "studies.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (common / "studies").exists():
            make_both_studies(own / "made")
            (own / "made").rename(common / "studies")
    shutil.copytree(common / "studies", own, dirs_exist_ok=True)
    return Finished(own / "work", *(jobs_in((own / f"{study}.log").read_text()) for study in ("tiny", "tiny_wall")))


@pytest.fixture
def work(finished, tmp_path):
    """A copy of the finished working folder, to be changed."""
    return Path(shutil.copytree(finished.folder, tmp_path / "work"))


@pytest.fixture
def plan_changed(finished, tmp_path):
    """A function that plans the finished study with a changed configuration."""

    def plan_with(change, *arguments):
        return plan(finished.folder, *arguments, config=write_config(tmp_path, change))

    return plan_with
