"""What gradients told: the squared norms of parts and whole, which a strategy's plan may read."""

import json

import pytest
import torch
from conftest import mpirun

from strongscale.distributed.world import World
from strongscale.strategies.base import Plan
from strongscale.tasks.autoencoding import msle
from strongscale.training import setup

EXACT = {"reduction": "exact", "microbatch": 2, "batch_size": 10}

ADAPTIVE = '''
from dataclasses import dataclass
from typing import ClassVar

from strongscale.strategies.base import Plan, Strategy


@dataclass(frozen=True)
class Adaptive(Strategy):
    """A batch that follows the gradients' noise, remembered from step to step."""

    reads_statistics: ClassVar[bool] = True

    def plan(self, base, progress):
        if progress.statistics:
            parts, whole = progress.statistics.part_squares, progress.statistics.square
            noise = sum(parts) / len(parts) / whole
            progress.memory["noise"] = 0.9 * progress.memory.get("noise", 1.0) + 0.1 * noise
        return Plan(max(progress.workers, round(base.batch * progress.memory.get("noise", 1.0))), base.rate)
'''


def squares(model, cubes, parts):
    """The squared norm of the mean gradient of each part, by plain PyTorch."""
    found = []
    for part in parts:
        model.zero_grad()
        msle(model(cubes[part]), cubes[part]).mean().backward()
        found.append(sum(float(parameter.grad.double().square().sum()) for parameter in model.parameters()))
    return found


@pytest.mark.parametrize(("settings", "size"), [(EXACT, 2), ({"batch_size": 10}, 5)], ids=["exact", "fast"])
def test_they_are_those_of_each_part_and_of_the_whole(make_cell, settings, size):
    """A part is a micro-batch, or a worker's shard."""
    trainer = setup.prepare(make_cell("strong", 2, **settings), World())
    engine, minibatch = trainer.update.engine, torch.arange(10)
    expected = setup.prepare(make_cell("strong", 2, name="expected", **settings), World())
    engine.reduction.measures = True
    step = trainer.update.step(minibatch, Plan(10, 0.0))
    (cubes,) = expected.training
    parts = minibatch.split(size)
    assert step.statistics.part_sizes == tuple(len(part) for part in parts)
    assert step.statistics.part_squares == pytest.approx(squares(expected.model, cubes, parts), rel=1e-4)
    assert [step.statistics.square] == pytest.approx(squares(expected.model, cubes, [minibatch]), rel=1e-4)


def test_nobody_pays_for_what_nobody_asked_for(make_cell):
    trainer = setup.prepare(make_cell("strong", 2), World())
    assert trainer.update.step(torch.arange(10), Plan(10, 0.0)).statistics is None


@pytest.fixture
def adaptive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adaptive.py").write_text(ADAPTIVE)
    return {"kind": str(tmp_path / "adaptive.py"), **EXACT}


def test_a_plan_that_reads_them_is_the_same_for_every_number_of_workers_and_ranks(make_cell, adaptive):
    found = []
    for workers, ranks in ((2, 1), (3, 1), (3, 2)):
        folder = make_cell("adaptive", workers, name=f"w{workers}r{ranks}", **adaptive)
        answer = mpirun(ranks, "strongscale.training", folder)
        assert answer.returncode == 0, answer.stderr
        found.append([line.split(",")[1::9] for line in (folder / "epochs.csv").read_text().splitlines()])
    assert found[0] == found[1] == found[2]
    steps = [int(row[0]) for row in found[0][1:]]
    assert steps != [5, 10, 15]  # as many as the base batch takes


def test_a_plan_that_reads_them_goes_on_from_a_checkpoint(make_cell, run_cell, adaptive):
    whole = run_cell("adaptive", 2, name="whole", **adaptive)
    first = run_cell("adaptive", 2, name="first", max_epochs=1, **adaptive)
    second = setup.prepare(make_cell("adaptive", 2, name="second", **adaptive), World())
    second.restore(first.state())
    second.run()
    ours, theirs = ([epoch.weights_hash for epoch in run.epoch_log.epochs] for run in (second, whole))
    assert ours == theirs
    assert second.progress.memory == whole.progress.memory != {}


def test_a_checkpoint_keeps_them(make_cell):
    trainer = setup.prepare(make_cell("strong", 2, **EXACT), World())
    trainer.update.engine.reduction.measures = True
    trainer._take_step(torch.arange(10), Plan(10, 0.001))
    saved = trainer.state()
    again = setup.prepare(make_cell("strong", 2, name="again", **EXACT), World())
    again.restore(type(saved)(saved.tensors, json.loads(json.dumps(saved.values))))
    assert again.progress == trainer.progress
