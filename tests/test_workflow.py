"""The workflow as a user meets it: a plan, a whole tiny study, its report, a mistake in the configuration."""

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, environment, mostly_slow
from workflow_fixtures import CELLS, DATASET, EMULATED, PILOTS, jobs_of, plan, snakemake, write_config

CELL_FILES = {"cell.json", "epochs.csv", "result.json", "weights.safetensors"}
CELL_FILES |= {"steps.json", "train.log", "receipt.json"}
CSV_TABLES = ("cells", "edge", "where_time_goes")
TABLES = ("time_to_target", "epochs_to_target", "samples_to_target", "table1", "table2")
FIGURES = ("figure1", "figure2", "figure3", "figure4", "figure5", "efficiency", "edge", "parts", "pareto", "speedup")
PICTURES = (
    "quality/quality.png",
    "quality/montage.png",
    "nodules/montage.png",
    "nodules/novelty.png",
    "nodules/likeness.png",
)
CAPTIONS = (*FIGURES, "quality", "montage", "new_nodules", "novelty", "likeness")


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


def test_nodules_are_drawn_only_from_models_that_can(tmp_path):
    write_config(tmp_path, lambda config: config["studies"]["tiny"]["model"].update(dimensions=2))
    assert "new_nodules" not in plan(tmp_path).rules
    write_config(tmp_path)
    assert "new_nodules" in plan(tmp_path).rules


# --- a small study


def test_a_small_study_is_made_from_nothing_and_only_what_is_lost_again(tmp_path):
    """The way through all stages in the least that it takes; the studies of the tests below have more in them."""

    def shrink(config):
        config["datasets"]["tiny"]["phantom"] |= {"scans": 4, "nodules": 24, "subsets": 1}
        config["datasets"]["tiny"]["num_validation"] = 6
        study = {"network": "gigabit", "workers": [1, 2], "seeds": [1], "strategies": {"strong": {}, "weak": {}}}
        config["studies"] = {"tiny": config["studies"]["tiny"] | study | {"edge": {}}}
        config["studies"]["tiny"]["training"] |= {"learning_rate": 0.001, "target": None}

    write_config(tmp_path, shrink)
    cells = {"sequential/01workers/seed1", "weak/02workers/seed1"}

    assert jobs_of(snakemake(tmp_path)).trained == cells

    made = tmp_path / "results" / "tiny"
    promised = ("claims.md", "tables/table1.csv", "figures/figure2.png", "nodules/montage.png", "reconstructions.npz")
    promised += ("tables/machines.csv", "figures/machines.png", "clock.json", "cells/strong/02workers/seed1/clock.json")
    assert missing_files(made, promised) == []
    assert missing_files(tmp_path / DATASET, ["ledger.csv", "cubes.npy", "quality/quality.html"]) == []
    assert plan(tmp_path).outputs == {}
    (made / "cells/weak/02workers/seed1/result.json").unlink()
    planned = plan(tmp_path)
    assert planned.trained == {"weak/02workers/seed1"}
    assert planned.rules == {"train"} | EMULATED


# --- a whole study


def missing_files(folder, names):
    """Those that aren't there, or are empty."""
    return [name for name in names if not (folder / name).is_file() or not (folder / name).stat().st_size]


@pytest.mark.parametrize("study", ["tiny", "tiny_wall"])
def test_a_run_makes_every_table_and_figure(finished, study):
    promised = ["claims.csv", "claims.md", "claims.html", "study.json", "reconstructions.npz"]
    promised += [f"tables/{table}.csv" for table in CSV_TABLES]
    promised += [f"tables/{table}.{form}" for table in TABLES for form in ("csv", "md", "tex", "html")]
    promised += [f"tables/speedup_{name}.{form}" for name in ("law", "parts") for form in ("csv", "md", "html")]
    promised += [f"figures/{figure}.{form}" for figure in FIGURES for form in ("svg", "pdf", "png")]
    promised += [f"nodules/{name}" for name in ("nodules.npy", "nodules.csv", "novelty.json", "novelty.md")]
    promised += [f"nodules/{name}" for name in ("likeness.csv", "montage.png", "novelty.png", "likeness.png")]
    assert missing_files(finished.folder / "results" / study, promised) == []


def test_a_run_accounts_for_every_annotation(finished):
    folder = finished.folder / DATASET
    totals = json.loads((folder / "ledger.json").read_text())
    lines = {name: len((folder / "scans" / name).read_text().splitlines()) - 1 for name in totals["files"]}
    assert set(lines) == {"annotations.csv", "annotations_excluded.csv"}
    assert totals["files"] == lines
    assert sum(totals["states"].values()) == totals["rows"] == len(pd.read_csv(folder / "ledger.csv"))
    assert totals["lost"] == 0


def test_a_run_makes_the_page_on_the_datas_quality(finished):
    promised = ["quality.md", "quality.html", "quality.png", "montage.png", "duplicates.csv"]
    folder = finished.folder / DATASET / "quality"
    assert missing_files(folder, promised) == []
    assert "checks hold." in (folder / "quality.md").read_text()


def test_a_run_draws_as_many_new_nodules_as_were_asked_for(finished):
    folder = finished.folder / "results" / "tiny" / "nodules"
    assert len(pd.read_csv(folder / "nodules.csv")) == len(list(folder.glob("nifti/*.nii.gz"))) == 5


def test_a_run_makes_every_cell(finished):
    folder = finished.folder / "results" / "tiny" / "cells"
    assert finished.tiny.trained == CELLS
    assert {str(path.parent.relative_to(folder)) for path in folder.glob("*/*/*/result.json")} == CELLS
    assert {cell: CELL_FILES - {path.name for path in (folder / cell).iterdir()} for cell in CELLS} == dict.fromkeys(
        CELLS, set()
    )


def test_a_run_leaves_no_temporary_files(finished):
    results = finished.folder / "results"
    hidden = [path for path in results.rglob(".*") if path.name != ".snakemake_timestamp"]
    assert [*hidden, *results.rglob("lock"), *results.rglob("*.tmp")] == []


def test_wall_clock_cells_run_on_a_rank_a_worker(finished):
    folder = finished.folder / "results" / "tiny_wall" / "cells"
    ranks = {
        path.parent.parent.name: json.loads(path.read_text())["ranks"] for path in folder.glob("*/*/*/result.json")
    }
    assert ranks == {"01workers": 1, "02workers": 2}


def test_the_network_is_measured(finished):
    network = json.loads((finished.folder / "results" / "tiny" / "network.json").read_text())
    assert all(
        math.isfinite(value) and value > 0
        for name, value in network.items()
        if name not in ("workers_per_host", "all_reduce")
    )
    assert network["workers_per_host"] is None
    (clock,) = (finished.folder / "results" / "tiny" / "cells" / "weak" / "02workers").glob("seed1/clock.json")
    assert json.loads(clock.read_text())["network"] == "measured"


def test_the_clock_check_compares_both_clocks(finished):
    folder = finished.folder / "results" / "tiny_wall"
    table = pd.read_csv(folder / "tables" / "clock_check.csv")
    assert list(zip(table["strategy"], table["workers"], strict=True)) == [("sequential", 1), ("strong", 2)]
    assert table[["wall_time_s", "emulated_time_s", "relative_error"]].map(math.isfinite).all(axis=None)
    assert (folder / "tables" / "clock_check.md").is_file()
    assert all((folder / "figures" / f"clock_check.{form}").is_file() for form in ("svg", "pdf", "png"))


def test_comparing_clocks_takes_the_other_studys_cells_as_they_are(finished):
    assert finished.wall.trained == {*PILOTS, "sequential/01workers/seed1", "strong/02workers/seed1"}


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
    shown = [f"figures/{figure}.png" for figure in FIGURES] + [*PICTURES, "quality/quality.html", "claims.html"]
    assert [name for name in shown if name not in page] == []
    for name in CAPTIONS:
        caption = (ROOT / "workflow" / "report" / f"{name}.rst").read_text().splitlines()[0]
        assert re.match(r"[\w ]+", caption)[0] in page


def test_the_report_of_ones_own_study_is_made_with_its_configuration(finished, tmp_path):
    project = Path(shutil.copytree(finished.folder, tmp_path / "project"))
    for name in ("Snakefile", "workflow", "profiles", "local", "config.yaml"):
        (project / name).symlink_to(ROOT / name)
    (project / "tiny.yaml").rename(project / "my tiny.yaml")
    process = subprocess.run(
        ["workflow/make_report.sh", "tiny", "my tiny.yaml"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "figures/figure2.png" in (project / "results/tiny/report.html").read_text(encoding="utf-8")


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


def test_a_key_that_stands_twice_is_refused_in_one_line_with_its_place(tmp_path):
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("study: tiny\n", "study: tiny\nstudy: tiny_wall\n", 1))
    process = snakemake(tmp_path)
    assert process.returncode != 0
    assert (
        process.stdout.splitlines()[-1]
        == f"config: {path}: study stands there twice, in lines 1 and 2; leave one of them"
    )


def test_the_search_finds_the_rate_and_pilots_set_the_target_before_any_other_cell(tmp_path):
    write_config(tmp_path)
    planned = plan(tmp_path, "results/tiny/cells/weak/02workers/seed1/receipt.json")
    assert planned.trained == {*PILOTS, "weak/02workers/seed1"}
    assert {"edge", "target"} <= planned.rules
    assert not {"edge", "target"} & plan(tmp_path, "results/tiny/cells/rate_0.003/01workers/seed1/receipt.json").rules


def test_a_study_that_looks_for_no_edge_is_told_so_in_one_line(tmp_path):
    write_config(tmp_path)
    process = snakemake(tmp_path, "results/tiny_wall/receipts/learning_rate.json")
    assert process.returncode != 0
    assert "study tiny_wall looks for no edge of its own" in process.stdout.splitlines()[-1]


WRONG_CELLS = {
    "nope/02workers/seed1": "weak/02workers 03workers",
    "weak/99workers/seed1": "weak/02workers 03workers",
    "weak/02workers/seed9": "each with seed1 seed2",
    "weak/2workers/seed1": "weak/02workers 03workers",
    "rate_abc/01workers/seed1": "rate_0.003/01workers",
}


def test_a_cell_that_shares_a_trajectory_is_no_run_of_its_own(tmp_path):
    write_config(tmp_path)
    process = snakemake(tmp_path, "results/tiny/cells/strong/02workers/seed1/receipt.json")
    assert process.returncode != 0
    assert "shares the sequential run's trajectory (share_trajectories)" in process.stdout.splitlines()[-1]
    assert "Traceback" not in process.stdout


@pytest.mark.parametrize("cell", mostly_slow(*WRONG_CELLS))
def test_a_cell_that_the_matrix_lacks_is_refused_in_one_line_that_names_those_there_are(tmp_path, cell):
    write_config(tmp_path)
    process = snakemake(tmp_path, f"results/tiny/cells/{cell}/receipt.json")
    last = process.stdout.splitlines()[-1]
    assert process.returncode != 0
    assert last.startswith(f"results/tiny/cells/{cell}: no cell of study tiny; allowed: ")
    assert WRONG_CELLS[cell] in last
    assert "Traceback" not in process.stdout
    assert not (tmp_path / "results").exists()


def test_a_mistake_outside_cells_is_tried_once_and_said_last(finished, tmp_path):
    work = Path(shutil.copytree(finished.folder, tmp_path / "work"))
    write_config(work, lambda config: config["datasets"]["tiny"].update(num_validation=1000))
    process = snakemake(work, "--retries", "4")
    assert process.returncode != 0
    lines = process.stdout.splitlines()
    reasons = [line for line in lines[-8:] if "num_validation" in line]
    assert len(reasons) == 1
    assert process.stdout.count("Error in rule dataset") == 1
    assert len(lines) < 150


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
