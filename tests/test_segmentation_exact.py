"""A U-Net in exact mode: one digest, however its work is shared out, and after a death too."""

import pytest
from conftest import dying_after, launch_spoilt, mpirun, rows, write_cell
from masked_fixtures import make_samples, write_masked

from strongscale.common.files import read_json
from strongscale.distributed.world import World
from strongscale.settings.config import Checkpoints
from strongscale.training import setup
from strongscale.training.run import train

EXACT = {"reduction": "exact", "microbatch": 1, "batch_size": 8, "max_epochs": 3, "learning_rate": 0.01}


@pytest.fixture
def make(tmp_path):
    """A function that writes the cell.json of a tiny U-Net's run; the cell's folder."""
    task, folder = make_samples(tmp_path, write_masked(tmp_path / "balls", 5, 2))

    def write(workers, name, **settings):
        return write_cell(tmp_path, folder, "strong", workers, task=task, name=name, **EXACT | settings)

    return write


def digests(trainer):
    return [epoch.weights_hash for epoch in trainer.epoch_log.epochs]


def test_every_number_of_workers_has_the_same_bits(make):
    found = set()
    for workers in (1, 2, 4, 8):
        folder = make(workers, f"w{workers}")
        train(folder, World())
        found.add(str(rows(folder)))
    assert len(found) == 1


def test_a_run_that_died_goes_on_with_the_same_bits(make):
    trainers = {name: setup.prepare(make(2, name), World()) for name in ("whole", "second")}
    first = setup.prepare(make(4, "first", max_epochs=1), World())
    trainers["whole"].run()
    first.run()
    trainers["second"].restore(first.state())
    trainers["second"].run()
    assert digests(trainers["second"]) == digests(trainers["whole"])


def test_on_two_ranks_losses_weights_and_dice_are_the_same(make):
    alone, together = make(4, "alone"), make(4, "together")
    train(alone, World())
    answer = mpirun(2, "strongscale.training", together)
    assert answer.returncode == 0, answer.stderr
    assert rows(together) == rows(alone)
    one, other = (read_json(folder / "result.json") for folder in (alone, together))
    assert one["distributions"] == other["distributions"]


@pytest.mark.slow
def test_a_death_and_a_restart_on_other_ranks_change_no_bit(make):
    calm, moved = (make(4, name, checkpoints=Checkpoints(every_epochs=1)) for name in ("calm", "moved"))
    train(calm, World())
    for ranks, epochs in ((1, 1), (4, 2), (2, 3)):
        launch_spoilt(moved, dying_after(epochs) if epochs < 3 else "", ranks)
    assert [attempt["ranks"] for attempt in read_json(moved / "result.json")["history"]] == [1, 4, 2]
    assert rows(moved) == rows(calm)
