"""What runs again when something changed, was lost or was killed, and what doesn't."""

import copy
import fcntl
import json
import os
import signal
import subprocess
from contextlib import suppress

import pandas as pd
import psutil
import pytest
from conftest import environment
from workflow_fixtures import (
    ANALYSIS,
    CELLS,
    DATASET,
    EMULATED,
    SCALED,
    SEEDS,
    SEQUENTIAL,
    command,
    fingerprint,
    jobs_of,
    plan,
    snakemake,
    write_config,
)

FROM_LEDGER = {"ledger", "totals", "losses"}
FROM_DATASET = {"dataset", "quality", "study", "cell", "train", "edge", "target", "reconstructions", "new_nodules"}
FROM_DATASET |= {"timings"} | EMULATED


@pytest.mark.parametrize("study", ["tiny", "tiny_wall"])
def test_a_second_run_has_nothing_to_do(finished, study):
    process = snakemake(finished.folder, "--config", f"study={study}")
    assert process.returncode == 0
    assert "Nothing to be done" in process.stdout


def test_a_lost_result_trains_its_cell_alone(work):
    (work / "results/tiny/cells/weak/02workers/seed1/result.json").unlink()
    planned = plan(work)
    assert planned.trained == {"weak/02workers/seed1"}
    assert planned.rules == {"train"} | EMULATED


def test_a_strategys_setting_trains_its_cells_alone(plan_changed):
    def lengthen(config):
        config["studies"]["tiny"]["strategies"]["warmup10"]["parameters"]["epochs"] = 12

    planned = plan_changed(lengthen)
    assert planned.trained == planned.prepared == {cell for cell in SCALED if cell.startswith("warmup10")}
    assert planned.rules == {"study", "cell", "train"} | EMULATED


def test_another_strategy_trains_its_cells_alone(plan_changed):
    def add(config):
        config["studies"]["tiny"]["strategies"]["linear"] = {"workers": [2]}

    planned = plan_changed(add)
    assert planned.trained == {f"linear/02workers/{seed}" for seed in SEEDS}
    assert planned.rules == {"study", "cell", "train"} | EMULATED


def test_another_number_of_workers_trains_its_cells_alone(plan_changed):
    def add(config):
        config["studies"]["tiny"]["workers"].append(4)

    planned = plan_changed(add)
    assert planned.trained == {f"weak/04workers/{seed}" for seed in SEEDS}  # strong scaling is the sequential run
    assert planned.rules == {"study", "cell", "train", "timings"} | EMULATED


def test_another_seed_trains_its_cells_alone(plan_changed):
    def add(config):
        config["studies"]["tiny_wall"]["seeds"] = [1, 2]

    planned = plan_changed(add, "--config", "study=tiny_wall")
    assert planned.trained == {"sequential/01workers/seed2", "strong/02workers/seed2"}
    assert planned.rules == {"study", "cell", "train", "clock_check"} | ANALYSIS


def test_more_epochs_leave_the_edge_and_the_target_alone(plan_changed):
    def prolong(config):
        config["studies"]["tiny"]["training"]["max_epochs"] = 20

    planned = plan_changed(prolong)
    assert planned.trained == planned.prepared == SCALED | SEQUENTIAL
    assert planned.rules == {"study", "cell", "train", "reconstructions", "new_nodules"} | EMULATED


def test_other_voxels_leave_the_scans_alone(plan_changed):
    def enlarge(config):
        config["datasets"]["tiny"]["cubes"] = {"voxel_mm": 1.5}

    planned = plan_changed(enlarge)
    assert len(planned.outputs["cubes"]) == 2
    assert planned.trained == CELLS
    assert planned.rules == {"cubes"} | FROM_LEDGER | FROM_DATASET


def test_another_split_leaves_the_cubes_alone(plan_changed):
    def split(config):
        config["datasets"]["tiny"]["split_seed"] = 2

    planned = plan_changed(split)
    assert planned.trained == CELLS
    assert planned.rules == FROM_DATASET


@pytest.mark.parametrize(
    ("key", "value", "rules"),
    [
        ("tolerated_losses", 2, {"losses"}),
        ("expected", {"annotations": 3}, {"totals", "quality"}),
    ],
)
def test_what_changes_no_cube_trains_nothing(plan_changed, key, value, rules):
    def change(config):
        config["datasets"]["tiny"][key] = value

    assert plan_changed(change).rules == rules


def test_another_number_of_jobs_makes_no_scan_again(plan_changed):
    def deal_out(config):
        config["datasets"]["tiny"]["jobs_per_subset"] = 2

    planned = plan_changed(deal_out)
    assert len(planned.outputs["cubes"]) == 4
    assert planned.rules == {"cubes"} | FROM_LEDGER | FROM_DATASET


def test_other_new_nodules_train_nothing(plan_changed):
    def draw(config):
        config["studies"]["tiny"]["new_nodules"]["seed"] = 2

    assert plan_changed(draw).rules == {"study", "new_nodules"} | EMULATED


def test_a_lost_quality_page_is_made_again_alone(work):
    (work / DATASET / "quality" / "quality.html").unlink()
    assert plan(work).rules == {"quality"}


# --- second copies: what a job does that starts when the first has ended


def owned(work):
    """All that dear rules have made, none of which Snakemake is told of, and when it was written."""
    results = work / "results"
    cells = (
        path
        for name in ("epochs.csv", "steps.json", "weights.safetensors", "result.json")
        for path in results.rglob(name)
    )
    data = (
        path for name in ("scans/subset*/*", "cubes/*", "*.npy", "dataset.json") for path in (work / DATASET).glob(name)
    )
    files = [*cells, *data, results / "tiny/network.json", results / "tiny/reconstructions.npz"]
    return {path: fingerprint(path) for path in files}


def test_a_second_job_of_any_dear_rule_deletes_and_makes_nothing(work):
    before = owned(work)
    rules = ["phantom_scans", "cubes", "dataset", "network", "timings", "train", "reconstructions"]
    cell = work / "results/tiny/cells/sequential/01workers/seed1/receipt.json"
    receipts = [
        cell,
        *(work / "results/timings/receipts").glob("*.json"),
        *(work / "results/tiny/receipts").glob("*.json"),
    ]

    again = jobs_of(snakemake(work, *(path.relative_to(work) for path in receipts), "--forcerun", *rules))

    assert set(rules) <= again.rules
    assert owned(work) == before


def test_a_lost_receipt_is_written_again_from_what_is_there(work):
    receipt = work / "results/tiny/cells/weak/02workers/seed1/receipt.json"
    content, before = receipt.read_bytes(), owned(work)
    receipt.unlink()
    assert jobs_of(snakemake(work, receipt.relative_to(work))).rules == {"train"}
    assert receipt.read_bytes() == content
    assert owned(work) == before
    assert plan(work).outputs == {}


def test_annotations_that_are_left_out_otherwise_train_nothing_again(work):
    before = owned(work)
    write_config(work, lambda config: config["datasets"]["tiny"].update(partial=True))
    receipt = "results/tiny/cells/rate_0.003/01workers/seed1/receipt.json"
    assert {"ledger", "dataset", "train"} <= jobs_of(snakemake(work, receipt)).rules
    assert owned(work) == before


def test_a_second_snakemake_is_refused_in_one_line_while_the_first_is_at_work(work):
    claims = work / "results/tiny/claims.csv"
    claims.unlink()
    with (work / ".snakemake" / "at-work").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = snakemake(work, claims.relative_to(work))
        assert plan(work, claims.relative_to(work)).rules == {"claims"}  # to look is allowed
    assert process.returncode != 0
    assert "another Snakemake is at work in this folder" in process.stdout.splitlines()[-1]
    assert not claims.exists()
    assert snakemake(work, claims.relative_to(work)).returncode == 0


# --- whatever is touched, what was asked for is planned

TOUCHED = {
    "phantom_annotations": f"{DATASET}/scans/annotations.csv",
    "phantom_scans": f"{DATASET}/receipts/scans.subset0.json",
    "cubes": f"{DATASET}/receipts/cubes.subset0.0.json",
    "ledger": f"{DATASET}/ledger.csv",
    "totals": f"{DATASET}/ledger.json",
    "losses": f"{DATASET}/losses.json",
    "dataset": f"{DATASET}/receipts/dataset.json",
    "study": "results/tiny/study.json",
    "network": "results/tiny/receipts/network.json",
    "edge": "results/tiny/receipts/learning_rate.json",
    "target": "results/tiny/target.json",
    "cell": "results/tiny/cells/weak/02workers/seed1/cell.json",
    "train": "results/tiny/cells/weak/02workers/seed1/receipt.json",
    "reconstructions": "results/tiny/receipts/reconstructions.json",
    "tables": "results/tiny/tables/cells.csv",
}


@pytest.mark.parametrize("touched", TOUCHED)
def test_a_lost_target_is_planned_whatever_was_touched_and_changed(work, touched):
    """Outputs copied from another clone, or made again, once made Snakemake leave out the very rule asked for."""
    lost = {rule: work / TOUCHED[rule] for rule in ("train", "tables", "dataset") if rule != touched}
    for path in lost.values():
        path.unlink()
    with (work / TOUCHED[touched]).open("a") as file:
        file.write("\n")  # other bytes, and a later time than all that was made of it
    assert set(lost) <= plan(work, *(path.relative_to(work) for path in lost.values())).rules


# --- interrupted


def add_long_study(config):
    """A study long enough to be killed in the middle, on the same data set."""
    study = copy.deepcopy(config["studies"]["tiny"])
    study |= {"network": "gigabit", "workers": [1, 2], "seeds": [1], "strategies": {"weak": {}}}
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
    while num_epochs(cells / "sequential") + num_epochs(cells / "weak") < 2:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
            pytest.fail("the study ended before it could be killed")
    kill(process)
    done = {path: fingerprint(path) for path in cells.glob("rate_*/*/*/result.json")}
    assert len(done) == 1

    assert snakemake(work, target, "--unlock").returncode == 0
    continued = jobs_of(snakemake(work, target))

    assert "weak/02workers/seed1" in continued.trained
    assert not {cell for cell in continued.trained if cell.startswith("rate_")}
    assert {path: fingerprint(path) for path in done} == done
    assert (work / target).is_file()
    for cell in ("sequential/01workers/seed1", "weak/02workers/seed1"):
        assert pd.read_csv(cells / cell / "epochs.csv")["epoch"].tolist() == list(range(1, 101))
    assert plan(work, target).outputs == {}


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
