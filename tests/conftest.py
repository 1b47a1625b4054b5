"""Tiny data sets and cells, made on the fly."""

import csv
import functools
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from strongscale.common.files import write_json
from strongscale.common.schema import build, plain
from strongscale.data import dataset
from strongscale.distributed.world import World
from strongscale.models.deepdensity import DeepDensity
from strongscale.settings.cells import Cell
from strongscale.settings.config import StrategyEntry, Study, Training
from strongscale.settings.datasets import Dataset, Phantom
from strongscale.training import prepare, setup

hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
torch.set_num_threads(1)  # tiny tensors: more threads wait for one another, the more so beside other tests
os.environ["OMP_NUM_THREADS"] = "1"  # in what tests start, too
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & has it ignored, by all that tests start too

pytest_plugins = [
    "workflow_fixtures",
    "status_fixtures",
    "download_fixtures",
    "scheduler_fixtures",
    "own_parts_fixtures",
]

ROOT = Path(__file__).parents[1]
TINY_MODEL = DeepDensity(components=4, filters=(4, 4), kernels=(3, 3))


def pytest_collection_modifyitems(items):
    """Mark as slow what needs the two whole studies, which take a minute to make."""
    for item in items:
        if "finished" in item.fixturenames:
            item.add_marker("slow")


def mostly_slow(first, *others):
    """Cases that take the same path at a cost: one among the quick tests, the others where all tests are run."""
    cases = (other if isinstance(other, tuple) else (other,) for other in others)
    return [first, *(pytest.param(*case, marks=pytest.mark.slow) for case in cases)]


def write_dataset(folder, num_training=50, num_validation=19, voxels=8, seed=0):
    """Blobs of random place, width and height: something a mixture of normal densities can learn."""
    random = np.random.default_rng(seed)
    count = num_training + num_validation
    axis = np.linspace(-1, 1, voxels)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    centres = random.uniform(-0.3, 0.3, (count, 3, 1, 1, 1))
    distances = ((grid - centres) ** 2).sum(1) / random.uniform(0.1, 0.3, (count, 1, 1, 1))
    cubes = np.clip(random.uniform(0.4, 0.9, (count, 1, 1, 1)) * np.exp(-distances), 0, 1).astype(np.float32)
    table = pd.DataFrame(
        {
            "seriesuid": [f"scan{index}" for index in range(count)],
            "diameter_mm": 5.0 + np.arange(count),
            "split": ["training"] * num_training + ["validation"] * num_validation,
            "state": "cube",
        }
    )
    settings = Dataset(phantom=Phantom(), num_validation=num_validation)
    folder.mkdir(parents=True)
    np.save(folder / "cubes.npy", cubes)
    table.to_csv(folder / "manifest.csv", index=False)
    write_json(folder / "dataset.json", dataset.summarise(cubes, table, settings))
    return folder


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory):
    """50 training and 19 validation cubes of 8³ voxels: neither divides well."""
    return write_dataset(tmp_path_factory.mktemp("data") / "results" / "datasets" / "tiny")


def write_cell(
    root,
    dataset_folder,
    strategy="strong",
    workers=1,
    *,
    name="tiny",
    seed=1,
    kind=None,
    parameters=None,
    update=None,
    **settings,
):
    """Write the cell.json of a run on a tiny data set, below `root`; the cell's folder."""
    training = {"batch_size": 16, "learning_rate": 0.003, "target": None, "max_epochs": 3, "evaluation_chunk": 4}
    training |= {key: settings.pop(key) for key in list(settings) if key in Training.__dataclass_fields__}
    entry = build(StrategyEntry, {"kind": kind, "parameters": parameters or {}, "update": update}, "entry")
    strategies = {} if strategy == "sequential" else {strategy: entry}
    model = settings.pop("model", TINY_MODEL)
    study = Study(dataset="tiny", strategies=strategies, model=model, training=Training(**training))
    study = replace(study, **({"clock": "emulated", "share_trajectories": False} | settings))
    folder = root / "results" / Cell(name, strategy, workers, seed).folder
    cell = prepare.resolve(study, Cell(name, strategy, workers, seed), folder=folder, dataset=dataset_folder)
    write_json(folder / "cell.json", plain(cell))
    return folder


@pytest.fixture
def make_cell(tmp_path, tiny_dataset):
    """A function that writes the cell.json of a run on the tiny data set, and returns the cell's folder."""
    return functools.partial(write_cell, tmp_path, tiny_dataset)


@pytest.fixture
def run_cell(make_cell):
    """A function that trains such a cell in this process, and returns its trainer."""

    def run(*arguments, **settings):
        trainer = setup.prepare(make_cell(*arguments, **settings), World())
        trainer.run()
        return trainer

    return run


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory, tiny_dataset):
    """A trained cell's folder, with its weights. To be read, but not changed."""
    folder = write_cell(
        tmp_path_factory.mktemp("trained"), tiny_dataset, "sequential", max_epochs=20, learning_rate=0.01
    )
    trainer = setup.prepare(folder, World())
    trainer.run()
    weights = {name: value.contiguous() for name, value in trainer.model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "weights.safetensors")
    return folder


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of it, to be changed."""
    return Path(shutil.copytree(trained_once, tmp_path / trained_once.relative_to(trained_once.parents[5])))


def environment():
    """The environment of a stage run from its source tree; root is allowed, as in a container."""
    return os.environ | {
        "PYTHONPATH": str(ROOT / "workflow"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }


def mpi_command(ranks, module, *arguments):
    """The command line that runs a module of the package on so many ranks."""
    launcher = ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none"]
    return [*launcher, sys.executable, "-m", "mpi4py", "-m", module, *map(str, arguments)]


def mpirun(ranks, module, *arguments, timeout=120):
    """Run a module of the package on so many ranks; the finished process."""
    command = mpi_command(ranks, module, *arguments)
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout)


def dying_after(epochs):
    """Code for `launch_spoilt`: the run is interrupted when it has done so many epochs."""
    return f"""
        from strongscale.training import stopping
        judge = stopping.judge
        def until(training, validation, **others):
            if len(validation) == {epochs}: raise KeyboardInterrupt
            return judge(training, validation, **others)
        stopping.judge = until
    """


def launch_spoilt(folder, code, ranks=2):
    """Launch a run whose processes run this code first, and know their `rank`; the finished process."""
    code = (
        "import os, sys\n"
        "from strongscale.common import command\n"
        "from strongscale.distributed import world\n"
        "from strongscale.recovery import checkpoint\n"
        "from strongscale.training import loop, setup\n"
        "from strongscale.training.__main__ import main\n"
        "rank = int(os.environ['OMPI_COMM_WORLD_RANK'])\n" + textwrap.dedent(code) + "\ncommand.run(main)\n"
    )
    command = [sys.executable, "-m", "strongscale.jobs.launch", str(folder), "--command"]
    command += ["mpirun", "-n", str(ranks), "--oversubscribe", "--bind-to", "none"]
    command += [sys.executable, "-m", "mpi4py", "-c", code, str(folder)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=90)


def rows(folder):
    """epochs.csv without its seconds: what must not depend on who computed it, or how often it died."""
    with (folder / "epochs.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in csv.DictReader(file)]
