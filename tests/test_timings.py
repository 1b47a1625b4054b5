"""timings.json: one worker's seconds, as a file and as measured."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import TINY_MODEL
from emulation_fixtures import timings

from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import build, plain
from strongscale.distributed.world import World
from strongscale.measurement import timings as measurement
from strongscale.measurement.laps import Lap, Work
from strongscale.measurement.learners import sizes_of as sizes_of_learners
from strongscale.measurement.timings import doubts, sizes_of
from strongscale.optimizers.sgd import Sgd
from strongscale.settings import timed
from strongscale.settings.cells import Cell
from strongscale.settings.config import StrategyEntry, Study, Training
from strongscale.timing.learners import number_of
from strongscale.timing.timings import Load, Timings, read_timings
from strongscale.training import prepare, setup

# --- the file


@pytest.fixture
def path(tmp_path):
    write_json(tmp_path / "timings.json", plain(timings()))
    return tmp_path / "timings.json"


def test_timings_are_read_as_they_were_written(path):
    assert read_timings(path) == timings()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": []}, "steps: "),
        (
            {"steps": [{"samples": 4, "seconds": 1.0}, {"samples": 2, "seconds": 1.0}]},
            r"steps: by rising numbers of samples, from 1 on; they are \[4, 2\]",
        ),
        (
            {"evaluation": [{"samples": 4, "seconds": 1.0}, {"samples": 4, "seconds": 2.0}]},
            r"evaluation: by rising numbers of samples, from 1 on; they are \[4, 4\]",
        ),
        ({"steps": [{"samples": 0, "seconds": 1.0}]}, r"steps: by rising numbers .* \[0\]"),
        ({"steps": [{"samples": 4, "seconds": 0}]}, r"steps.*seconds: 0 is not allowed"),
        ({"update": {"seconds": -1}}, "update.seconds: -1 is not allowed"),
        ({"epoch": None}, "epoch: None is not allowed"),
        ({"origin": "guessed"}, "origin: 'guessed' is not allowed; allowed: measured, reconstructed, assumed"),
        ({"second": 1}, "second: unknown key"),
        ({"load": {"others": 1.0}}, "load.cores: missing"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line_that_names_it(path, changes, words):
    write_json(path, plain(timings()) | changes)
    with pytest.raises(UserError, match=f"timings.json: {words}.*; give a file of timings, or remove it") as error:
        read_timings(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [None, "", "[]", "{", "null", "[" * 100_000])
def test_a_torn_or_missing_file_is_one_line_that_names_it_once(path, text):
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(UserError) as error:
        read_timings(path)
    assert str(error.value).count(str(path)) == 1
    assert "\n" not in str(error.value)


def test_timings_that_are_shipped_are_read_by_their_names():
    for name in timed.shipped():
        found = read_timings(timed.path_of(name))
        assert found.origin in ("measured", "reconstructed", "assumed")
        assert found.origin == "measured" or found.doubts


def test_a_name_that_is_not_shipped_is_refused_with_those_that_are():
    with pytest.raises(UserError, match=r"timings: 'abacus' is not allowed; allowed: .*, or the path of a \.json file"):
        timed.path_of("abacus")


def test_seconds_that_were_not_measured_say_so_in_their_label():
    assert timings(origin="measured").label == "round seconds"
    assert timings(origin="reconstructed").label == "round seconds (reconstructed, not measured)"


# --- which are needed

STUDY = Study(
    dataset="tiny",
    strategies={"strong": StrategyEntry(), "weak": StrategyEntry()},
    workers=(1, 2, 4),
    model=TINY_MODEL,
    clock="emulated",
    training=Training(batch_size=16, evaluation_chunk=4, device="cpu"),
)


def test_minibatches_are_those_of_all_lines_with_the_same_seconds():
    every = {(16, 1), (16, 2), (16, 4), (32, 2), (64, 4)}
    assert timed.minibatches(STUDY, "strong") == timed.minibatches(STUDY, "weak") == every
    assert timed.minibatches(STUDY, "rate_0.1") == every


def test_minibatches_of_a_line_with_another_optimizer_are_its_own():
    study = replace(STUDY, strategies={"strong": StrategyEntry(optimizer=Sgd()), "weak": StrategyEntry()})
    assert timed.minibatches(study, "strong") == {(16, 1), (16, 2), (16, 4)}
    assert timed.minibatches(study, "weak") == {(16, 1), (32, 2), (64, 4)}


def other_training(**changes):
    return replace(STUDY, training=replace(STUDY.training, **changes))


def test_timings_are_shared_by_studies_that_differ_in_what_takes_no_time():
    others = [
        replace(STUDY, network="infiniband", seeds=(5,), stragglers=0.1, evaluation="everywhere", timings="a.json"),
        replace(STUDY, trajectories="other", max_ranks=1, alone=True),
        other_training(learning_rate="edge", max_epochs=9),
        other_training(reduction="exact", microbatch=2),
    ]
    assert {timed.name_of(other, "strong") for other in others} == {timed.name_of(STUDY, "weak")}


@pytest.mark.parametrize(
    "other",
    [
        replace(STUDY, model=replace(TINY_MODEL, components=5)),
        replace(STUDY, dataset="other"),
        replace(STUDY, workers=(1, 2, 3)),
        other_training(evaluation_chunk=5),
        other_training(batch_size=8),
        other_training(threads=2),
        other_training(optimizer=Sgd()),
    ],
    ids=["model", "data", "workers", "chunks", "minibatch", "threads", "optimizer"],
)
def test_timings_are_not_shared_where_work_differs(other):
    assert timed.name_of(other, "strong") != timed.name_of(STUDY, "strong")


def test_a_lines_own_optimizer_is_timed_like_the_studys():
    own = {name: StrategyEntry(optimizer=Sgd()) for name in STUDY.strategies}
    study = replace(STUDY, strategies=own)
    assert timed.name_of(study, "strong") == timed.name_of(other_training(optimizer=Sgd()), "strong")
    assert timed.own_part(study, "strong").training.optimizer == Sgd()


@pytest.mark.parametrize("reduction", ["fast", "exact"])
def test_what_is_timed_is_fast_mode_whatever_the_studys_reduction(reduction):
    study = replace(STUDY, training=replace(STUDY.training, reduction=reduction))
    assert timed.own_part(study, "strong").training.reduction == "fast"


# --- the measurement


def test_shards_are_those_of_whole_and_of_last_minibatches():
    assert sizes_of(["16:1"], 50) == [2, 16]  # 16 + 16 + 16 + 2
    assert sizes_of(["16:3"], 50) == [1, 5, 6]  # the last leaves a worker without
    assert sizes_of(["16:1", "32:4"], 50) == [2, 4, 5, 8, 16]
    assert sizes_of(["25:5"], 50) == [5]  # no last one


def test_a_minibatch_of_more_samples_than_there_are_takes_them_all():
    assert sizes_of(["64:4"], 50) == [12, 13]


def test_the_estimator_is_the_first_decile_whatever_the_order():
    laps = [float(lap) for lap in range(1, 101)]
    mixed = laps[::-1][::2] + laps[::2]
    assert Work("step", 4, lambda: None, laps=laps).seconds == Work("step", 4, lambda: None, laps=mixed).seconds == 11.0


def test_laps_that_others_made_longer_change_nothing():
    calm = Work("step", 4, lambda: None, laps=[1.0] * 100)
    busy = Work("step", 4, lambda: None, laps=[*[1.0] * 60, *[60.0] * 40])
    assert calm.seconds == busy.seconds == 1.0


def test_the_uncertainty_is_what_every_other_lap_says_otherwise():
    assert Work("step", 4, lambda: None, laps=[1.0, 1.1] * 20).uncertainty == pytest.approx(0.1)
    assert Work("step", 4, lambda: None, laps=[1.0] * 40).uncertainty == 0
    assert Work("step", 4, lambda: None, laps=[1.0]).uncertainty == 1.0


def test_a_duration_tells_how_it_was_come_by():
    found = Work("step", 4, lambda: None, laps=[2.0, 4.0] * 50).duration
    assert (found.samples, found.seconds, found.laps) == (4, 2.0, 100)
    assert found.spread == pytest.approx(1 / 3)


QUIET = Load(others=0.0, cores=4, waited=0.0)


def known(uncertainty=0.0):
    return Work("step", 4, lambda: None, laps=[1.0, 1.0 + uncertainty] * 20)


def test_durations_that_are_well_known_on_a_quiet_machine_leave_no_doubt():
    assert doubts([known()], QUIET) == []


def test_a_busy_machine_is_a_doubt():
    (doubt,) = doubts([known()], replace(QUIET, others=1.5))
    assert "the machine was busy: other processes kept 1.5 of 4 cores at work" in doubt


def test_a_machine_that_tells_nothing_of_others_is_a_doubt():
    assert doubts([known()], None) == ["what else the machine did meanwhile isn't known"]


def test_vague_durations_are_a_doubt_that_names_the_worst():
    (doubt,) = doubts([known(), known(0.1), known(0.3)], QUIET)
    assert doubt.startswith("2 of 3 durations are known worse than to 2 %, the worst (step of 4 samples) to 30 %")


def test_a_lap_is_one_time_of_many_of_a_round(monkeypatch):
    times = iter(float(second) for second in range(100))
    monkeypatch.setattr(measurement.time, "thread_time", lambda: next(times))
    done = []
    work = Work("step", 4, lambda: done.append(1), times=3)
    Lap(torch.device("cpu")).of(work)
    assert work.laps == [1.0, 1.0, 1.0]
    assert len(done) == 3


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_dataset):
    """The file that a measurement of a tenth of a second writes."""
    output = tmp_path_factory.mktemp("timings") / "timings.json"
    settings = json.dumps(plain(timed.own_part(STUDY, "strong")))
    measurement.main(
        ["--settings", settings, "--dataset", str(tiny_dataset / "dataset.json")]
        + ["--minibatches", "16:1", "16:3", "--limit-s", "0.1", "--output", str(output)]
    )
    return output


def test_a_measurement_writes_a_file_of_timings_with_every_size_asked_for(measured):
    found = read_timings(measured)
    assert [one.samples for one in found.steps] == [1, 2, 5, 6, 16]
    assert [one.samples for one in found.evaluation] == [3, 4]  # 19 samples in chunks of 4
    assert all(one.laps >= 2 for one in (*found.steps, *found.evaluation, found.update, found.epoch))
    assert found.update.seconds < found.steps[-1].seconds


def test_a_measurement_says_of_what_it_is_and_how_it_was_made(measured):
    found = read_timings(measured)
    assert found.origin == "measured"
    assert found.work == timed.work_of(STUDY, "strong") | {"model": plain(TINY_MODEL)}
    assert {"at", "hosts", "versions", "git_commit", "code_hash", "estimator", "laps_are"} <= found.made.keys()
    assert len(found.draws) == measurement.NUM_DRAWS
    assert list(found.draws) == sorted(found.draws)


def test_a_measurement_leaves_nothing_behind(measured):
    assert [path.name for path in measured.parent.iterdir()] == ["timings.json"]


def test_a_measurement_trains_nothing(tiny_dataset, tmp_path, monkeypatch):
    """Steps are taken at a rate of 0, so that losses, and with them seconds, stay as they are."""
    hashes, trainers = [], []

    def watched(works, device, limit_s):
        measure(works, device, limit_s)
        hashes.append(trainers[0].flat.digest())

    def prepared(*arguments):
        trainers.append(setup_once(*arguments))
        return trainers[0]

    measure, setup_once = measurement.measure, setup.prepare
    monkeypatch.setattr(measurement.setup, "prepare", prepared)
    monkeypatch.setattr(measurement, "measure", watched)
    study = timed.own_part(STUDY, "strong")
    measurement.timings_of(study, tiny_dataset, ["16:1"], 0.0)
    monkeypatch.undo()
    assert hashes == [prepare_again(study, tiny_dataset, tmp_path).flat.digest()]


def prepare_again(study, dataset, folder):
    """The model with its first weights."""
    cell = Cell("timings", "sequential", 1, 1)
    place = folder / "results" / cell.folder
    write_json(place / "cell.json", plain(prepare.resolve(study, cell, folder=place, dataset=dataset)))
    return setup.prepare(place, World())


def test_the_file_that_is_written_is_plain_json(measured):
    assert build(Timings, read_json(measured), "") == read_timings(measured)


# --- learners

LEARNING = replace(STUDY, strategies={"sma": StrategyEntry(parameters={"learners": "auto"})}, workers=(1, 2))


def measured_with(monkeypatch, tiny_dataset, seconds):
    """The timings of a study that asks how many learners pay, on a machine that takes so long with 1, 2, 3, ... of them."""

    def measure(works, device, limit_s):
        for work in works:
            work.once()
            number = getattr(work, "learners", 1)
            work.laps[:] = [seconds[number - 1] * work.samples / number / 16 or 1.0] * 2

    monkeypatch.setattr(measurement, "measure", measure)
    monkeypatch.setattr(measurement.learners, "measure", measure)
    study = replace(timed.own_part(LEARNING, "sma"), training=replace(LEARNING.training, batch_size=4))
    return measurement.timings_of(study, tiny_dataset, ["4:1", "8:2", "4:1:auto", "8:2:auto"], 0.0)


def test_learners_are_tried_until_one_does_not_pay_and_all_that_was_tried_is_written_down(monkeypatch, tiny_dataset):
    found = measured_with(monkeypatch, tiny_dataset, [1.0, 1.1, 1.4, 1.95, 1.0])
    assert [one.learners for one in found.learners if one.samples == 4 * one.learners] == [1, 2, 3, 4]
    assert number_of(found.tried(4)) == 3


def test_learners_that_pay_are_measured_at_all_sizes_that_cells_need(monkeypatch, tiny_dataset):
    """50 samples: with 3 learners 4 minibatches of 12 and one of 2, which not all have, on a worker; 2 of 24, and 2, on two."""
    found = measured_with(monkeypatch, tiny_dataset, [1.0, 1.1, 1.4, 1.95, 1.0])
    assert [one.samples for one in found.learners if one.learners == 3] == [12]
    assert sizes_of_learners([(4, 1, None)], 51, {4: 3}) == {(3, 12), (3, 3)}
    assert sizes_of_learners([(8, 2, None)], 55, {4: 3}) == {(3, 12), (3, 4), (3, 3)}
    assert sizes_of_learners([(16, 2, 2)], 100, {}) == {(2, 8), (2, 2)}
    assert sizes_of_learners([(4, 1, None)], 50, {4: 1}) == set()


def test_a_minibatch_of_more_samples_than_there_are_has_no_learners_to_find(tiny_dataset):
    study = timed.own_part(LEARNING, "sma")
    with pytest.raises(
        UserError, match="learners: 'auto' is not allowed for a minibatch of 64 samples, of 50 there are"
    ):
        measurement.timings_of(study, tiny_dataset, ["64:1", "64:1:auto"], 0.0)


def test_learners_are_measured_for_real_and_train_nothing(tiny_dataset, tmp_path, monkeypatch):
    trainers = []
    prepare_once = setup.prepare
    monkeypatch.setattr(
        measurement.setup, "prepare", lambda *given: trainers.append(prepare_once(*given)) or trainers[0]
    )
    study = timed.own_part(LEARNING, "sma")
    found = measurement.timings_of(study, tiny_dataset, ["16:1", "16:1:2"], 0.05)
    monkeypatch.undo()
    assert [(one.learners, one.samples) for one in found.learners] == [(2, 2), (2, 16)]
    assert all(one.seconds > 0 and one.laps >= 2 for one in found.learners)
    assert trainers[0].flat.digest() == prepare_again(study, tiny_dataset, tmp_path).flat.digest()
