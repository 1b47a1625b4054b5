"""The workflow as a user meets it: plans, a whole tiny study, reruns, interruptions, mistakes.

One real run through every rule serves the whole module; most tests look at it, or plan on it without running anything.
"""

import copy
import json
import math
import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml
from conftest import ROOT, environment

TINY = """
study: tiny
datasets:
  tiny:
    phantom: {scans: 6, nodules: 40, subsets: 2, size_mm: [60, 60, 60]}
    num_validation: 10
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
      target: {sequential_epochs: 2}
      max_epochs: 3
      reduction: exact
      microbatch: 2
    edge: {rates: [0.001, 0.003], epochs: 2}
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
LINES = ("strong/02workers", "strong/03workers", "weak/02workers", "weak/03workers", "warmup10/03workers")
SCALED = {f"{line}/{seed}" for line in LINES for seed in SEEDS}
SEQUENTIAL = {f"sequential/01workers/{seed}" for seed in SEEDS}
EDGE = {f"rate_{rate}/01workers/{seed}" for rate in ("0.001", "0.003") for seed in SEEDS}
CELLS = SCALED | SEQUENTIAL | EDGE
ANALYSIS = {"tables", "speedup", "claims", "figures"}
CELL_FILES = {"cell.json", "epochs.csv", "result.json", "weights.safetensors", "train.log", "benchmark.tsv"}
CSV_TABLES = ("cells", "edge", "where_time_goes")
TABLES = ("time_to_target", "epochs_to_target", "samples_to_target", "table1", "table2")
FIGURES = ("figure1", "figure2", "figure3", "figure4", "figure5", "efficiency", "edge", "parts")


def command(folder, *arguments, config="tiny.yaml"):
    """The command line of a user who works in `folder`; a path of an argument is relative to that folder."""
    configfile = [] if config is None else ["--configfile", folder / config]  # takes what follows, up to the next flag
    flags = ["--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles" / "local", "--directory", folder]
    return ["snakemake", *map(str, [*configfile, *flags, *arguments])]


def snakemake(folder, *arguments, config="tiny.yaml"):
    """The finished process; its `stdout` is all it said."""
    return subprocess.run(
        command(folder, *arguments, config=config),
        env=environment(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
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
    outputs, rule = {}, None
    for line in process.stdout.splitlines():
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


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One real run through every rule, from nothing. To be read, and planned on, but not changed."""
    folder = tmp_path_factory.mktemp("work")
    write_config(folder)
    tiny = jobs_of(snakemake(folder))
    wall = jobs_of(snakemake(folder, "--config", "study=tiny_wall"))
    return Finished(folder, tiny, wall)


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


# --- planning


def test_the_paper_can_be_planned_in_a_fresh_folder_without_scans(tmp_path):
    planned = plan(tmp_path, "--config", "study=paper", config=None)

    matrix = {"sequential/01workers/seed1"}
    for strategy in ("strong", "weak", "linear", "warmup"):
        matrix |= {f"{strategy}/{workers:02}workers/seed1" for workers in (2, 4, 8, 16, 32)}
    longer = {f"warmup10/{workers:02}workers/seed1" for workers in (8, 16, 32)}
    rates = {f"rate_{rate}/01workers/seed1" for rate in ("0.000525", "0.0021", "0.0042")}
    assert (len(matrix), len(longer), len(rates)) == (21, 3, 3)
    assert planned.trained == matrix | longer | rates
    assert not (tmp_path / "results").exists()


# --- a whole study


@pytest.mark.parametrize("study", ["tiny", "tiny_wall"])
def test_a_run_makes_every_table_and_figure(finished, study):
    promised = ["claims.csv", "claims.md", "claims.html", "study.json", "reconstructions.npz"]
    promised += [f"tables/{table}.csv" for table in CSV_TABLES]
    promised += [f"tables/{table}.{form}" for table in TABLES for form in ("csv", "md", "tex", "html")]
    promised += [f"tables/speedup_law.{form}" for form in ("csv", "md", "html")]
    promised += [f"figures/{figure}.{form}" for figure in FIGURES for form in ("svg", "pdf", "png")]
    folder = finished.folder / "results" / study
    assert [name for name in promised if not (folder / name).is_file() or not (folder / name).stat().st_size] == []


def test_a_run_makes_every_cell(finished):
    folder = finished.folder / "results" / "tiny" / "cells"
    assert finished.tiny.trained == CELLS
    assert {str(path.parent.relative_to(folder)) for path in folder.glob("*/*/*/result.json")} == CELLS
    assert {cell: CELL_FILES - {path.name for path in (folder / cell).iterdir()} for cell in CELLS} == dict.fromkeys(
        CELLS, set()
    )


def test_a_run_leaves_no_temporary_files(finished):
    assert [path for path in (finished.folder / "results").rglob(".*") if path.name != ".snakemake_timestamp"] == []


def test_wall_clock_cells_run_on_a_rank_a_worker(finished):
    folder = finished.folder / "results" / "tiny_wall" / "cells"
    ranks = {
        path.parent.parent.name: json.loads(path.read_text())["ranks"] for path in folder.glob("*/*/*/result.json")
    }
    assert ranks == {"01workers": 1, "02workers": 2}


def test_the_network_is_measured(finished):
    network = json.loads((finished.folder / "results" / "tiny" / "network.json").read_text())
    assert all(math.isfinite(value) and value > 0 for value in network.values())
    cell = finished.folder / "results" / "tiny" / "cells" / "strong" / "02workers" / "seed1" / "cell.json"
    assert json.loads(cell.read_text())["network"] == network


def test_the_clock_check_compares_both_clocks(finished):
    folder = finished.folder / "results" / "tiny_wall"
    table = pd.read_csv(folder / "tables" / "clock_check.csv")
    assert list(zip(table["strategy"], table["workers"], strict=True)) == [("sequential", 1), ("strong", 2)]
    assert table[["wall_time_s", "emulated_time_s", "relative_error"]].map(math.isfinite).all(axis=None)
    assert (folder / "tables" / "clock_check.md").is_file()
    assert all((folder / "figures" / f"clock_check.{form}").is_file() for form in ("svg", "pdf", "png"))


def test_comparing_clocks_takes_the_other_studys_cells_as_they_are(finished):
    assert finished.wall.trained == {"sequential/01workers/seed1", "strong/02workers/seed1"}


class Loads(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag != "a":
            self.found += [value for name, value in attributes if name in ("src", "href", "srcset", "data") and value]


def test_the_report_is_one_self_contained_page(finished, tmp_path):
    process = snakemake(finished.folder, "--report", tmp_path / "report.html")

    assert process.returncode == 0, process.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    loads = Loads()
    loads.feed(page)
    assert [address[:80] for address in loads.found if not address.startswith("data:")] == []
    for figure in FIGURES:
        caption = (ROOT / "workflow" / "report" / f"{figure}.rst").read_text().splitlines()[0]
        assert f"{figure}.png" in page
        assert re.match(r"[\w ]+", caption)[0] in page


# --- what runs again


@pytest.mark.parametrize("study", ["tiny", "tiny_wall"])
def test_a_second_run_has_nothing_to_do(finished, study):
    process = snakemake(finished.folder, "--config", f"study={study}")
    assert process.returncode == 0
    assert "Nothing to be done" in process.stdout


def test_a_lost_result_trains_its_cell_alone(work):
    (work / "results/tiny/cells/weak/02workers/seed1/result.json").unlink()
    planned = plan(work)
    assert planned.trained == {"weak/02workers/seed1"}
    assert planned.rules == {"train"} | ANALYSIS


def test_one_cell_can_be_trained_again(finished):
    planned = plan(finished.folder, "--forcerun", "results/tiny/cells/weak/02workers/seed1/result.json")
    assert planned.trained == {"weak/02workers/seed1"}
    assert planned.rules == {"train"} | ANALYSIS


def test_a_strategys_setting_trains_its_cells_alone(plan_changed):
    def lengthen(config):
        config["studies"]["tiny"]["strategies"]["warmup10"]["parameters"]["epochs"] = 12

    planned = plan_changed(lengthen)
    assert planned.trained == planned.prepared == {cell for cell in SCALED if cell.startswith("warmup10")}
    assert planned.rules == {"study", "cell", "train"} | ANALYSIS


def test_another_strategy_trains_its_cells_alone(plan_changed):
    def add(config):
        config["studies"]["tiny"]["strategies"]["linear"] = {"workers": [2]}

    planned = plan_changed(add)
    assert planned.trained == {f"linear/02workers/{seed}" for seed in SEEDS}
    assert planned.rules == {"study", "cell", "train"} | ANALYSIS


def test_another_number_of_workers_trains_its_cells_alone(plan_changed):
    def add(config):
        config["studies"]["tiny"]["workers"].append(4)

    planned = plan_changed(add)
    assert planned.trained == {f"{strategy}/04workers/{seed}" for strategy in ("strong", "weak") for seed in SEEDS}
    assert planned.rules == {"study", "cell", "train"} | ANALYSIS


def test_another_seed_trains_its_cells_alone(plan_changed):
    def add(config):
        config["studies"]["tiny_wall"]["seeds"] = [1, 2]

    planned = plan_changed(add, "--config", "study=tiny_wall")
    assert planned.trained == {"sequential/01workers/seed2", "strong/02workers/seed2"}
    assert planned.rules == {"study", "cell", "train", "clock_check"} | ANALYSIS


def test_more_epochs_leave_the_edge_and_the_sequential_run_alone(plan_changed):
    def prolong(config):
        config["studies"]["tiny"]["training"]["max_epochs"] = 4

    planned = plan_changed(prolong)
    assert planned.trained == planned.prepared == SCALED
    assert planned.rules == {"study", "cell", "train"} | ANALYSIS


def test_other_voxels_leave_the_scans_alone(plan_changed):
    def enlarge(config):
        config["datasets"]["tiny"]["cubes"] = {"voxel_mm": 1.5}

    planned = plan_changed(enlarge)
    assert len(planned.outputs["cubes"]) == 2
    assert planned.trained == CELLS
    rules = {"cubes", "dataset", "study", "cell", "train", "edge", "reconstructions"} | ANALYSIS
    assert planned.rules == rules


# --- interrupted


def add_long_study(config):
    """A study long enough to be killed in the middle, on the same data set."""
    study = copy.deepcopy(config["studies"]["tiny"])
    study |= {"network": "gigabit", "workers": [1, 2], "seeds": [1], "strategies": {"strong": {}}}
    study["training"] |= {"target": None, "max_epochs": 100, "collapse": {"stop": False}}
    config["studies"]["long"] = study


def kill(process):
    """Kill a process and all that it started, at once, as a power cut would."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    psutil.wait_procs(family)


def num_epochs(folder):
    """Epochs that the runs below a folder have written down."""
    return sum(max(0, path.read_text().count("\n") - 1) for path in folder.glob("**/epochs.csv"))


def test_a_killed_study_continues(work):
    write_config(work, add_long_study)
    target = "results/long/tables/cells.csv"
    cells = work / "results" / "long" / "cells"
    process = subprocess.Popen(
        command(work, target),
        env=environment(),
        cwd=work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while num_epochs(cells / "sequential") + num_epochs(cells / "strong") < 2:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
            pytest.fail("the study ended before it could be killed")
    kill(process)
    done = {path: fingerprint(path) for path in cells.glob("rate_*/*/*/result.json")}
    assert len(done) == 2

    assert snakemake(work, target, "--unlock").returncode == 0
    continued = jobs_of(snakemake(work, target))

    assert "strong/02workers/seed1" in continued.trained
    assert not {cell for cell in continued.trained if cell.startswith("rate_")}
    assert {path: fingerprint(path) for path in done} == done
    assert (work / target).is_file()
    for cell in ("sequential/01workers/seed1", "strong/02workers/seed1"):
        assert pd.read_csv(cells / cell / "epochs.csv")["epoch"].tolist() == list(range(1, 101))
    assert plan(work, target).outputs == {}


# --- mistakes


def test_a_mistake_in_the_configuration_is_one_line_before_anything_runs(tmp_path):
    def misspell(config):
        config["studies"]["tiny"]["training"]["batchsize"] = 8

    write_config(tmp_path, misspell)
    process = snakemake(tmp_path)

    assert process.returncode != 0
    lines = [line for line in process.stdout.splitlines() if not line.startswith(("Using profile", "Config file"))]
    assert len(lines) == 1
    assert "studies.tiny.training.batchsize" in lines[0]
    assert {path.name for path in tmp_path.iterdir()} <= {"tiny.yaml", ".snakemake"}


def use_folder(folder):
    """Change a configuration to take the scans of a folder."""

    def change(config):
        config["datasets"]["tiny"] = {"folder": str(folder), "subsets": [0, 1], "num_validation": 10}

    return change


def empty_subset(scans):
    for path in (scans / "subset1").iterdir():
        path.unlink()
    return "subset1"


def drop_column(scans):
    path = scans / "annotations.csv"
    pd.read_csv(path).drop(columns="diameter_mm").to_csv(path, index=False)
    return "annotations.csv"


def remove_voxels(scans):
    path = min((scans / "subset1").glob("*.raw"))
    path.unlink()
    return path.stem


def shorten_voxels(scans):
    path = min((scans / "subset1").glob("*.raw"))
    os.truncate(path, path.stat().st_size - 100)
    return path.stem


@pytest.mark.parametrize("damage", [empty_subset, drop_column, remove_voxels, shorten_voxels])
def test_damaged_scans_are_named_and_nothing_is_made(finished, tmp_path, damage):
    scans = Path(shutil.copytree(finished.folder / "results/datasets/tiny/scans", tmp_path / "scans"))
    named = damage(scans)
    work = tmp_path / "work"
    write_config(work, use_folder(scans))

    process = snakemake(work, "results/datasets/tiny/dataset.json")

    assert process.returncode != 0
    made = work / "results" / "datasets" / "tiny"
    log = (made / "logs" / "subset1.cubes.log").read_text()
    assert len(log.splitlines()) == 1
    assert str(scans) in log
    assert named in log
    assert "Traceback" not in process.stdout + log
    assert not list((made / "cubes").glob("*subset1*"))
    assert not list(made.glob("*.*"))


def test_missing_scans_are_named_and_nothing_is_made(tmp_path):
    scans = tmp_path / "nowhere"
    work = tmp_path / "work"
    write_config(work, use_folder(scans))

    process = snakemake(work, "results/datasets/tiny/dataset.json")

    assert process.returncode != 0
    made = work / "results" / "datasets" / "tiny"
    for name in ("subset0", "subset1", "annotations.csv", "annotations_excluded.csv"):
        log = (made / "logs" / f"{name}.missing.log").read_text()
        assert len(log.splitlines()) == 1
        assert f"{scans / name}: not there" in log
        assert f"into {scans}" in log
    assert "Traceback" not in process.stdout
    assert [path for path in made.rglob("*") if path.is_file() and path.suffix != ".log"] == []
    assert not scans.exists()


def test_a_result_of_another_configuration_is_refused(work):
    folder = "results/tiny/cells/weak/02workers/seed1"
    path = work / folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings_hash": "0" * 16}))

    process = snakemake(work, "results/tiny/tables/cells.csv", "--forcerun", "tables")

    assert process.returncode != 0
    log = (work / "results" / "tiny" / "logs" / "tables.log").read_text()
    assert len(log.splitlines()) == 1
    assert folder in log
    assert "run it again" in log
    assert "Traceback" not in process.stdout + log
    assert not (work / "results" / "tiny" / "tables" / "cells.csv").exists()
    assert path.exists()


# --- where things lie


def test_spaces_in_paths_are_fine(finished, tmp_path):
    scans = Path(shutil.copytree(finished.folder / "results/datasets/tiny/scans", tmp_path / "my scans"))
    work = tmp_path / "my work"

    def shorten(config):
        use_folder(scans)(config)
        study = {"network": "gigabit", "workers": [1, 2], "seeds": [1], "max_ranks": 2, "strategies": {"strong": {}}}
        config["studies"]["tiny"] |= study
        config["studies"]["tiny"]["training"]["learning_rate"] = 0.001
        config["studies"]["tiny"]["edge"] = {"rates": [0.003], "epochs": 1}
        del config["studies"]["tiny_wall"]

    write_config(work, shorten, name="my study.yaml")
    process = snakemake(work, config="my study.yaml")

    assert process.returncode == 0, process.stdout
    assert (work / "results" / "tiny" / "claims.csv").is_file()
    assert (work / "results" / "tiny" / "figures" / "figure1.png").is_file()


# --- form


def test_the_rules_pass_snakemakes_lint(tmp_path):
    process = snakemake(tmp_path, "--lint", config=None)
    assert process.returncode == 0, process.stdout


def test_the_rules_are_formatted(tmp_path):
    files = ["--config", ROOT / "pyproject.toml", "--check", ROOT / "Snakefile", ROOT / "workflow" / "rules"]
    process = subprocess.run(
        ["snakefmt", *map(str, files)], env=environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
