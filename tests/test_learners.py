"""How many learners a worker has: CROSSBOW's rule on given seconds, and what becomes of `learners: auto`."""

import json
from dataclasses import replace

import pytest
from conftest import TINY_MODEL
from emulation_fixtures import timings

from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import build, plain
from strongscale.settings import cells, timed
from strongscale.settings.cells import Cell, CellSettings
from strongscale.settings.config import StrategyEntry, Study, Training
from strongscale.settings.config_file import parse
from strongscale.settings.plans import first_plan
from strongscale.timing import learners
from strongscale.timing.timings import Several
from strongscale.training import prepare
from strongscale.updates.sma import Sma

# --- the rule


@pytest.mark.parametrize(
    ("seconds", "number"),
    [
        ([1.0], 1),
        ([1.0, 2.0], 1),  # one after another: no more samples a second
        ([1.0, 1.0, 1.0, 1.0], 4),  # as far as was tried
        ([1.0, 1.1, 1.4, 1.95], 3),  # 1, 1.82, 2.14, 2.05 learners' samples a second
        ([1.0, 1.85, 1.0], 1),  # 0.08 of a learner's more isn't enough, and what would come after isn't asked
        ([2.0, 3.6, 5.1], 2),  # 1.11 times one learner's, then 1.18: 0.07 more
    ],
)
def test_one_learner_more_as_long_as_throughput_grows_by_a_tenth_of_one_learners(seconds, number):
    assert learners.number_of(seconds) == number


# --- auto becomes a number

STUDY = Study(
    dataset="tiny",
    strategies={"sma": StrategyEntry(parameters={"learners": "auto"})},
    workers=(1, 2, 4),
    model=TINY_MODEL,
    clock="emulated",
    training=Training(batch_size=4, evaluation_chunk=4, device="cpu", target=None),
)


def tried(*seconds, samples=4):
    """Timings of a step with 1, 2, 3, ... learners of so many samples each."""
    several = enumerate(seconds, start=1)
    return timings(learners=tuple(Several(learners=k, samples=k * samples, seconds=each_s) for k, each_s in several))


def settings_of(folder, dataset, known, workers=2, study=STUDY):
    """The cell's settings, as rule `cell` writes them."""
    write_json(folder / "timings.json", plain(known))
    place = folder / "results" / "s" / "cells" / "sma" / f"{workers:02d}workers" / "seed1"
    own = ["--settings", json.dumps(plain(cells.own_part(study, "sma"))), "--output", str(place / "cell.json")]
    prepare.main([*own, "--dataset", str(dataset / "dataset.json"), "--timings", str(folder / "timings.json")])
    return build(CellSettings, read_json(place / "cell.json"), "")


def test_a_cells_settings_hold_the_number_that_the_timings_tell(tmp_path, tiny_dataset):
    cell = settings_of(tmp_path, tiny_dataset, tried(1.0, 1.1, 1.4, 1.95))
    assert cell.parameters == {"learners": 3}
    assert cell.update_rule.learners_each == 3
    assert first_plan(cell.create_strategy(), cell.training, cell.workers).batch == 2 * 3 * 4


def test_another_number_is_another_run(tmp_path, tiny_dataset):
    one, two = (settings_of(tmp_path, tiny_dataset, tried(*seconds)) for seconds in ((1.0, 2.0), (1.0, 1.0)))
    assert one.hash != two.hash


def test_what_is_found_is_no_other_run_than_the_same_number_by_hand(tmp_path, tiny_dataset):
    by_hand = replace(STUDY, strategies={"sma": StrategyEntry(parameters={"learners": 2})})
    found, given = (settings_of(tmp_path, tiny_dataset, tried(1.0, 1.0), study=one) for one in (STUDY, by_hand))
    assert found.hash == given.hash


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (timings(), r"timings\.json: knows no steps of 1, 2, \.\.\. learners of 4 samples each"),
        (tried(1.0, 1.0, samples=8), r"timings\.json: knows no steps of 1, 2, \.\.\. learners of 4 samples each"),
        (replace(tried(1.0), work={"task": {"kind": "digits"}}), r"timings\.json: its seconds are of task"),
    ],
)
def test_timings_that_do_not_tell_are_one_line_and_nothing_is_written(tmp_path, tiny_dataset, known, words):
    with pytest.raises(UserError, match=words) as error:
        settings_of(tmp_path, tiny_dataset, known)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("cell.json"))


def test_a_cell_by_hand_without_timings_is_told_what_to_do(tmp_path, tiny_dataset):
    words = r"strategies\.sma\.parameters\.learners: 'auto' is not allowed without .* allowed: --timings FILE, .* or a number"
    with pytest.raises(UserError, match=words):
        prepare.resolve(STUDY, Cell("s", "sma", 2, 1), folder=tmp_path, dataset=tiny_dataset)


def test_a_cell_json_by_hand_needs_the_number(tmp_path, tiny_dataset):
    cell = plain(settings_of(tmp_path, tiny_dataset, tried(1.0, 1.0))) | {"parameters": {"learners": "auto"}}
    with pytest.raises(UserError, match=r"parameters\.learners: 'auto' is not allowed; allowed: a run's own number"):
        build(CellSettings, cell, "")


# --- in a study's settings


def parsed(entry):
    """A study of one such line."""
    study = {"task": "digits", "workers": [2], "strategies": {"mine": entry}, "training": {"target": None}}
    return parse({"study": "s", "datasets": {"d": {"phantom": {}}}, "studies": {"s": study}}).studies["s"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"kind": "sma", "parameters": {"learners": 0}},
            "learners: 0 is not allowed; allowed: a whole number at least 1",
        ),
        ({"kind": "sma", "parameters": {"learners": "many"}}, "learners: 'many' is not allowed; allowed: .* or auto"),
        ({"kind": "weak", "parameters": {"learners": "auto"}}, r"parameters\.learners: unknown key"),
        ({"kind": "sma", "update": {"kind": "sma", "learners": "auto"}}, r"update\.learners: 'auto' is not allowed"),
        (
            {"kind": "sma", "parameters": {"learners": "auto"}, "update": "easgd"},
            r"mine\.update: 'easgd' is not allowed with a strategy's learners: auto, for it knows none; allowed: sma",
        ),
        (
            {"kind": "sma", "parameters": {"learners": 2}, "update": {"kind": "sma", "learners": 4}},
            r"mine\.update\.learners: 4 is not allowed with a strategy's learners: 2",
        ),
    ],
)
def test_a_mistake_is_one_line(entry, words):
    with pytest.raises(UserError, match=words) as error:
        parsed(entry)
    assert "\n" not in str(error.value)


def test_a_strategys_learners_keep_their_minibatch_and_an_update_rules_share_a_workers():
    lines = [
        ({"kind": "sma", "parameters": {"learners": 3}}, 2 * 3 * 32),
        ({"kind": "sma", "update": {"kind": "sma", "learners": 3}}, 2 * 32),
        ({"kind": "sma", "parameters": {"learners": 3}, "update": {"kind": "sma", "momentum": 0.5}}, 2 * 3 * 32),
    ]
    for entry, samples in lines:
        study = parsed(entry)
        strategy = study.strategy("mine")
        assert first_plan(strategy, study.training, 2).batch == samples
        assert cells.update_rule(study.strategies["mine"].update, strategy).learners_each == 3


def test_an_update_rules_other_settings_stay_beside_a_strategys_learners():
    study = parsed({"kind": "sma", "parameters": {"learners": 3}, "update": {"kind": "sma", "momentum": 0.5}})
    rule = cells.update_rule(study.strategies["mine"].update, study.strategy("mine"))
    assert rule == Sma(learners=3, momentum=0.5)


# --- what is measured for it


def test_a_line_of_one_learner_a_worker_has_the_timings_that_it_always_had():
    for one in ({}, {"learners": 1}):
        study = replace(STUDY, strategies={"sma": StrategyEntry(parameters=one)})
        assert timed.learners(study, "sma") == set()
        assert timed.asked(study, "sma") == ["4:1", "8:2", "16:4"]


def test_learners_to_be_found_are_asked_for_with_the_minibatches_of_one():
    assert timed.learners(STUDY, "sma") == {"4:1:auto", "8:2:auto", "16:4:auto"}
    assert timed.asked(STUDY, "sma")[:3] == ["4:1", "8:2", "16:4"]


def test_learners_that_are_given_are_asked_for_with_the_minibatches_of_all():
    kept = replace(STUDY, strategies={"sma": StrategyEntry(parameters={"learners": 2})})
    dealt = replace(STUDY, strategies={"strong": StrategyEntry(update=Sma(learners=2))}, workers=(1, 2))
    assert timed.learners(kept, "sma") == {"8:1:2", "16:2:2", "32:4:2"}
    assert timed.learners(dealt, "strong") == {"4:1:2", "4:2:2"}


def test_learners_to_be_found_are_measured_for_real_seconds_too():
    wall = replace(STUDY, clock="wall", strategies=STUDY.strategies | {"weak": StrategyEntry()})
    assert timed.measured_lines("s", wall) == ["sma"]
    assert timed.measured_lines("s", replace(wall, strategies={"weak": StrategyEntry()})) == []
    assert timed.measured_lines("s", replace(STUDY, timings="a.json")) == []
