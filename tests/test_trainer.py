"""The training loop: the same path however the work is shared out."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import environment, mostly_slow, mpirun, write_dataset
from emulation_fixtures import seconds_of, timings

from strongscale.common.errors import UserError
from strongscale.distributed.world import World
from strongscale.tasks.autoencoding import msle
from strongscale.timing.steps import read_steps
from strongscale.training import sampler, setup
from strongscale.training.run import train


def losses(trainer):
    """The validation losses of a run, epoch by epoch."""
    return np.array(trainer.epoch_log.validation)


@pytest.mark.parametrize("workers", [2, 3, 7, 16])  # 16: one sample a worker; the last batch has 2 samples
def test_strong_scaling_follows_the_sequential_path(run_cell, workers):
    sequential, strong = run_cell("sequential"), run_cell("strong", workers)
    np.testing.assert_allclose(losses(strong), losses(sequential), rtol=1e-4)
    np.testing.assert_allclose(strong.epoch_log.training, sequential.epoch_log.training, rtol=1e-4)


def test_a_step_is_adam_on_the_mean_gradient_of_the_whole_minibatch(run_cell):
    """Against plain PyTorch: one model, one batch, the mean of the samples' losses."""
    trainer = run_cell("strong", 3, max_epochs=1)
    expected = setup.prepare(trainer.epoch_log.path.parent, World())
    model, (cubes,) = expected.model, expected.training
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for minibatch in torch.from_numpy(sampler.epoch_order(len(cubes), 1, 0)).split(16):
        optimizer.zero_grad()
        msle(model(cubes[minibatch]), cubes[minibatch]).mean().backward()
        optimizer.step()
    for ours, theirs in zip(trainer.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_loss_is_the_papers(run_cell):
    prediction, cubes = torch.rand(3, 4, 4, 4), torch.rand(3, 4, 4, 4)
    expected = [
        np.mean((np.log(1 + p) - np.log(1 + c)) ** 2) for p, c in zip(prediction.numpy(), cubes.numpy(), strict=True)
    ]
    np.testing.assert_allclose(msle(prediction, cubes), expected, rtol=1e-5)


def test_weak_scaling_takes_larger_minibatches_at_the_same_rate(run_cell):
    trainer = run_cell("weak", 2)
    assert [epoch.step for epoch in trainer.epoch_log.epochs] == [2, 4, 6]  # 50 samples in batches of 32
    assert {epoch.learning_rate for epoch in trainer.epoch_log.epochs} == {0.003}
    assert [epoch.samples for epoch in trainer.epoch_log.epochs] == [50, 100, 150]


def test_the_linear_rule_takes_n_times_the_rate(run_cell):
    assert run_cell("linear", 2, max_epochs=1).epoch_log.epochs[0].learning_rate == pytest.approx(0.006)


def test_warmup_raises_the_rate_step_by_step(run_cell):
    trainer = run_cell("warmup", 2, parameters={"epochs": 2})
    assert [epoch.learning_rate for epoch in trainer.epoch_log.epochs] == pytest.approx([0.00375, 0.00525, 0.006])


def test_the_validation_loss_is_that_of_every_sample_once(run_cell):
    trainer = run_cell("sequential", max_epochs=1)
    with torch.no_grad():
        each = [float(msle(trainer.model(cube[None]), cube[None])) for cube in trainer.evaluation.validation[0]]
    assert len(each) == 19
    assert losses(trainer)[0] == pytest.approx(np.mean(each), rel=1e-5)


def test_training_learns(run_cell):
    trainer = run_cell("sequential", max_epochs=10)
    assert losses(trainer)[-1] < 0.6 * trainer.null_loss


def test_two_dimensions_and_one_train_too(make_cell):
    for dimensions in (2, 1):
        folder = make_cell("strong", 2, max_epochs=1, name=f"flat{dimensions}")
        raw = json.loads((folder / "cell.json").read_text())
        raw["model"]["dimensions"] = dimensions
        (folder / "cell.json").write_text(json.dumps(raw))
        trainer = setup.prepare(folder, World())
        trainer.run()
        assert trainer.training[0].ndim == 1 + dimensions
        assert np.isfinite(losses(trainer)).all()


def test_a_rate_far_too_high_is_diverged_and_not_a_crash(make_cell):
    folder = make_cell("sequential", learning_rate=1e30, max_epochs=20)
    train(folder, World())
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "diverged"
    assert result["diverged_because"] in ("not finite", "collapsed")


def test_a_result_tells_its_whole_story(make_cell):
    folder = make_cell("strong", 3, target=0.0019, max_epochs=9, learning_rate=0.01)
    train(folder, World())
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "converged"
    assert (result["epochs_to_target"], result["samples_to_target"]) == (result["epochs"], 50 * result["epochs"])
    assert result["best_validation_loss"] < result["target_loss"] < result["constant_loss"] < result["null_loss"]
    assert result["clock"] == "emulated"
    assert result["trajectory"] == "tiny/cells/strong/03workers/seed1"
    assert result["ranks"] == 1
    assert result["workers"] == 3
    for key in ("hosts", "device", "versions", "settings_hash", "code_hash", "started_at", "startup_s"):
        assert result[key]
    made = {"epochs.csv", "steps.json", "weights.safetensors", "result.json"}
    assert {path.name for path in folder.iterdir()} == {"cell.json", *made}


def test_a_run_that_goes_on_tells_when_it_first_reached_its_target(make_cell):
    stopped, longer = (
        make_cell(name=name, target=0.0019, max_epochs=12, learning_rate=0.01, stop_at_target=stop)
        for name, stop in (("stopped", True), ("longer", False))
    )
    for folder in (stopped, longer):
        train(folder, World())
    one, other = (json.loads((folder / "result.json").read_text()) for folder in (stopped, longer))
    assert one["status"] == other["status"] == "converged"
    assert one["epochs_to_target"] == other["epochs_to_target"] == one["epochs"] < other["epochs"] == 12
    assert one["samples_to_target"] == other["samples_to_target"]


def test_an_emulated_run_tells_no_seconds_but_its_steps(make_cell):
    folder = make_cell("strong", 4)
    train(folder, World())
    header = (folder / "epochs.csv").read_text().splitlines()[0].split(",")
    assert header == ["epoch", "step", "samples", "learning_rate", "training_loss", "validation_loss", "weights_hash"]
    result = json.loads((folder / "result.json").read_text())
    assert {"time_s", "time_to_target_s", "parts", "network"}.isdisjoint(result)
    steps = read_steps(folder / "steps.json")
    assert [kind.passes for kind in steps.kinds] == [
        ((4,),) * 4,
        ((1,), (1,), (0,), (0,)),
    ]  # of 16 and the last 2 samples
    assert steps.epochs == (((0, 3), (1, 1)),) * 3


def test_emulated_seconds_are_the_sum_of_their_parts(make_cell):
    folder = make_cell("strong", 4)
    train(folder, World())
    seconds = seconds_of(folder)
    bookkeeping_s = 3 * timings().epoch.seconds
    assert seconds.total == pytest.approx(
        seconds.compute + seconds.communication + seconds.evaluation + bookkeeping_s, rel=1e-12
    )
    assert min(seconds.compute, seconds.communication, seconds.evaluation) > 0


def test_wall_seconds_hold_their_parts(run_cell):
    last = run_cell("sequential", clock="wall").epoch_log.epochs[-1].seconds
    assert last.total >= last.compute + last.communication + last.evaluation > 0


def test_a_run_on_the_wall_clock_tells_seconds_and_steps(make_cell):
    folder = make_cell("sequential", clock="wall", target=0.0019, max_epochs=9, learning_rate=0.01)
    train(folder, World())
    table = pd.read_csv(folder / "epochs.csv")
    result = json.loads((folder / "result.json").read_text())
    parts = {name: table[name].iloc[-1] for name in ("compute_s", "communication_s", "evaluation_s")}
    assert (result["time_s"], result["parts"]) == (table["time_s"].iloc[-1], parts)
    assert result["time_to_target_s"] == result["time_s"]
    assert len(read_steps(folder / "steps.json").epochs) == len(table)


@pytest.mark.parametrize("ranks", mostly_slow(3, 2))
def test_ranks_change_nothing_but_rounding(make_cell, run_cell, ranks):
    """Several workers a rank, unevenly: 4 workers on 3 ranks."""
    folder = make_cell("strong", 4)
    answer = mpirun(ranks, "strongscale.training", folder)
    assert answer.returncode == 0, answer.stderr
    rows = np.genfromtxt(folder / "epochs.csv", delimiter=",", names=True)
    alone = run_cell("strong", 4, name="alone")
    np.testing.assert_allclose(rows["validation_loss"], losses(alone), rtol=1e-4)
    assert json.loads((folder / "result.json").read_text())["ranks"] == ranks


def test_the_validation_loss_of_the_same_weights_is_equal_for_every_number_of_ranks(make_cell):
    """At a rate too small to move the weights, only the evaluation is left to differ."""
    values = []
    for ranks in (1, 2, 3):
        folder = make_cell("strong", 3, name=f"ranks{ranks}", learning_rate=1e-30, max_epochs=1)
        if ranks == 1:
            train(folder, World())
        else:
            assert mpirun(ranks, "strongscale.training", folder).returncode == 0
        values.append((folder / "epochs.csv").read_text().splitlines()[1].split(",")[5])
    assert len(set(values)) == 1


def test_the_wall_clock_runs_a_rank_a_worker(make_cell):
    folder = make_cell("weak", 2, clock="wall")
    answer = mpirun(2, "strongscale.training", folder)
    assert answer.returncode == 0, answer.stderr
    result = json.loads((folder / "result.json").read_text())
    assert (result["clock"], result["ranks"]) == ("wall", 2)
    assert result["parts"]["communication_s"] > 0


def test_the_log_has_a_line_an_epoch_with_the_time_left(make_cell):
    answer = mpirun(1, "strongscale.training", make_cell("sequential"))
    lines = [line for line in answer.stderr.splitlines() if " epoch " in line]
    assert len(lines) == 3
    assert "at most" in lines[0]
    assert "exhausted" in lines[-1]


BAD_RUNS = [
    (3, {"workers": 2}, "at most one rank a worker"),
    (1, {"workers": 2, "clock": "wall"}, "on the wall clock this run needs 2"),
]


@pytest.mark.parametrize(("ranks", "settings", "words"), BAD_RUNS)
def test_a_wrong_number_of_ranks_is_refused(make_cell, ranks, settings, words):
    with pytest.raises(UserError, match=words):
        setup.prepare(
            make_cell("strong", **settings), SimpleNamespace(size=ranks, rank=0, local_rank=0, local_size=ranks)
        )


def test_another_data_set_than_the_cells_is_refused(make_cell, tmp_path):
    folder = make_cell("sequential")
    write_dataset(tmp_path / "other", seed=5)
    raw = json.loads((folder / "cell.json").read_text())
    raw["dataset"] = str(tmp_path / "other")
    (folder / "cell.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match="not the data set"):
        setup.prepare(folder, World())


def test_a_missing_cell_is_one_line_and_no_traceback(tmp_path):
    answer = mpirun(1, "strongscale.training", tmp_path / "nowhere")
    assert answer.returncode != 0
    assert "cell.json: no such file" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_run_imports_no_compiler(make_cell):
    """It would take as long as importing PyTorch, at every rank's start."""
    code = "import sys; from strongscale.training.__main__ import main; main(sys.argv[1:]); print(sorted(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code, make_cell("strong", 2, max_epochs=1)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "'torch'" in answer.stdout
    assert "torch._dynamo" not in answer.stdout
