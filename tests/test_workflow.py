"""The workflow as a user meets it: a plan, a whole tiny study, its report, a mistake in the configuration."""

import json
import math
import re
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest
from conftest import ROOT, environment
from workflow_fixtures import CELLS, DATASET, plan, snakemake, write_config

CELL_FILES = {"cell.json", "epochs.csv", "result.json", "weights.safetensors", "train.log", "benchmark.tsv"}
CSV_TABLES = ("cells", "edge", "where_time_goes")
TABLES = ("time_to_target", "epochs_to_target", "samples_to_target", "table1", "table2")
FIGURES = ("figure1", "figure2", "figure3", "figure4", "figure5", "efficiency", "edge", "parts")
PICTURES = ("quality/quality.png", "quality/montage.png", "nodules/montage.png", "nodules/novelty.png")
CAPTIONS = (*FIGURES, "quality", "montage", "new_nodules", "novelty")


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


@pytest.mark.parametrize("model", [{"kind": "mine"}, {"dimensions": 2}])
def test_nodules_are_drawn_only_from_models_that_can(tmp_path, model):
    write_config(tmp_path, lambda config: config["studies"]["tiny"]["model"].update(model))
    assert "new_nodules" not in plan(tmp_path).rules
    write_config(tmp_path)
    assert "new_nodules" in plan(tmp_path).rules


# --- a whole study


def missing_files(folder, names):
    """Those that aren't there, or are empty."""
    return [name for name in names if not (folder / name).is_file() or not (folder / name).stat().st_size]


@pytest.mark.parametrize("study", ["tiny", "tiny_wall"])
def test_a_run_makes_every_table_and_figure(finished, study):
    promised = ["claims.csv", "claims.md", "claims.html", "study.json", "reconstructions.npz"]
    promised += [f"tables/{table}.csv" for table in CSV_TABLES]
    promised += [f"tables/{table}.{form}" for table in TABLES for form in ("csv", "md", "tex", "html")]
    promised += [f"tables/speedup_law.{form}" for form in ("csv", "md", "html")]
    promised += [f"figures/{figure}.{form}" for figure in FIGURES for form in ("svg", "pdf", "png")]
    promised += [f"nodules/{name}" for name in ("nodules.npy", "nodules.csv", "novelty.json", "novelty.md")]
    promised += ["nodules/montage.png", "nodules/novelty.png"]
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
    assert [path for path in (finished.folder / "results").rglob(".*") if path.name != ".snakemake_timestamp"] == []


def test_wall_clock_cells_run_on_a_rank_a_worker(finished):
    folder = finished.folder / "results" / "tiny_wall" / "cells"
    ranks = {
        path.parent.parent.name: json.loads(path.read_text())["ranks"] for path in folder.glob("*/*/*/result.json")
    }
    assert ranks == {"01workers": 1, "02workers": 2}


def test_the_network_is_measured(finished):
    network = json.loads((finished.folder / "results" / "tiny" / "network.json").read_text())
    assert all(math.isfinite(value) and value > 0 for name, value in network.items() if name != "workers_per_host")
    assert network["workers_per_host"] is None
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
    shown = [f"figures/{figure}.png" for figure in FIGURES] + [*PICTURES, "quality/quality.html", "claims.html"]
    assert [name for name in shown if name not in page] == []
    for name in CAPTIONS:
        caption = (ROOT / "workflow" / "report" / f"{name}.rst").read_text().splitlines()[0]
        assert re.match(r"[\w ]+", caption)[0] in page


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
