"""Results that contradict themselves are refused, never published."""

import copy
import csv
import io
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from analysis_fixtures import FIXED_TARGET, as_in_the_paper, exhausted, not_finite, paper_study, write_study
from hypothesis import given, settings
from hypothesis import strategies as st

from strongscale.analysis.load import load
from strongscale.common.errors import UserError
from strongscale.settings.cells import Cell

CELL = "cells/strong/02workers/seed1"
SEQUENTIAL = "cells/sequential/01workers/seed1"
STUDY = paper_study(strategies={"strong": {}}, workers=[1, 2], edge={})
FACTS = [
    "device",
    "margins",
    "hosts",
    "versions",
    "git_commit",
    "code_hash",
    "started_at",
    "startup_s",
    "ranks",
    "attempts",
]
FACTS += ["suspended_s", "device_changed", "trajectory"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A study in which all is well."""
    return write_study(tmp_path_factory.mktemp("sound"), STUDY)


@pytest.fixture(scope="module")
def before(sound):
    """What tables show of it."""
    return published(sound)


@pytest.fixture
def study(sound, tmp_path):
    """The same, to be damaged."""
    return shutil.copytree(sound, tmp_path / "small")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def set_epoch(path, row, column, text):
    """Put a text into one place of epochs.csv; rows count from 0, as -1 the last."""
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    rows[row][column] = text
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def refuse(folder, words):
    with pytest.raises(UserError, match=f"{words}.*; remove the folder and run it again") as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"time_to_target_s": -5}, "time_to_target_s -5.0, but epochs.csv says"),
        ({"time_to_target_s": 0}, "time_to_target_s 0.0, but epochs.csv says"),
        ({"time_to_target_s": None}, "time_to_target_s None, but epochs.csv says"),
        ({"time_to_target_s": math.nan}, "time_to_target_s: nan is not allowed"),
        ({"time_to_target_s": 10**400}, "time_to_target_s: 1000.* is not allowed"),
        ({"epochs_to_target": 21}, "epochs_to_target 21, but epochs.csv says 20"),
        ({"epochs_to_target": 10}, "epochs_to_target 10, but epochs.csv says 20"),
        ({"samples_to_target": None}, "samples_to_target None, but"),
        ({"epochs": 19}, "epochs 19, but epochs.csv has 20"),
        ({"epochs": 2**70}, "epochs isn't a number from 1 to 1000000"),
        ({"time_s": 1e300}, "time_s 1e[+]300, but epochs.csv says"),
        ({"time_s": math.inf}, "time_s: inf is not allowed"),
        ({"best_validation_loss": 0.001}, "best_validation_loss 0.001, but"),
        ({"final_validation_loss": None}, "final_validation_loss None, but"),
        ({"target_loss": 0.004}, "target_loss 0.004, cell.json's is 0.005"),
        ({"target_loss": None}, "target_loss None, cell.json's is 0.005"),
        ({"learning_rate": 0.1}, "learning_rate 0.1, cell.json's is 0.003"),
        ({"null_loss": -1}, "null_loss is -1.0, allowed: above 0"),
        ({"startup_s": -1}, "startup_s is -1.0, allowed: at least 0"),
        ({"attempts": -1}, "attempts isn't a number from 1"),
        ({"parts": {"compute_s": 1.0}}, "parts: compute_s, needed: compute_s, communication_s, evaluation_s"),
        ({"parts": {"compute_s": 1e6, "communication_s": 1, "evaluation_s": 1}}, "parts.compute_s 1000000.0, but"),
        ({"status": "exhausted"}, "exhausted after 20 epochs, but cell.json allows 80"),
        ({"status": "diverged"}, "diverged, but diverged_because None"),
        ({"diverged_because": "collapsed"}, "converged, but diverged_because collapsed"),
        ({"status": "diverged", "diverged_because": "not finite"}, "diverged .not finite., but the last losses"),
        ({"status": "diverged", "diverged_because": "collapsed"}, "epochs_to_target 20, but diverged"),
        ({"workers": 4}, "workers 4, cell.json's is 2"),
        ({"hosts": []}, "hosts: none"),
        ({"device": "CPU\nGPU"}, "'device' isn't a line of text"),
        ({"versions": {"torch": ["2"]}}, "'versions.torch' isn't a line of text"),
        ({"git_commit": "\ud800"}, "'git_commit' isn't a line of text"),
        ({"started_at": None}, "'started_at' isn't a line of text"),
        ({"minibatch": 64}, "minibatch 64, cell.json's is 32"),
        ({"minibatch": None}, "minibatch None, cell.json's is 32"),
        ({"num_training": 511}, "num_training 511, but epochs.csv says 512"),
        ({"constant_loss": 0.004}, "converged at 0.005.*, but a constant output has 0.004"),
        ({"suspended_s": -1}, "suspended_s is -1.0, allowed: at least 0"),
        ({"code": {"trainer.py": "a\nb"}}, "'code.trainer.py' isn't a line of text"),
        ({"history": [{"ranks": 2, "device": "\ud800"}]}, "'history.0..device' isn't a line of text"),
        ({"trajectory": "a\nb"}, "'trajectory' isn't a line of text"),
    ],
)
def test_a_result_that_contradicts_itself_is_refused(study, changes, words):
    edit(study / CELL / "result.json", **changes)
    refuse(study, f"{CELL}/result.json: {words}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ranks": 0}, "ranks isn't a number from 1"),
        ({"epochs": 19}, "epochs 19, but epochs.csv has 20"),
        ({"epochs_to_target": 10}, "epochs_to_target 10, but epochs.csv says 20"),
        ({"best_validation_loss": 0.001}, "best_validation_loss 0.001, but"),
        ({"time_s": math.inf}, "time_s: inf is not allowed"),
    ],
)
def test_an_emulated_result_that_contradicts_itself_is_refused(tmp_path, changes, words):
    folder = write_study(tmp_path, replace(STUDY, clock="emulated"))
    edit(folder / CELL / "result.json", **changes)
    refuse(folder, f"{CELL}/result.json: {words}")


def test_a_run_that_was_stopped_above_its_target_has_not_converged(tmp_path):
    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, workers=[1], edge={}, training=FIXED_TARGET))
    path = folder / SEQUENTIAL
    set_epoch(path / "epochs.csv", -1, "validation_loss", 0.006)
    losses = [float(row["validation_loss"]) for row in csv.DictReader((path / "epochs.csv").open())]
    edit(path / "result.json", final_validation_loss=0.006, best_validation_loss=min(losses))
    refuse(folder, "converged to 0.0056, but the last loss in epochs.csv is 0.006")


def test_a_run_that_reached_its_target_is_not_exhausted(tmp_path):
    changes = {"strategies": {"strong": {}}, "workers": [1], "edge": {}, "training": FIXED_TARGET}
    folder = write_study(tmp_path, paper_study(**changes), exhausted)
    set_epoch(folder / SEQUENTIAL / "epochs.csv", -1, "validation_loss", 0.0055)
    edit(folder / SEQUENTIAL / "result.json", final_validation_loss=0.0055, best_validation_loss=0.0055)
    refuse(folder, "exhausted, but its loss in epochs.csv, 0.0055, reaches the target")


@pytest.mark.parametrize(
    ("row", "column", "text", "words"),
    [
        (-1, "validation_loss", "nan", "best_validation_loss 0.005.*, but epochs.csv says 0.0056"),
        (-1, "training_loss", "inf", "converged, but the last losses in epochs.csv are inf and 0.005"),
        (4, "validation_loss", "nan", "row 5: validation_loss is negative or not a number"),
        (4, "training_loss", "inf", "row 5: training_loss is negative or not a number"),
        (-1, "validation_loss", "-inf", "row 20: validation_loss is negative or not a number"),
        (4, "training_loss", "-0.1", "row 5: training_loss is negative"),
        (4, "validation_loss", "1e-9", "best_validation_loss 0.005.*, but epochs.csv says 1e-09"),
        (4, "epoch", "4", "row 5: the epochs aren't 1, 2, 3"),
        (4, "epoch", "5.0", "not a table of epochs .*'5.0'"),
        (4, "epoch", "-5", "not a table of epochs .-5 is no count"),
        (4, "epoch", "9" * 5000, "not a table of epochs .99999999999999999999 is no count"),
        (4, "samples", "2000", "row 5: samples doesn't rise by one data set an epoch .2000."),
        (4, "step", "64", "row 5: step doesn't rise .64."),
        (4, "step", "79", "row 5: 15 steps, where minibatches of 32 samples take 16"),
        (4, "learning_rate", "0.004", "row 5: learning_rate 0.004, the strategy's is 0.003"),
        (4, "learning_rate", "0", "row 5: learning_rate isn't positive"),
        (4, "time_s", "0.1", "row 5: time_s doesn't rise"),
        (4, "time_s", "", "not a table of epochs .could not convert string to float"),
        (4, "time_s", "1e400", "row 5: time_s is negative or not a number"),
        (4, "compute_s", "1e4", "row 6: compute_s falls"),
        (-1, "compute_s", "1e4", "row 20: the parts of the time exceed time_s"),
        (4, "communication_s", "-1", "row 5: communication_s is negative"),
        (-1, "evaluation_s", "1.3", "parts.evaluation_s .*, but epochs.csv says 1.3"),
    ],
)
def test_epochs_that_contradict_themselves_are_refused(study, row, column, text, words):
    set_epoch(study / CELL / "epochs.csv", row, column, text)
    refuse(study, words)


def cut(text):
    return text[:-3]


def cut_in_its_row(text):
    return text[: text.rindex(",", 0, -60)]


def without_column(text):
    return text.replace("time_s", "seconds", 1)


def column_twice(text):
    return text.replace("weights_hash", "time_s")


def a_value_more(text):
    return text.replace("\n2,", "\n2,2,")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "row 20, the last, is cut off"),
        (cut_in_its_row, "row 20, the last, is cut off"),
        (without_column, "no column time_s"),
        (column_twice, "two columns time_s"),
        (a_value_more, "row 2 has 12 values, the header 11"),
        (lambda text: "", "no column epoch"),
        (lambda text: text[: text.index("\n") + 1], "no epochs"),
        (lambda text: text.replace("\n3,", "\n\n3,"), "row 3 has 0 values"),
        (lambda text: text.replace("0.0", '"0.0', 1), "not a table of epochs"),
        (lambda text: "\0" + text, "no column epoch"),
    ],
)
def test_a_torn_table_of_epochs_is_refused(study, damage, words):
    path = study / CELL / "epochs.csv"
    path.write_text(damage(path.read_text()))
    refuse(study, f"epochs.csv: .*{words}")


@pytest.mark.parametrize("content", [bytes(range(256)), b"\xff\xfe" * 1000, b"\x89PNG\r\n\x1a\n\0\0\0"])
def test_a_binary_file_is_no_table_of_epochs(study, content):
    (study / CELL / "epochs.csv").write_bytes(content)
    refuse(study, "epochs.csv: not a text file")


def test_a_run_whose_loss_is_no_longer_finite_says_so(tmp_path):
    folder = write_study(tmp_path, paper_study(strategies={"linear": {}}, workers=[1, 2], edge={}), script)
    load(folder)
    path = folder / "cells/linear/02workers/seed1/result.json"
    edit(path, diverged_because="collapsed")
    refuse(folder, "collapsed., but the last losses in epochs.csv are inf and inf")


def script(cell):
    return not_finite(cell) if cell.workers > 1 else as_in_the_paper(cell)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([[], {}, "converged", "exhausted", "diverged", "wall", "collapsed", 10**400]),
)


def leaves(value, path=()):
    """The place of each value that is no table."""
    if not isinstance(value, dict):
        return [path]
    return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]


@st.composite
def damages(draw, raw):
    """The same table with another value in one place, or without it."""
    damaged = copy.deepcopy(raw)
    *place, key = draw(st.sampled_from(leaves(raw)))
    table = damaged
    for name in place:
        table = table[name]
    old = table.pop(key)
    if draw(st.integers(0, 9)):
        is_number = isinstance(old, int | float)
        table[key] = draw(st.sampled_from([-old, 2 * old, old + 1, old * (1 + 1e-6)]) | VALUES if is_number else VALUES)
    return damaged


def published(folder):
    """What tables show of a study, without what only one file tells."""
    return load(folder).cells.drop(columns=FACTS, errors="ignore")


def check_numbers(table):
    for value in table.select_dtypes("number").to_numpy(dtype=float).ravel():
        assert math.isnan(value) or 0 <= value < math.inf


@pytest.mark.parametrize("name", ["result.json", "cell.json"])
@settings(max_examples=60)
@given(data=st.data())
def test_one_wrong_value_is_refused_or_changes_nothing(sound, before, name, data):
    path = sound / CELL / name
    text = path.read_text()
    try:
        path.write_text(json.dumps(data.draw(damages(json.loads(text)))))
        try:
            cells = load(sound).cells
        except UserError as error:
            assert CELL in str(error)
        else:
            assert cells.drop(columns=FACTS, errors="ignore").equals(before)
            check_numbers(cells)
    finally:
        path.write_text(text)


@settings(max_examples=60)
@given(
    row=st.integers(0, 19),
    column=st.sampled_from(["epoch", "step", "samples", "learning_rate", "training_loss", "validation_loss", "time_s"]),
    text=st.floats().map(repr) | st.integers().map(str) | st.text(max_size=3),
)
def test_one_wrong_place_in_epochs_is_refused_or_can_be_so(sound, before, row, column, text):
    path = sound / CELL / "epochs.csv"
    kept = path.read_bytes()
    try:
        set_epoch(path, row, column, text.encode("utf-8", "replace").decode())
        try:
            runs = load(sound)
        except UserError as error:
            assert f"{CELL}/" in str(error)
        else:
            assert runs.cells.drop(columns=FACTS, errors="ignore").equals(before)
            epochs = runs.epochs_of(runs.of("strong", 2)[0])
            assert epochs["epoch"].tolist() == list(range(1, 21))
            assert np.isfinite(epochs.select_dtypes("number").to_numpy()).all()
            assert (np.diff(epochs["time_s"], prepend=0) > 0).all()
    finally:
        path.write_bytes(kept)


def goes_on(cell):
    """A run that is at its target halfway, and ends above it."""
    outcome = as_in_the_paper(cell)
    return replace(outcome, losses=(*outcome.losses, *[1.2 * outcome.losses[-1]] * len(outcome.losses)))


GOING_ON = replace(STUDY, training=replace(STUDY.training, stop_at_target=False, max_epochs=40))


def test_the_time_to_the_target_of_a_run_that_went_on_is_when_it_was_first_there(tmp_path):
    assert as_in_the_paper(Cell("small", "strong", 2, 1)).losses[19] == pytest.approx(0.98 * GOING_ON.training.target)
    for run in load(write_study(tmp_path, GOING_ON, goes_on)).matrix:
        assert (run.result.epochs, run.result.epochs_to_target) == (40, 20)
        assert run.result.time_to_target_s == pytest.approx(run.result.time_s / 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs_to_target": 40}, "epochs_to_target 40, but epochs.csv says 20"),
        ({"status": "exhausted"}, "exhausted, but its loss in epochs.csv"),
    ],
)
def test_a_run_that_went_on_and_tells_another_arrival_than_its_epochs_is_refused(tmp_path, changes, words):
    folder = write_study(tmp_path, GOING_ON, goes_on)
    edit(folder / CELL / "result.json", **changes)
    with pytest.raises(UserError, match=words):
        load(folder)
