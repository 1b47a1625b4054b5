"""The emulated clock's seconds of a whole study: from trajectories, timings and a network, when it is loaded."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from analysis_fixtures import (
    BASE_RATE,
    DEVICE,
    as_in_the_paper,
    converged,
    paper_study,
    write_sources,
    write_study,
    write_timings,
)

from strongscale.analysis import cell_clocks, machines
from strongscale.analysis.load import load, read_study
from strongscale.analysis.statistics import time_to_target
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.settings import timed
from strongscale.timing.emulation import Emulation
from strongscale.timing.network import network_of
from strongscale.timing.steps import read_steps
from strongscale.timing.timings import read_timings

TARGET = {"learning_rate": BASE_RATE, "target": 0.0056, "max_epochs": 80}
EMULATED = {
    "clock": "emulated",
    "strategies": {"strong": {}, "weak": {}},
    "workers": [1, 2, 4],
    "edge": {"rates": [0.001]},
    "training": {**TARGET, "reduction": "exact"},
}


def emulated(**changes):
    return paper_study(**{**EMULATED, **changes})


@pytest.fixture
def folder(tmp_path):
    """An emulated study in exact mode: strong scaling is the sequential run."""
    return write_study(tmp_path, emulated())


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def times(runs):
    return {(run.strategy, run.workers): run.result.time_s for run in runs.runs}


def losses(runs):
    return runs.epochs.drop(columns=["time_s", "compute_s", "communication_s", "evaluation_s"])


def timings_of(folder, study=None):
    return folder.parent / "timings" / timed.name_of(study or emulated(), "strong") / "timings.json"


# --- a study of its own


def test_strong_scaling_is_the_sequential_run_with_the_seconds_of_its_own_workers(folder):
    runs = load(folder)
    (sequential,), (strong,) = runs.of("strong", 1), runs.of("strong", 4)
    assert not (folder / "cells" / "strong").exists()
    assert strong.cell == sequential.cell
    assert (strong.workers, strong.result.trajectory) == (4, "small/cells/sequential/01workers/seed1")
    assert strong.result.epochs_to_target == sequential.result.epochs_to_target
    assert runs.epochs_of(strong)["validation_loss"].tolist() == runs.epochs_of(sequential)["validation_loss"].tolist()
    assert strong.result.parts["compute_s"] < sequential.result.parts["compute_s"]
    assert strong.result.parts["communication_s"] > sequential.result.parts["communication_s"] == 0


def test_the_seconds_are_those_of_the_clock(folder):
    runs = load(folder)
    (strong,) = runs.of("strong", 4)
    study = runs.study
    emulation = Emulation(timings=read_timings(timings_of(folder)), network=network_of(study, folder / "network.json"))
    steps = read_steps(folder / "cells/sequential/01workers/seed1/steps.json")
    expected = list(emulation.clock(steps.on(4, strong.settings.update_rule)))
    table = runs.epochs_of(strong)
    assert table["time_s"].tolist() == [seconds.total for seconds in expected]
    assert table["evaluation_s"].tolist() == [seconds.evaluation for seconds in expected]
    assert strong.result.time_s == expected[-1].total
    assert strong.result.time_to_target_s == expected[strong.result.epochs_to_target - 1].total


def test_a_run_that_missed_the_target_has_seconds_but_none_to_the_target(tmp_path):
    def script(cell):
        own = as_in_the_paper(cell)
        return (
            replace(own, status="diverged", diverged_because="not finite", losses=(float("inf"),))
            if (cell.strategy == "weak")
            else own
        )

    (run,) = load(write_study(tmp_path, emulated(), script)).of("weak", 2)
    assert run.result.time_to_target_s is None
    assert run.result.time_s > 0


def test_loading_again_gives_the_same_seconds_to_the_last_digit(folder):
    assert times(load(folder)) == times(load(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "gigabit"},
        {"network": {"latency_s": 1.0, "bandwidth_bytes_per_s": 1e6}},
        {"network": {"latency_s": 2e-5, "bandwidth_bytes_per_s": 1e9, "all_reduce": "ring"}},
        {"stragglers": 0.05},
        {"evaluation": "everywhere"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_only_seconds_are_made_of_changes_nothing_else_and_nothing_of_one_worker(folder, changes):
    before = load(folder)
    edit(folder / "study.json", **changes)
    after = load(folder)
    assert losses(after).equals(losses(before))
    changed = {
        workers for line, workers in times(before) if times(before)[line, workers] != times(after)[line, workers]
    }
    assert 4 in changed  # two share a host, which another network between hosts leaves as fast
    assert 1 not in changed
    assert [run.result.epochs_to_target for run in after.runs] == [run.result.epochs_to_target for run in before.runs]


def test_other_timings_change_the_seconds_alone(folder):
    before = load(folder)
    write_timings(timings_of(folder), emulated(), "strong", factor=2.0)
    after = load(folder)
    assert losses(after).equals(losses(before))
    one, again = times(before)["strong", 1], times(after)["strong", 1]
    assert again == pytest.approx(2 * one)


def test_a_measured_network_is_that_of_the_study(tmp_path):
    folder = write_study(tmp_path, emulated(network="measured"))
    before = times(load(folder))["strong", 2]
    edit(folder / "network.json", host_latency_s=1.0)
    assert times(load(folder))["strong", 2] > before + 1.0


@pytest.mark.parametrize("name", ["network.json", "timings.json"])
def test_what_was_measured_and_is_gone_is_named_with_the_command_that_makes_it(tmp_path, name):
    folder = write_study(tmp_path, emulated(network="measured"))
    (folder / name if name == "network.json" else timings_of(folder)).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file; make it with `snakemake .*receipts/.*json`") as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_timings_of_another_model_are_refused_in_one_line(folder):
    path = timings_of(folder)
    other = read_json(path)
    other["work"]["model"]["components"] = 7
    write_json(path, other)
    with pytest.raises(
        UserError, match="timings.json: its seconds are of model .*; allowed: timings of the same"
    ) as error:
        load(folder)
    assert "\n" not in str(error.value)


def test_timings_of_any_model_are_taken(folder):
    edit(timings_of(folder), work=None)
    load(folder)


def test_a_file_of_another_machines_timings_is_taken_as_it_is_named(tmp_path, folder):
    before = times(load(folder))
    path = write_timings(tmp_path / "mine" / "k80.json", emulated(), "strong", factor=3.0)
    edit(path, origin="reconstructed", device="Tesla K80", doubts=["nothing was measured"])
    edit(folder / "study.json", timings=str(path))
    runs = load(folder)
    assert times(runs)["strong", 1] == pytest.approx(3 * before["strong", 1])
    assert "one worker's seconds: Tesla K80 (reconstructed, not measured)" in runs.label
    assert "nothing was measured" in runs.label
    assert DEVICE not in runs.label


def test_what_the_clock_assumes_stands_in_the_label(folder):
    edit(folder / "study.json", stragglers=0.05, evaluation="everywhere")
    label = load(folder).label
    assert "stragglers: 0.05" in label
    assert "every worker evaluates all validation samples" in label


def test_a_record_of_other_epochs_is_refused(folder):
    path = folder / "cells/sequential/01workers/seed1/steps.json"
    raw = read_json(path)
    raw["epochs"].pop()
    write_json(path, raw)
    with pytest.raises(UserError, match=r"steps\.json: 19 epochs, but epochs\.csv has 20; remove the folder and run"):
        load(folder)


def test_a_run_without_a_record_is_refused(folder):
    (folder / "cells/weak/02workers/seed1/steps.json").unlink()
    with pytest.raises(UserError, match=r"steps\.json: no such file; remove the folder and run it again"):
        load(folder)


def test_seconds_that_stand_in_a_result_of_the_emulated_clock_count_for_nothing(folder):
    before = times(load(folder))
    edit(folder / "cells/sequential/01workers/seed1/result.json", time_s=1e9, time_to_target_s=1e9)
    assert times(load(folder)) == before


def test_the_wall_clock_needs_neither_timings_nor_a_network(tmp_path):
    folder = write_study(tmp_path, emulated(clock="wall"))
    assert not (tmp_path / "timings").exists()
    runs = load(folder)
    assert runs.timings == ()
    assert times(runs)["strong", 2] == pytest.approx(converged(runs.of("strong", 2)[0].cell).epoch_s * 20)


# --- a study of another's runs


def write_other(folder, name="other", **changes):
    """The settings of a study that trains nothing."""
    study = {**read_json(folder / "study.json"), "name": name, "trajectories": folder.name} | changes
    (folder.parent / name).mkdir()
    write_json(folder.parent / name / "study.json", study)
    _, settings, _ = read_study(folder.parent / name)
    write_sources(folder.parent, settings, name)
    return folder.parent / name


def test_a_study_of_anothers_trajectories_has_its_runs_and_seconds_of_its_own(folder):
    own, other = load(folder), load(write_other(folder, network="gigabit"))
    assert losses(other).equals(losses(own))
    assert [run.cell for run in other.runs] == [run.cell for run in own.runs]
    assert times(other)["weak", 4] > times(own)["weak", 4]
    assert times(other)["strong", 1] == times(own)["strong", 1]
    assert other.name == "other"
    assert other.label.endswith("trajectories of study small")
    assert "gigabit" in other.label
    assert "ten_gigabit" not in other.label


def test_a_study_of_anothers_trajectories_may_be_a_part_of_it(folder):
    runs = load(write_other(folder, workers=[1, 4], strategies={"weak": {}}, edge={"rates": []}))
    assert [(run.strategy, run.workers) for run in runs.runs] == [("weak", 1), ("weak", 4)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"components": 7}}, "model "),
        ({"training": {**TARGET, "reduction": "exact", "batch_size": 16}}, "training "),
        ({"training": {**TARGET, "reduction": "fast"}}, "training "),
    ],
)
def test_settings_that_the_other_was_not_trained_with_are_refused_in_one_line(folder, changes, words):
    other = write_other(folder, **changes)
    with pytest.raises(UserError, match=f"other/study.json: {words}.*with which .*small wasn't trained") as error:
        load(other)
    assert "\n" not in str(error.value)


def test_the_other_study_must_be_there(folder):
    with pytest.raises(UserError, match=r"nope/study\.json: no such file"):
        load(write_other(folder, trajectories="nope"))


def test_a_run_that_the_other_lacks_is_named(folder):
    with pytest.raises(
        UserError, match=r"weak/08workers/seed1/result\.json: the result of weak, 8 workers, seed 1 is missing"
    ):
        load(write_other(folder, workers=[1, 8]))


# --- what is written


def test_each_cell_gets_its_seconds_and_says_whose_trajectory_it_is(folder):
    cell_clocks.main(["--study", str(folder), "--output", str(folder / "clock.json")])
    runs = load(folder)
    cell = folder / "cells/strong/04workers/seed1"
    assert {path.name for path in cell.iterdir()} == {"clock.json", "seconds.csv"}
    told = read_json(cell / "clock.json")
    assert (told["strategy"], told["workers"]) == ("strong", 4)
    assert told["trajectory"] == "small/cells/sequential/01workers/seed1"
    assert told["time_s"] == times(runs)["strong", 4]
    assert (told["network"], told["timings"]) == ("ten_gigabit", [DEVICE])
    seconds = pd.read_csv(cell / "seconds.csv")
    assert seconds["time_s"].tolist() == pytest.approx(runs.epochs_of(runs.of("strong", 4)[0])["time_s"].tolist())
    listed = read_json(folder / "clock.json")["cells"]
    assert len(listed) == len(runs.runs)
    assert str(cell) in listed


def test_the_seconds_of_anothers_runs_lie_with_the_study_that_asks_for_them(folder):
    other = write_other(folder, network="gigabit")
    cell_clocks.main(["--study", str(other), "--output", str(other / "clock.json")])
    told = read_json(other / "cells/weak/02workers/seed1/clock.json")
    assert (told["study"], told["network"]) == ("other", "gigabit")
    assert told["trajectory"] == "small/cells/weak/02workers/seed1"
    assert not (folder / "cells/weak/02workers/seed1/clock.json").exists()


def test_on_the_wall_clock_no_seconds_are_written_beside_the_measured_ones(tmp_path):
    folder = write_study(tmp_path, emulated(clock="wall"))
    cell_clocks.main(["--study", str(folder), "--output", str(folder / "clock.json")])
    assert read_json(folder / "clock.json") == {"cells": []}
    assert list(folder.glob("cells/*/*/*/clock.json")) == []


# --- other machines


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory):
    """The study on its own machine and on two networks, with a file of twice the seconds; its folder."""
    root = tmp_path_factory.mktemp("machines")
    folder = write_study(root, emulated())
    slow = write_timings(root / "slow.json", emulated(), "strong", factor=2.0)
    machines.main(["--study", str(folder), "--networks", "gigabit", "infiniband", "--timings", str(slow)])
    return folder


def test_the_rows_of_the_own_machine_are_the_studys_own_times(everywhere):
    runs = load(everywhere)
    table = pd.read_csv(everywhere / "tables" / "machines.csv")
    own = table[(table["timings"] == "the study's") & (table["network"] == "ten_gigabit")]
    found = {(row.strategy, row.workers): row.time_to_target_s for row in own.itertuples()}
    assert found == pytest.approx(
        {
            (line, workers): time_to_target(runs.of(line, workers)).median
            for line in ("strong", "weak")
            for workers in (1, 2, 4)
        }
    )


def test_there_is_a_row_for_every_device_and_network(everywhere):
    table = pd.read_csv(everywhere / "tables" / "machines.csv")
    assert set(table["network"]) == {"ten_gigabit", "gigabit", "infiniband"}
    assert table["timings"].nunique() == 2
    assert len(table) == 2 * 3 * 2 * 3
    of = table.set_index(["timings", "network", "strategy", "workers"])["time_to_target_s"]
    (slow,) = set(table["timings"]) - {"the study's"}
    assert of[slow, "gigabit", "strong", 1] == pytest.approx(2 * of["the study's", "gigabit", "strong", 1])
    assert of["the study's", "gigabit", "strong", 4] > of["the study's", "infiniband", "strong", 4]


def test_one_line_at_most_is_the_fastest_of_a_place(everywhere):
    table = pd.read_csv(everywhere / "tables" / "machines.csv")
    assert table.groupby(["timings", "network", "workers"])["is_fastest"].sum().max() == 1


def test_the_machines_have_a_table_for_readers_and_a_figure(everywhere):
    text = (everywhere / "tables" / "machines.md").read_text()
    assert "nothing trained again" in text
    assert {path.suffix for path in (everywhere / "figures").glob("machines.*")} == {".svg", ".pdf", ".png"}


def test_an_unknown_network_is_refused_in_one_line(everywhere):
    with pytest.raises(UserError, match="--networks: 'pigeons' is not allowed; allowed: gigabit"):
        machines.main(["--study", str(everywhere), "--networks", "pigeons"])


def test_a_study_on_the_wall_clock_has_no_other_machines(tmp_path):
    folder = write_study(tmp_path, emulated(clock="wall"))
    machines.main(["--study", str(folder)])
    assert "hold for its own machine alone" in (folder / "tables" / "machines.md").read_text()
    assert (folder / "figures" / "machines.png").stat().st_size > 1000


def test_timings_of_other_cubes_are_refused_in_one_line(folder):
    (path,) = (folder.parent / "timings").glob("*/timings.json")
    edit(path, gradient_bytes=7)
    with pytest.raises(
        UserError, match=r"of a gradient of 7 bytes, .* has \d+; allowed: timings of cubes of the same size"
    ):
        load(folder)
