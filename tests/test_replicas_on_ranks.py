"""Learners with weights of their own on ranks: the same bits whoever carries whom, killed in between or not."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import launch_spoilt, mpirun, rows
from emulation_fixtures import emulation, seconds_of, timings
from replica_fixtures import BATCH, RATE, RULES, STEPS, begun, centres, drawn
from test_tree import Rank, Threads

from strongscale.common.files import read_json
from strongscale.distributed.world import World
from strongscale.recovery.checkpoint import Checkpoint
from strongscale.settings.config import NETWORKS, Checkpoints
from strongscale.timing.steps import read_steps
from strongscale.training import setup
from strongscale.training.run import train


@pytest.mark.parametrize("name", RULES)
def test_the_exact_path_is_the_fast_one_but_for_rounding(name):
    samples = drawn(STEPS, BATCH)
    exact, fast = (
        centres(begun(RULES[name], 3, samples, microbatch=size), [RATE] * STEPS, BATCH) for size in (2, None)
    )
    np.testing.assert_allclose(exact, fast, rtol=1e-5)


@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.parametrize("each", [1, 3])
def test_the_sum_over_learners_has_the_same_bits_on_any_number_of_ranks(ranks, each):
    parts = torch.randn(5 * each, 7, generator=torch.Generator().manual_seed(1)) * 1e3

    def total(world):
        reduction = begun("synchronous", 5, drawn(1, 5), microbatch=1).engine.reduction
        reduction.world = world
        own = reduction.own_workers
        return reduction.add_up([part.clone() for part in parts[each * own.start : each * own.stop]], each)

    threads = Threads(ranks)
    with ThreadPoolExecutor(ranks) as pool:
        found = list(pool.map(lambda rank: total(Rank(threads, rank)), range(ranks)))
    assert all(torch.equal(one, total(World())) for one in found)


def hashes(folder):
    return [row["weights_hash"] for row in rows(folder)]


@pytest.mark.parametrize(
    ("name", "ranks"),
    [("sma", 2), *(pytest.param(name, 4, marks=pytest.mark.slow) for name in RULES)],
)
def test_training_has_the_same_bits_on_any_number_of_ranks(make_cell, name, ranks):
    """Four workers; 50 samples in minibatches of 16 a worker, so the last one doesn't divide."""
    settings = {"reduction": "exact", "microbatch": 2, "update": RULES[name], "batch_size": 5}
    alone, together = (make_cell(name, 4, name=label, **settings) for label in ("alone", "together"))
    train(alone, World())
    answer = mpirun(ranks, "strongscale.training", together)
    assert answer.returncode == 0, answer.stderr
    assert len(set(hashes(alone))) == 3
    assert hashes(together) == hashes(alone)


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_learners_with_a_minibatch_each_have_the_same_bits_on_any_number_of_ranks(make_cell, ranks):
    """Four workers with three learners of two samples each."""
    settings = {"reduction": "exact", "parameters": {"learners": 3}, "batch_size": 2, "max_epochs": 2}
    alone, together = (make_cell("sma", 4, name=label, **settings) for label in ("alone", "together"))
    train(alone, World())
    answer = mpirun(ranks, "strongscale.training", together)
    assert answer.returncode == 0, answer.stderr
    assert read_json(alone / "result.json")["minibatch"] == 24
    assert hashes(together) == hashes(alone)


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_fast_sums_on_ranks_are_those_of_one_but_for_rounding(make_cell, name):
    alone, together = (make_cell(name, 4, name=label, update=RULES[name]) for label in ("alone", "together"))
    train(alone, World())
    answer = mpirun(2, "strongscale.training", together)
    assert answer.returncode == 0, answer.stderr
    found = [[float(row["validation_loss"]) for row in rows(folder)] for folder in (alone, together)]
    np.testing.assert_allclose(*found, rtol=1e-4)


# --- going on


@pytest.mark.parametrize("name", RULES)
def test_a_run_that_died_goes_on_with_the_same_bits(run_cell, make_cell, name):
    settings = {"update": RULES[name] | {"every": 3}, "reduction": "exact", "batch_size": 4}
    whole = run_cell(name, 3, name="whole", **settings)
    first = run_cell(name, 3, name="first", max_epochs=1, **settings)
    second = setup.prepare(make_cell(name, 3, name="second", **settings), World())
    second.restore(Checkpoint.from_bytes(first.state().to_bytes()))
    second.run()
    told = [[epoch.weights_hash for epoch in trainer.epoch_log.epochs] for trainer in (second, whole)]
    assert told[0] == told[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_a_run_that_died_goes_on_on_other_ranks_with_the_same_bits(make_cell, name):
    """Four workers on one rank, killed; on two, killed; on three."""
    settings = {"update": RULES[name], "reduction": "exact", "batch_size": 5}
    calm, moved = (
        make_cell(name, 4, name=label, checkpoints=Checkpoints(every_epochs=1), **settings)
        for label in ("calm", "moved")
    )
    train(calm, World())
    for ranks, epochs in ((1, 1), (2, 2), (3, 3)):
        killed_after = f"""
            import signal
            from strongscale.training import stopping
            judge = stopping.judge
            def until(training, validation, **others):
                if len(validation) == {epochs} < 3: os.kill(os.getpid(), signal.SIGKILL)
                return judge(training, validation, **others)
            stopping.judge = until
        """
        launch_spoilt(moved, killed_after, ranks)
    assert [attempt["ranks"] for attempt in read_json(moved / "result.json")["history"]] == [1, 2, 3]
    assert hashes(moved) == hashes(calm)


# --- what they cost


def test_learners_of_a_worker_take_their_passes_one_after_another_on_the_clock(make_cell):
    """48 of 50 samples in three minibatches, 4 a learner; of the last 2 the first worker's learners have one each."""
    folder = make_cell("sma", 2, update={"kind": "sma", "learners": 2}, batch_size=8, max_epochs=2)
    train(folder, World())
    whole_s, last_s = 2 * timings().step_s(4), 2 * timings().step_s(1)
    assert seconds_of(folder).compute == pytest.approx(2 * (3 * whole_s + last_s))


def test_sums_that_travel_while_workers_compute_cost_no_time(make_cell):
    """At a gigabit, and steps of seconds: elastic averaging waits for its epochs' losses alone, the mean for itself too."""
    told = []
    for name in ("easgd", "local"):
        folder = make_cell(name, 2, update={"kind": name, "every": 1})
        train(folder, World())
        steps = read_steps(folder / "steps.json")
        told.append(
            seconds_of(folder).communication - len(steps.epochs) * emulation(NETWORKS["gigabit"]).losses_s(steps)
        )
    assert told[0] == pytest.approx(0, abs=1e-12)
    assert told[1] > 0
