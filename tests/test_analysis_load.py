import json
import shutil
from dataclasses import replace

import pytest
from analysis_fixtures import (
    DEVICE,
    PILOTED,
    TARGET,
    as_in_the_paper,
    paper_study,
    settings_of,
    write_cell,
    write_study,
)

from strongscale.analysis.load import load
from strongscale.common.errors import UserError
from strongscale.common.schema import build
from strongscale.settings.cells import Cell, CellSettings

STRONG = Cell("small", "strong", 2, 1)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_wall_clock_seconds_of_fewer_ranks_than_workers_are_refused(tmp_path):
    folder = write_study(tmp_path, paper_study(clock="wall"), as_in_the_paper)
    path = next(folder.glob("cells/strong/04workers/*/result.json"))
    path.write_text(path.read_text().replace('"ranks": 4', '"ranks": 2'))
    with pytest.raises(UserError, match="its seconds are of 2 ranks, not of 4 workers"):
        load(folder)


def test_wall_clock_seconds_of_which_some_are_of_fewer_ranks_are_refused(tmp_path):
    folder = write_study(tmp_path, paper_study(clock="wall"), as_in_the_paper)
    path = next(folder.glob("cells/strong/04workers/*/result.json"))
    edit(path, history=[{"ranks": 1, "device": DEVICE}, {"ranks": 4, "device": DEVICE}], attempts=2)
    with pytest.raises(UserError, match="its seconds are of 1 and 4 ranks, not of 4 workers"):
        load(folder)


def test_every_device_of_every_attempt_is_named_and_a_change_of_it(tmp_path):
    folder = write_study(tmp_path, paper_study())
    history = [{"ranks": 2, "device": "GPU: Tesla K80", "hosts": ["n1"]}, {"ranks": 2, "device": DEVICE}]
    edit(tmp_path / STRONG.folder / "result.json", history=history, device_changed=True)
    runs = load(folder)
    assert f"{DEVICE} and GPU: Tesla K80" in runs.label
    assert "1 run changed the device on the way" in runs.label
    assert runs.cells["device_changed"].sum() == 1


def test_runs_made_by_code_that_differs_are_said_to_be_so(tmp_path):
    folder = write_study(tmp_path, paper_study())
    assert "code" not in load(folder).label  # strategies have files of their own
    edit(tmp_path / STRONG.folder / "result.json", code={"trainer.py": "bb", "strategies/strong.py": "strong"})
    assert load(folder).label.endswith("made by code that differs between runs: trainer.py (2 versions)")


def test_a_result_from_before_attempts_were_told_is_read(tmp_path):
    folder = write_study(tmp_path, paper_study())
    path = tmp_path / STRONG.folder / "result.json"
    old = json.loads(path.read_text())
    for name in ("history", "code", "device_changed"):
        del old[name]
    path.write_text(json.dumps(old))
    assert load(folder).label.count(DEVICE) == 1


def test_every_run_of_the_matrix_and_of_the_edge_is_there(tmp_path):
    runs = load(write_study(tmp_path, paper_study(seeds=[1, 2])))
    lines = runs.cells["line"].value_counts()
    assert lines["matrix"] == (4 * 5 + 3) * 2
    assert lines["rate"] == 4 * 2
    assert set(runs.epochs["strategy"]) >= {"strong", "rate_0.001"}


def test_the_sequential_run_stands_in_every_line(tmp_path):
    runs = load(write_study(tmp_path, paper_study()))
    assert runs.of("weak", 1)[0].cell == runs.of("strong", 1)[0].cell == Cell("small", "sequential", 1, 1)
    assert len(runs.epochs_of(runs.of("weak", 1)[0])) == 20


def test_the_label_names_clock_network_device_and_data(tmp_path):
    runs = load(write_study(tmp_path, paper_study(clock="emulated")))
    expected = (
        "emulated clock (ten_gigabit network model), one worker's seconds: CPU: Intel Xeon Platinum 8488C, 1 thread, "
        "phantom scans, seed 1"
    )
    assert runs.label == expected
    wall = load(write_study(tmp_path, paper_study(), name="measured"))
    assert wall.label == "wall clock, CPU: Intel Xeon Platinum 8488C, 1 thread, phantom scans, seed 1"


def test_a_missing_result_is_named_with_the_command_that_makes_it(tmp_path):
    folder = write_study(tmp_path, paper_study())
    path = tmp_path / STRONG.folder / "result.json"
    path.unlink()
    with pytest.raises(UserError, match="strong, 2 workers, seed 1 is missing; make it with `snakemake") as error:
        load(folder)
    assert str(path) in str(error.value)


def test_a_result_of_other_settings_is_refused(tmp_path):
    folder = write_study(tmp_path, paper_study())
    edit(tmp_path / STRONG.folder / "result.json", settings_hash="0" * 16)
    with pytest.raises(UserError, match="another configuration; remove the folder or run it again .settings_hash"):
        load(folder)


def test_seconds_of_another_clock_are_never_mixed_in(tmp_path):
    study = paper_study()
    folder = write_study(tmp_path, study)
    write_cell(tmp_path, replace(study, clock="emulated"), STRONG, as_in_the_paper(STRONG))
    with pytest.raises(UserError, match="clock emulated, the study's is wall"):
        load(folder)


def test_seconds_of_the_wall_clock_are_never_mixed_into_emulated_ones(tmp_path):
    study = paper_study(clock="emulated")
    folder = write_study(tmp_path, study)
    write_cell(tmp_path, replace(study, clock="wall"), STRONG, as_in_the_paper(STRONG))
    with pytest.raises(UserError, match="clock wall, the study's is emulated"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"components": 7}}, "model: components 7, the study's is 50"),
        ({"training": {"batch_size": 64}}, "training: batch_size 64"),
        ({"strategies": {"strong": {"kind": "weak"}}}, "strategy weak"),
    ],
)
def test_a_cell_that_the_study_no_longer_asks_for_is_refused(tmp_path, changes, words):
    study = paper_study()
    folder = write_study(tmp_path, study)
    write_cell(tmp_path, _changed(study, changes), STRONG, as_in_the_paper(STRONG))
    with pytest.raises(UserError, match=words):
        load(folder)


def _changed(study, changes):
    model = replace(study.model, **changes.get("model", {}))
    training = replace(study.training, **changes.get("training", {}))
    entries = {name: replace(study.strategies[name], **entry) for name, entry in changes.get("strategies", {}).items()}
    return replace(study, model=model, training=training, strategies={**study.strategies, **entries})


def test_a_cell_in_the_wrong_folder_is_refused(tmp_path):
    study = paper_study()
    folder = write_study(tmp_path, study)
    settings = settings_of(study, Cell("small", "strong", 4, 1))
    edit(tmp_path / STRONG.folder / "cell.json", workers=4)
    edit(tmp_path / STRONG.folder / "result.json", settings_hash=settings.hash)
    with pytest.raises(UserError, match="workers 4, the folder's is 2"):
        load(folder)


def test_another_target_than_the_sequential_runs_is_refused(tmp_path):
    folder = write_study(tmp_path, paper_study())
    edit(tmp_path / STRONG.folder / "result.json", target_loss=0.1)
    with pytest.raises(UserError, match="target_loss 0.1, cell.json's is 0.005"):
        load(folder)


def test_an_unknown_status_is_refused(tmp_path):
    folder = write_study(tmp_path, paper_study())
    edit(tmp_path / STRONG.folder / "result.json", status="done")
    with pytest.raises(UserError, match="result.json: status: 'done' is not allowed"):
        load(folder)


def test_a_torn_epochs_table_is_refused(tmp_path):
    folder = write_study(tmp_path, paper_study())
    path = tmp_path / STRONG.folder / "epochs.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(UserError, match="epochs 20, but epochs.csv has 4"):
        load(folder)


def test_infinite_losses_are_read_as_such(tmp_path):
    runs = load(write_study(tmp_path, paper_study()))
    assert runs.epochs_of(runs.of("warmup", 32)[0])["validation_loss"].tolist() == [float("inf")]


SEARCHED = {"learning_rate": "edge", "target": PILOTED, "max_epochs": 80}


def test_the_study_runs_at_the_edge_that_was_found_with_the_target_that_pilots_set(tmp_path):
    runs = load(write_study(tmp_path, paper_study(training=SEARCHED, edge={"rates": [0.006]})))
    assert [run.base_rate for run in runs.edge] == [0.006]
    assert runs.sequential[0].base_rate == 0.003
    assert {run.seed for run in runs.matrix} == {1}
    assert {run.seed for run in runs.runs if run.line == "pilot"} == {11, 12}
    assert {run.result.target_loss for run in runs.matrix} == {TARGET}


def test_without_the_target_that_pilots_set_nothing_is_read(tmp_path):
    folder = write_study(tmp_path, paper_study(training=SEARCHED))
    (folder / "target.json").unlink()
    with pytest.raises(UserError, match=r"target\.json: no such file; make it with `snakemake"):
        load(folder)


TUNED = {
    "strategies": {"strong": {}, "weak": {}},
    "training": {"learning_rate": "tuned", "target": TARGET, "max_epochs": 80},
    "edge": {"rates": []},
    "tuning": {"around": 0.003},
}


def test_with_tuned_rates_each_cell_has_that_of_its_batch_size(tmp_path):
    runs = load(write_study(tmp_path, paper_study(**TUNED)))
    found = {(run.strategy, run.workers): run.settings.training for run in runs.matrix}
    assert {found["strong", n].learning_rate for n in (1, 2, 8)} == {0.003}
    assert [found["weak", n].learning_rate for n in (1, 2, 8)] == [0.003, 0.006, 0.024]
    assert found["weak", 8].warmup_steps == 256


def test_a_cell_at_another_rate_than_was_tuned_for_its_batch_size_is_refused(tmp_path):
    folder = write_study(tmp_path, paper_study(**TUNED))
    edit(folder / "tuning" / "batch64" / "tuned.json", learning_rate=0.005)
    with pytest.raises(UserError, match=r"weak/02workers/seed1.*learning_rate"):
        load(folder)


def test_a_batch_size_without_its_rate_is_one_line(tmp_path):
    folder = write_study(tmp_path, paper_study(**TUNED))
    (folder / "tuning" / "batch64" / "tuned.json").unlink()
    with pytest.raises(UserError, match=r"tuned\.json: no such file; make it with `snakemake .*tuning\.batch64\.json`"):
        load(folder)


def agree_on(folder, **changes):
    """Edit a cell.json, and the hash of it in result.json too, as somebody who knows would."""
    edit(folder / "cell.json", **changes)
    settings = build(CellSettings, json.loads((folder / "cell.json").read_text()), "")
    edit(folder / "result.json", settings_hash=settings.hash)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clock": "emulated"}, "clock emulated, the study's is wall"),
        ({"dataset_hash": "f" * 16}, "data set ffffffffffffffff"),
        ({"kind": "weak"}, "strategy weak"),
    ],
)
def test_a_cell_edited_by_hand_is_refused(tmp_path, changes, words):
    folder = write_study(tmp_path, paper_study())
    agree_on(tmp_path / STRONG.folder, **changes)
    with pytest.raises(UserError, match=f"02workers/seed1.*another configuration.*{words}"):
        load(folder)


@pytest.mark.parametrize("changes", [{"learning_rate": 0.004}, {"target": 0.02}])
def test_what_other_runs_decided_is_checked_too(tmp_path, changes):
    folder = write_study(tmp_path, paper_study(training=SEARCHED))
    raw = json.loads((tmp_path / STRONG.folder / "cell.json").read_text())
    agree_on(tmp_path / STRONG.folder, training={**raw["training"], **changes})
    name, value = next(iter(changes.items()))
    with pytest.raises(UserError, match=f"another configuration.*training: {name} {value}, the study's is 0.00"):
        load(folder)


def test_a_data_set_that_was_made_anew_is_noticed(tmp_path):
    folder = write_study(tmp_path, paper_study())
    path = tmp_path / "datasets" / "small" / "dataset.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"hash": "0123456789abcdef"}))
    load(folder)
    edit(path, hash="f" * 16)
    with pytest.raises(UserError, match="data set 0123456789abcdef, the study's is ffffffffffffffff"):
        load(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '{"learning_rate": 0.5}', '{"learning_rate": [0.003]}'])
def test_a_learning_rate_that_was_never_tried_is_refused(tmp_path, text):
    folder = write_study(tmp_path, paper_study(training=SEARCHED))
    (folder / "learning_rate.json").write_text(text)
    with pytest.raises(UserError, match="learning_rate.json: .*; remove it and run again"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "value", "others"),
    [("null_loss", 0.09, 0.048), ("constant_loss", 0.018, 0.019), ("num_training", None, 512)],
)
def test_runs_of_other_data_are_not_compared(tmp_path, name, value, others):
    folder = write_study(tmp_path, paper_study())
    edit(tmp_path / STRONG.folder / "result.json", **{name: value})
    words = f"02workers/seed1: made with another .*{name} {value}, that of .* is {others}"
    with pytest.raises(UserError, match=words):
        load(folder)


def test_a_copied_study_reads_its_own_runs(tmp_path):
    folder = write_study(tmp_path, paper_study())
    copy = shutil.copytree(folder, tmp_path / "archive")
    shutil.rmtree(folder)
    assert len(load(copy).runs) == len(load(shutil.copytree(copy, folder)).runs)
    edit(copy / STRONG.folder.removeprefix("small/") / "result.json", time_s=1.0)
    load(folder)
    with pytest.raises(UserError, match="archive/cells"):
        load(copy)


@pytest.mark.parametrize(
    "name", ["study.json", "cells/strong/02workers/seed1/cell.json", "cells/strong/02workers/seed1/result.json"]
)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a": ' * 200 + b"1" + b"}" * 200,
        b"9" * 5000,
        b'{"a": NaN',
    ],
    ids=["empty", "null", "list", "nothing in it", "binary", "deep", "rather deep", "a huge number", "torn"],
)
def test_a_file_that_is_none_of_ours_is_named(tmp_path, name, content):
    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, workers=[1, 2], edge={}))
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: .*(remove|run)") as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_a_strategy_that_is_gone_is_named(tmp_path):
    folder = write_study(tmp_path, paper_study())
    edit(folder / "study.json", strategies={"mine": {}})
    with pytest.raises(UserError, match="study.json: strategies.mine: no strategy 'mine'; allowed: .*strong"):
        load(folder)


@pytest.mark.parametrize("name", ["cells/strong/02workers/seed1/cell.json", "learning_rate.json"])
def test_a_missing_file_is_named_with_what_to_do(tmp_path, name):
    folder = write_study(tmp_path, paper_study(training=SEARCHED))
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file; (make it with|remove the folder and run it again)"):
        load(folder)


@pytest.mark.parametrize("changes", [{"name": "a\nb"}, {"name": 5}, {"dataset_provenance": "\ud800"}, {"name": ["x"]}])
def test_a_study_whose_name_cannot_be_printed_is_refused(tmp_path, changes):
    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, workers=[1], edge={}))
    edit(folder / "study.json", **changes)
    with pytest.raises(UserError, match="study.json: .* is no name; remove it and run again"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "nope"}, "kind: no strategy 'nope'"),
        ({"seed": 2**70}, "seed: 1180591620717411303424 is not allowed"),
        ({"parameters": {"epoch": 5}}, "parameters.epoch: unknown key"),
    ],
)
def test_a_cell_of_settings_that_no_cell_can_have_is_refused_with_its_file(tmp_path, changes, words):
    folder = write_study(tmp_path, paper_study())
    edit(tmp_path / STRONG.folder / "cell.json", **changes)
    with pytest.raises(UserError, match=f"{STRONG.folder}/cell.json: {words}"):
        load(folder)
