"""A run that dies goes on where it was, and ends the same."""

import json

import pytest
import torch
from conftest import launch_spoilt, rows

from strongscale import models
from strongscale.common import provenance
from strongscale.common.errors import UserError
from strongscale.distributed.world import World
from strongscale.models.deepdensity import DeepDensity
from strongscale.recovery import failure
from strongscale.recovery.checkpoint import Checkpoint, Store
from strongscale.settings.config import Checkpoints
from strongscale.training import setup
from strongscale.training.run import train

IDENTITY = {"settings": "abc", "code": "def"}
EVERY_STEP = Checkpoints(every_epochs=1, every_s=1e-9)


def checkpoint(number):
    """A small checkpoint that tells its number."""
    return Checkpoint({"weights": torch.full((3,), float(number))}, {"number": number})


def test_a_checkpoint_comes_back_to_the_bit(tmp_path):
    tensors = {"weights": torch.randn(100), "step": torch.tensor(3.0)}
    values = {"time_s": 0.1 + 0.2, "loss": float("nan")}
    Store(tmp_path, IDENTITY).save(7, Checkpoint(tensors, values))
    loaded = Store(tmp_path, IDENTITY).load()
    assert all(torch.equal(loaded.tensors[name], tensors[name]) for name in tensors)
    assert loaded.values["time_s"] == values["time_s"]


def test_the_newest_two_are_kept(tmp_path):
    store = Store(tmp_path, IDENTITY)
    for number in (5, 10, 15):
        store.save(number, checkpoint(number))
    assert [path.name for path in store.paths()] == [
        "checkpoint-000000015.safetensors",
        "checkpoint-000000010.safetensors",
    ]
    assert store.load().values["number"] == 15


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "one bit flipped": flip_a_bit,
    "something else": lambda path: path.write_text("hello, this is no checkpoint at all"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, caplog):
    store = Store(tmp_path, IDENTITY)
    store.save(1, checkpoint(1))
    store.save(2, checkpoint(2))
    damage(store.paths()[0])
    assert store.load().values["number"] == 1
    assert "checkpoint-000000002.safetensors: torn or corrupt" in caplog.text


def test_a_damaged_checkpoint_does_not_push_out_a_whole_one(tmp_path):
    store = Store(tmp_path, IDENTITY)
    store.save(90, checkpoint(90))
    store.save(100, checkpoint(100))
    flip_a_bit(store.paths()[0])
    store.load()
    store.save(95, checkpoint(95))
    flip_a_bit(store.paths()[0])
    assert store.load().values["number"] == 90


def test_what_a_death_while_writing_left_behind_is_swept_away(make_cell):
    folder = make_cell("sequential")
    (folder / ".checkpoint-000000001.safetensors.x.safetensors").write_text("half")
    train(folder, World())
    assert not list(folder.glob(".*"))


def test_another_runs_checkpoint_is_refused_by_name(tmp_path):
    Store(tmp_path, IDENTITY).save(1, checkpoint(1))
    with pytest.raises(UserError, match=r"checkpoint-000000001.safetensors: of another run \(settings abc, here xyz\)"):
        Store(tmp_path, IDENTITY | {"settings": "xyz"}).load()


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(tmp_path, monkeypatch, caplog):
    store = Store(tmp_path, IDENTITY)
    store.save(1, checkpoint(1))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    store.save(2, checkpoint(2))
    assert "No space left on device" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000001.safetensors"]


class Killed(Exception):
    """Stands for a death at a certain step."""


def die_at(folder, step, monkeypatch):
    """Train until that step's end and die there without a word."""
    trainer = setup.prepare(folder, World())
    after_step = trainer.continuation.after_step

    def die(run, now):
        after_step(run, now)
        if now == step:
            raise Killed

    monkeypatch.setattr(trainer.continuation, "after_step", die)
    trainer.continuation.resume(trainer)
    with pytest.raises(Killed):
        trainer.run()


@pytest.mark.parametrize("step", [1, 4, 5, 8, 11])  # 4 steps an epoch: at its end, in its middle, at its start
@pytest.mark.parametrize("settings", [{"reduction": "exact", "microbatch": 2}, {}], ids=["exact", "fast"])
def test_a_run_that_was_killed_ends_with_the_same_bits(make_cell, monkeypatch, step, settings):
    calm, killed = (
        make_cell("strong", 4, name=name, checkpoints=EVERY_STEP, **settings) for name in ("calm", "killed")
    )
    train(calm, World())
    die_at(killed, step, monkeypatch)
    train(killed, World())
    assert rows(killed) == rows(calm)
    result = json.loads((killed / "result.json").read_text())
    assert result["attempts"] == 2
    assert result["lost_s"] >= 0


LAY_OUT = models.lay_out


def trainer_for(folder, monkeypatch, *, is_laid_out):
    """The run in this folder, with the weights in the order in memory for CPUs, or as they lie on a GPU."""
    monkeypatch.setattr(models, "lay_out", LAY_OUT if is_laid_out else lambda model: None)
    return setup.prepare(folder, World())


@pytest.mark.parametrize("is_laid_out", [True, False], ids=["from CPU to GPU", "from GPU to CPU"])
def test_a_run_goes_on_on_another_kind_of_device_with_the_same_weights(make_cell, tmp_path, monkeypatch, is_laid_out):
    """The weights lie in another order in memory there."""
    settings = {"strategy": "strong", "workers": 2}
    first = trainer_for(make_cell(name="first", max_epochs=2, **settings), monkeypatch, is_laid_out=is_laid_out)
    first.run()
    whole = trainer_for(make_cell(name="whole", **settings), monkeypatch, is_laid_out=is_laid_out)
    whole.run()
    store = Store(tmp_path, IDENTITY)
    store.save(first.progress.step, first.state())
    second = trainer_for(make_cell(name="second", **settings), monkeypatch, is_laid_out=not is_laid_out)
    second.restore(store.load())
    assert first.flat.orders != second.flat.orders
    ours, theirs = second.state().tensors, first.state().tensors
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for one, other in zip(second.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert second.evaluation.loss() == pytest.approx(first.epoch_log.validation[-1], rel=1e-5)
    second.run()
    assert second.epoch_log.validation[-1] == pytest.approx(whole.epoch_log.validation[-1], rel=1e-4)


def test_what_a_model_made_by_chance_and_does_not_train_goes_on_too(make_cell, monkeypatch):
    create, numbers = DeepDensity.create, iter(range(9))

    def with_chance(settings, voxels):
        model = create(settings, voxels)
        model.register_buffer("chance", torch.full((3,), float(next(numbers))))
        return model

    monkeypatch.setattr(DeepDensity, "create", with_chance)
    first, second = (setup.prepare(make_cell(name=name), World()) for name in ("first", "second"))
    assert not torch.equal(second.model.chance, first.model.chance)
    second.restore(first.state())
    assert torch.equal(second.model.chance, first.model.chance)


@pytest.mark.parametrize(("kind", "words"), [("cuda", "written on cuda, continued on cpu"), ("cpu", "")])
def test_the_log_says_that_a_run_goes_on_on_another_kind_of_device(make_cell, caplog, kind, words):
    first, second = (setup.prepare(make_cell(name=name), World()) for name in ("first", "second"))
    saved = first.state()
    assert saved.values["device"] == "cpu"
    second.restore(Checkpoint(saved.tensors, saved.values | {"device": kind}))
    assert [words in record.getMessage() for record in caplog.records] == ([True] if words else [])


def test_an_attempt_of_which_nothing_is_left_is_told_too(make_cell):
    folder = make_cell("strong", 2)
    lost = setup.prepare(folder, World())
    lost.continuation.resume(lost)  # and dies before its first checkpoint
    train(folder, World())
    result = json.loads((folder / "result.json").read_text())
    assert [attempt["from_step"] for attempt in result["history"]] == [0, 0]
    assert {"started_at", "hosts", "transport", "device", "versions", "git_commit", "code_hash"} <= {
        *result["history"][0]
    }
    assert result["attempts"] == 2


@pytest.mark.parametrize(
    ("devices", "changed"),
    [
        (("CPU: A, 1 thread", "GPU: B"), True),
        (("CPU: A, 1 thread", "CPU: B, 1 thread"), True),
        (("CPU: A, 1 thread", "CPU: A, 1 thread, oversubscribed: 4 ranks on 2 cores"), False),
    ],
)
def test_a_change_of_the_device_is_told(make_cell, monkeypatch, caplog, devices, changed):
    folder = make_cell("strong", 2, checkpoints=EVERY_STEP)
    monkeypatch.setattr(provenance, "device_name", lambda *_: devices[0])
    first = setup.prepare(folder, World())
    first.continuation.resume(first)
    monkeypatch.setattr(provenance, "device_name", lambda *_: devices[1])
    train(folder, World())
    result = json.loads((folder / "result.json").read_text())
    assert result["device_changed"] is changed
    assert tuple(attempt["device"] for attempt in result["history"]) == devices
    assert ("an earlier attempt computed on another device" in caplog.text) is changed


@pytest.mark.parametrize("content", ["{}", "[]", "3", "null", '{"identity": 5}', "{"])
def test_a_heartbeat_that_says_nothing_is_no_attempt(make_cell, content):
    folder = make_cell("sequential", max_epochs=1)
    (folder / "heartbeat.json").write_text(content)
    train(folder, World())
    assert json.loads((folder / "result.json").read_text())["attempts"] == 1


def test_nothing_is_left_over_when_a_run_is_done(make_cell):
    folder = make_cell("sequential", checkpoints=EVERY_STEP)
    train(folder, World())
    made = {"epochs.csv", "steps.json", "weights.safetensors", "result.json"}
    assert {path.name for path in folder.iterdir()} == {"cell.json", *made}


def test_the_last_checkpoints_can_be_kept(make_cell):
    folder = make_cell("sequential", checkpoints=Checkpoints(every_epochs=1, keep=True))
    train(folder, World())
    assert len(list(folder.glob("kept-checkpoint-*"))) == 2
    assert not list(folder.glob("checkpoint-*"))  # no later run goes on from them


def test_one_rank_reads_the_checkpoint_for_all(make_cell, monkeypatch):
    """The file system of rank 1 may show it none, or an older one. Handed out in many pieces, as a large one is."""
    settings = {"checkpoints": EVERY_STEP, "reduction": "exact", "microbatch": 2}
    calm, killed = (make_cell("strong", 2, name=name, **settings) for name in ("calm", "killed"))
    train(calm, World())
    die_at(killed, 5, monkeypatch)
    code = """
        world.PIECE_BYTES = 1000
        def none_of_its_business(self): raise AssertionError("rank 1 looks for checkpoints")
        if rank == 1: checkpoint.Store.paths = none_of_its_business
    """
    answer = launch_spoilt(killed, code)
    assert answer.returncode == 0, answer.stderr
    assert "attempt 2, from step" in (killed / failure.LOG).read_text()
    assert rows(killed) == rows(calm)


JUNK = (
    "{}",
    "[]",
    "null",
    "\0",
    "[" * 100_000,
    '{"identity": %s}',
    '{"identity": %s, "lived_s": "long", "attempts": null}',
)
JUNK += tuple(f'{{"identity": %s, "lived_s": {value}}}' for value in ("NaN", "1e999", "-1", "true", "1" + "0" * 400))


@pytest.mark.parametrize("text", JUNK, ids=range(len(JUNK)))
def test_a_heartbeat_that_tells_nothing_keeps_no_run_from_training(make_cell, text):
    folder = make_cell()
    identity = setup.prepare(folder, World()).continuation.store.identity
    (folder / "heartbeat.json").write_text(text.replace("%s", json.dumps(identity)))
    train(folder, World())
    assert json.loads((folder / "result.json").read_text())["attempts"] == 1
