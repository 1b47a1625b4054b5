"""A user's own task, model, strategy, optimizer and update rule: one file each, outside the package, nothing else touched."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import dying_after, launch_spoilt, write_cell
from emulation_fixtures import seconds_of, timings
from own_parts_fixtures import ADDING_UP, DENSE, LINES, SIGNS, cell_of, trained

from strongscale.analysis.consistency import off_plan
from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.schema import build, plain
from strongscale.distributed.world import World
from strongscale.models.base import Model
from strongscale.optimizers.base import Optimizer
from strongscale.optimizers.sgd import Sgd
from strongscale.recovery.finished import read_settings
from strongscale.settings import cells
from strongscale.settings.config import Checkpoints, Study
from strongscale.strategies.base import Strategy
from strongscale.tasks.base import Task
from strongscale.timing.steps import read_steps
from strongscale.training import samples, setup
from strongscale.training.run import train


def test_a_task_of_ones_own_is_trained(own, tmp_path):
    folder = cell_of(
        tmp_path, {"kind": own("lines.py", LINES), "inputs": 2}, batch_size=8, learning_rate=0.1, max_epochs=9
    )
    result = trained(folder)
    assert result["final_validation_loss"] < 0.3 * result["constant_loss"]
    assert result["measures"]["right"] > 0.5
    cell = read_json(folder / "cell.json")
    assert (cell["task"], cell["model"]) == ({"kind": "lines.py", "inputs": 2}, None)
    assert list(cell["files"]) == ["lines.py"]
    assert result["code"]["lines.py"] == cell["files"]["lines.py"]


def test_an_edit_of_ones_own_file_is_another_run(own, tmp_path):
    """The settings' hash is what tells whether a cell is done."""
    first = read_json(cell_of(tmp_path, own("lines.py", LINES)) / "cell.json")
    own("lines.py", LINES + "\n    # edited\n")
    second = read_json(
        write_cell(tmp_path, tmp_path / "results/tiny/samples", task=build(Task, "lines.py", "task")) / "cell.json"
    )
    assert first["files"] != second["files"]
    assert {**first, "files": {}} == {**second, "files": {}}


def test_a_file_that_was_edited_since_is_not_trained_under_the_old_name(own, tmp_path):
    folder = cell_of(tmp_path, own("lines.py", LINES))
    own("lines.py", LINES + "\n    # edited\n")
    with pytest.raises(UserError, match=r"lines.py: changed since .*cell.json was made; run again"):
        train(folder, World())


def test_shared_out_work_on_ones_own_task_has_the_same_bits(own, tmp_path):
    hashes = set()
    for workers in (1, 2, 5):
        settings = {"reduction": "exact", "microbatch": 2, "batch_size": 10, "name": f"w{workers}"}
        folder = cell_of(tmp_path, own("lines.py", LINES), workers=workers, **settings)
        train(folder, World())
        hashes.add((folder / "epochs.csv").read_text().split(",")[-1])
    assert len(hashes) == 1


def test_a_strategy_with_an_update_rule_of_its_own_is_one_file(own, tmp_path, make_cell):
    """With one worker it is the sequential run; a run that died goes on with every worker's own replica."""
    kind = own("local.py", ADDING_UP)
    alone, sequential = make_cell("local", 1, kind=kind, name="alone"), make_cell("sequential", name="sequential")
    assert trained(alone)["final_validation_loss"] == trained(sequential)["final_validation_loss"]
    calm = make_cell("local", 3, kind=kind, parameters={"steps": 3}, name="calm")
    assert trained(calm)["code"]["local.py"]
    often = make_cell("local", 3, kind=kind, parameters={"steps": 1}, name="often")
    trained(often)
    assert seconds_of(often).communication > 2 * seconds_of(calm).communication > 0


def test_workers_of_their_own_go_on_from_a_checkpoint(own, run_cell, make_cell):
    settings = {"kind": own("local.py", ADDING_UP), "parameters": {"steps": 3}}
    whole = run_cell("local", 3, name="whole", **settings)
    first = run_cell("local", 3, name="first", max_epochs=1, **settings)
    second = setup.prepare(make_cell("local", 3, name="second", **settings), World())
    second.restore(first.state())
    second.run()
    assert [epoch.weights_hash for epoch in second.epoch_log.epochs] == [
        epoch.weights_hash for epoch in whole.epoch_log.epochs
    ]


@pytest.mark.slow
def test_workers_of_their_own_go_on_on_other_ranks(own, tmp_path, make_cell):
    """Three workers on one rank, then on two, then on three."""
    settings = {"kind": str(tmp_path / own("local.py", ADDING_UP)), "parameters": {"steps": 3}}
    every = Checkpoints(every_epochs=1)
    calm, moved = (make_cell("local", 3, name=name, checkpoints=every, **settings) for name in ("calm", "moved"))
    whole = trained(calm)
    for ranks, epochs in ((1, 1), (2, 2), (3, 3)):
        launch_spoilt(moved, dying_after(epochs) if epochs < 3 else "", ranks)
    result = read_json(moved / "result.json")
    assert [attempt["ranks"] for attempt in result["history"]] == [1, 2, 3]
    assert result["final_validation_loss"] == pytest.approx(whole["final_validation_loss"], rel=1e-5)


def test_an_optimizer_of_ones_own_is_one_file(own, make_cell):
    kind = own("signs.py", SIGNS)
    optimizer = build(Optimizer, {"kind": kind, "scale": 2.0}, "optimizer")
    result = trained(make_cell("strong", 2, optimizer=optimizer, learning_rate=0.0005))
    assert result["final_validation_loss"] < result["null_loss"]
    assert result["code"]["signs.py"]


def test_a_model_of_ones_own_is_one_file(own, make_cell):
    model = build(Model, {"kind": own("dense.py", DENSE), "width": 6}, "model")
    result = trained(make_cell("strong", 2, model=model, max_epochs=5))
    assert result["final_validation_loss"] == result["best_validation_loss"]


def test_ones_own_file_is_read_back_as_it_was_written(own):
    model = build(Model, {"kind": own("dense.py", DENSE), "width": 6}, "model")
    assert plain(model) == {"kind": "dense.py", "dimensions": 3, "start": "mean", "width": 6}
    assert build(Model, plain(model), "model") == model


# --- ours


def test_momentum_is_pytorchs():
    weights, reference = torch.linspace(-1, 1, 5), torch.nn.Parameter(torch.linspace(-1, 1, 5))
    sgd = Sgd(momentum=0.8, nesterov=True, weight_decay=0.1)
    state, theirs = sgd.start(weights), torch.optim.SGD([reference], 0.1, 0.8, nesterov=True, weight_decay=0.1)
    for step in range(4):
        gradient = torch.arange(5.0) - step
        reference.grad = gradient.clone()
        theirs.step()
        sgd.step(weights, gradient.clone(), state, 0.1, [slice(0, 5)])
    torch.testing.assert_close(weights, reference.detach())


def test_digits_are_told_apart(tmp_path):
    result = trained(cell_of(tmp_path, "digits", batch_size=32, max_epochs=4, evaluation_chunk=40))
    assert result["constant_loss"] == pytest.approx(np.log(10), rel=0.01)
    assert result["measures"]["accuracy"] > 0.8


# --- one worker


def test_a_line_with_an_optimizer_of_its_own_has_its_own_run_with_one_worker():
    lines = {"strong": {}, "warmup": {}, "sgd": {"kind": "strong", "optimizer": "sgd"}}
    study = build(Study, {"task": "digits", "strategies": lines, "workers": [1, 2]}, "study")
    alone = {line: cell.strategy for (line, workers, _), cell in cells.matrix("digits", study).items() if workers == 1}
    assert alone == {"strong": "sequential", "warmup": "sequential", "sgd": "sgd"}


def test_a_strategy_that_plans_otherwise_with_one_worker_has_its_own_run(own):
    text = "from strongscale.strategies.base import Plan, Strategy\n\nclass Half(Strategy):\n    def plan(self, base, progress):\n        return Plan(base.batch // 2, base.rate)\n"
    lines = {"half": {"kind": own("half.py", text)}}
    study = build(Study, {"task": "digits", "strategies": lines, "workers": [1, 2]}, "study")
    assert {cell.strategy for cell in cells.matrix("digits", study).values()} == {"half"}


# --- what a hard look found


def test_many_tensors_keep_their_order(own, tmp_path):
    text = LINES.replace(
        "return (x[:40], y[:40]), (x[40:], y[40:])",
        "more = tuple(y[:40] + i for i in range(12))\n            return (x[:40], y[:40], *more), (x[40:], y[40:], *more)",
    )
    text = text.replace("x, y = batch", "x, y, *more = batch")
    text = text.replace(
        "tuple(y[:40] + i for i in range(12))\n            return (x[:40], y[:40], *more), (x[40:], y[40:], *more)",
        "[y + i for i in range(12)]\n            return (x[:40], y[:40], *(m[:40] for m in more)), (x[40:], y[40:], *(m[40:] for m in more))",
    )
    folder = cell_of(tmp_path, own("lines.py", text))
    (training, _) = (found := samples.read(folder, read_settings(folder))).training, found.validation
    assert [float(tensor[0] - training[1][0]) for tensor in training[2:]] == pytest.approx(list(range(12)), abs=1e-5)


def test_inputs_may_be_the_targets(own, tmp_path):
    text = LINES.replace("return (x[:40], y[:40]), (x[40:], y[40:])", "return (x[:40], x[:40]), (x[40:], x[40:])")
    text = text.replace("nn.Linear(self.inputs, 1)", "nn.Linear(self.inputs, self.inputs)").replace(
        "model(x)[:, 0] - y", "model(x) - y"
    )
    text = text.replace(".square()\n\n        def constant", ".square().mean(1)\n\n        def constant").replace(
        "< 0.5).float()}", "< 0.5).float().mean(1)}"
    )
    assert trained(cell_of(tmp_path, own("lines.py", text)))["status"] == "exhausted"


def test_a_plan_that_remembers_and_counts_is_checked_as_it_was_made(own, make_cell):
    text = "from strongscale.strategies.base import Plan, Strategy\n\nclass Mine(Strategy):\n    def plan(self, base, progress):\n        progress.memory['n'] = progress.memory.get('n', 0) + 1\n        return Plan(base.batch, base.rate * 0.9**progress.step / progress.memory['n'])\n"
    folder = make_cell("mine", 2, kind=own("mine.py", text))
    train(folder, World())
    settings = read_settings(folder)
    epochs = pd.read_csv(folder / "epochs.csv")
    assert list(off_plan(settings, settings.create_strategy(), epochs)) == []
    assert list(off_plan(settings, Strategy(), epochs)) != []


def test_a_state_may_have_any_name(own, make_cell):
    text = SIGNS.replace("return {}", 'return {"weights": torch.zeros_like(weights)}')
    optimizer = build(Optimizer, own("signs.py", text), "optimizer")
    trainer = setup.prepare(make_cell("strong", 2, optimizer=optimizer), World())
    saved = trainer.state()
    weights = trainer.flat.values.detach().clone()
    trainer.flat.values.data.zero_()
    trainer.restore(saved)
    assert torch.equal(trainer.flat.values, weights)


def test_an_update_rule_may_take_several_passes_and_updates_a_step(own, make_cell):
    """Each worker goes through its shard by halves; the emulated clock prices both, and both updates."""
    text = ADDING_UP.replace(
        "losses[shards[worker]] = engine.take_gradient(own)\n                    engine.apply(len(own), plan.rate, self.states[worker])",
        "for half, told in zip(own.tensor_split(2), losses[shards[worker]].tensor_split(2)):\n                        told.copy_(engine.take_gradient(half))\n                        engine.apply(len(half), plan.rate, self.states[worker])",
    ).replace(
        "tuple((shard.stop - shard.start,) for shard in shards), messages)",
        "tuple(tuple(len(half) for half in minibatch[shard].tensor_split(2)) for shard in shards), messages, num_updates=2)",
    )
    assert text.count("tensor_split(2)") == 3
    folder = make_cell("local", 2, kind=own("local.py", text), batch_size=10, max_epochs=2)
    assert trained(folder)["epochs"] == 2
    steps = read_steps(folder / "steps.json")
    assert {(kind.passes, kind.num_updates) for kind in steps.kinds} == {(((3, 2), (3, 2)), 2)}
    step_s = timings().step_s(3) + timings().step_s(2)  # each with one update in it
    assert seconds_of(folder).compute == pytest.approx(2 * 5 * step_s)


def test_the_code_behind_a_run_is_all_that_its_own_files_use(own, make_cell):
    text = "from strongscale.optimizers.sgd import Sgd\nfrom strongscale.strategies.base import Strategy\n\nclass Mine(Strategy):\n    def optimizer(self):\n        return Sgd()\n"
    result = trained(make_cell("mine", 2, kind=own("mine.py", text), max_epochs=1))
    assert {"optimizers/sgd.py", "mine.py"} <= result["code"].keys()
