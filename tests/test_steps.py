"""steps.json: what each step of a run asked of the hardware."""

import json

import pytest

from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import plain
from strongscale.distributed.world import World
from strongscale.timing.steps import StepLog, read_steps
from strongscale.training import setup
from strongscale.training.run import train
from strongscale.updates.base import Message, Work
from strongscale.updates.synchronous import Synchronous

BYTES = 1000


def log(workers=2):
    return StepLog(workers=workers, num_training=20, num_validation=6, evaluation_chunk=4, gradient_bytes=BYTES)


def epoch(record, workers=2):
    """Two steps of 8 samples and the last of 4."""
    for size in (8, 8, 4):
        record.add(size, Synchronous().work(size, workers, BYTES))
    record.end_epoch()


@pytest.fixture
def path(tmp_path):
    """The record of two epochs."""
    record = log()
    for _ in range(2):
        epoch(record)
    write_json(tmp_path / "steps.json", plain(record.whole()))
    return tmp_path / "steps.json"


def test_a_record_is_read_as_it_was_written(path):
    steps = read_steps(path)
    record = log()
    for _ in range(2):
        epoch(record)
    assert steps == record.whole()
    assert [kind.samples for kind in steps.kinds] == [8, 4]
    assert steps.kinds[0].passes == ((4,), (4,))
    assert steps.kinds[0].messages == (Message(BYTES, 2),)
    assert steps.epochs == (((0, 2), (1, 1)),) * 2


def test_steps_that_ask_for_something_else_are_of_another_kind():
    record, passes = log(), ((4,), (4,))
    record.add(8, Work(passes, (Message(BYTES, 2),)))
    record.add(8, Work(passes, ()))
    record.add(8, Work(passes, (Message(BYTES, 2),), num_updates=2))
    record.add(8, Work(passes, (Message(BYTES, 2, is_overlapped=True),)))
    record.add(8, Work(passes, (Message(BYTES, 2),)))
    record.end_epoch()
    assert record.whole().epochs == (((0, 2), (1, 1), (2, 1), (3, 1)),)


def test_a_checkpoint_in_mid_epoch_keeps_the_counts():
    whole, first, second = log(), log(), log()
    epoch(whole)
    epoch(whole)
    epoch(first)
    first.add(8, Synchronous().work(8, 2, BYTES))
    second.restore(json.loads(json.dumps(first.state())))
    for size in (8, 4):
        second.add(size, Synchronous().work(size, 2, BYTES))
    second.end_epoch()
    assert second.whole() == whole.whole()


def test_a_run_that_goes_on_from_a_checkpoint_has_the_same_record(make_cell, run_cell):
    whole = run_cell("strong", 3, name="whole")
    first = run_cell("strong", 3, name="first", max_epochs=1)
    second = setup.prepare(make_cell("strong", 3, name="second"), World())
    second.restore(first.state())
    second.run()
    assert second.steps.whole() == whole.steps.whole()


@pytest.mark.parametrize("reduction", ["fast", "exact"])
def test_a_run_records_the_equal_shards_of_its_method_whatever_the_reduction(make_cell, reduction):
    folder = make_cell("strong", 3, reduction=reduction, microbatch=4, max_epochs=1)
    train(folder, World())
    steps = read_steps(folder / "steps.json")
    assert [kind.passes for kind in steps.kinds] == [((6,), (5,), (5,)), ((1,), (1,), (0,))]
    assert (steps.num_training, steps.num_validation, steps.evaluation_chunk) == (50, 19, 4)
    assert {message.workers for kind in steps.kinds for message in kind.messages} == {3}


def test_another_number_of_workers_takes_the_same_steps_in_its_own_shards(path):
    steps = read_steps(path).on(3, Synchronous())
    assert steps.workers == 3
    assert [kind.passes for kind in steps.kinds] == [((3,), (3,), (2,)), ((2,), (1,), (1,))]
    assert steps.kinds[0].messages == (Message(BYTES, 3),)
    assert steps.epochs == read_steps(path).epochs


def test_the_same_number_of_workers_takes_the_same_steps(path):
    assert read_steps(path).on(2, Synchronous()) == read_steps(path)


def test_what_another_number_would_record_itself_is_the_same(make_cell):
    """In exact mode, where both take the same path."""
    found = {}
    for workers in (2, 5):
        folder = make_cell("strong", workers, reduction="exact", microbatch=2, max_epochs=2, name=f"w{workers}")
        train(folder, World())
        found[workers] = read_steps(folder / "steps.json")
    assert found[2].on(5, Synchronous()) == found[5]


def test_shards_that_are_empty_have_no_samples():
    assert Synchronous().work(2, 4, BYTES).passes == ((1,), (1,), (0,), (0,))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw["epochs"].append([[0, 1]]), "epoch 3: steps of 8 samples, of 20"),
        (lambda raw: raw["epochs"][1].append([7, 1]), "epoch 2: no kind 7"),
        (lambda raw: raw.update(num_training=21), "epoch 1: steps of 20 samples, of 21"),
        (lambda raw: raw.pop("kinds"), "kinds: missing"),
        (lambda raw: raw.update(workers=0), "workers: 0 is not allowed"),
        (lambda raw: raw["kinds"][0].update(num_updates=-1), "kinds.*num_updates: -1 is not allowed"),
        (lambda raw: raw["kinds"][0].update(passes=[["many"]]), "kinds.*passes.*'many' is not allowed"),
        (lambda raw: raw.update(seconds=1.0), "seconds: unknown key"),
    ],
)
def test_a_record_that_cannot_be_one_is_refused_in_one_line(path, damage, words):
    raw = read_json(path)
    damage(raw)
    write_json(path, raw)
    with pytest.raises(UserError, match=f"steps.json: {words}.*; remove the folder and run it again") as error:
        read_steps(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"kinds": ', "[" * 100_000])
def test_a_torn_record_is_refused_in_one_line_that_names_it_once(path, text):
    path.write_text(text)
    with pytest.raises(UserError, match="run it again|run again") as error:
        read_steps(path)
    assert str(error.value).count(str(path)) == 1
    assert "\n" not in str(error.value)


def test_a_record_that_is_gone_is_named(path):
    path.unlink()
    with pytest.raises(UserError, match=r"steps\.json: no such file"):
        read_steps(path)
