"""Learners with weights of their own, against the equations of the papers written in NumPy."""

import numpy as np
import pytest
import torch
from replica_fixtures import BATCH, RATE, START, STEPS, begun, centres, drawn, gradients

from strongscale.common.errors import UserError
from strongscale.optimizers.sgd import Sgd
from strongscale.strategies.base import Plan


def check(rule, workers, reference, learners, **settings):
    """The rule's centre is the reference's after every step."""
    samples = drawn(STEPS, BATCH)
    found = centres(begun(rule, workers, samples, **settings), [RATE] * STEPS, BATCH)
    minibatches = samples.reshape(STEPS, BATCH, 3)
    np.testing.assert_allclose(found, reference(minibatches, np.tile(START, (learners, 1))), rtol=2e-5, atol=2e-6)


def sma(alpha, momentum, every):
    """CROSSBOW's equations, the difference taken before the gradient step."""

    def run(minibatches, w):
        z, z_before, found = START.copy(), START.copy(), []
        for number, minibatch in enumerate(minibatches, start=1):
            c = alpha * (w - z) if number % every == 0 else 0 * w
            w = w - RATE * gradients(w, minibatch, len(w)) - c
            if number % every == 0:
                z, z_before = z + c.sum(0) + momentum * (z - z_before), z
            found.append(z)
        return found

    return run


@pytest.mark.parametrize(
    ("rule", "workers", "reference", "learners"),
    [
        ({"alpha": 0.3, "momentum": 0.8}, 3, sma(0.3, 0.8, 1), 3),
        ({}, 4, sma(1 / 4, 0.9, 1), 4),
        ({"learners": 3}, 2, sma(1 / 6, 0.9, 1), 6),
        ({"learners": 2, "every": 3, "momentum": 0.5}, 2, sma(1 / 4, 0.5, 3), 4),
    ],
)
def test_model_averaging_is_the_papers(rule, workers, reference, learners):
    check({"kind": "sma", **rule}, workers, reference, learners)


@pytest.mark.parametrize(("alpha", "every"), [(None, 1), (0.2, 4)])
def test_elastic_averaging_is_the_papers(alpha, every):
    check({"kind": "easgd", "alpha": alpha, "every": every}, 3, sma(0.3 if alpha is None else alpha, 0, every), 3)


@pytest.mark.parametrize("every", [1, 5])
def test_local_steps_are_averaged(every):
    def reference(minibatches, w):
        z, found = START, []
        for number, minibatch in enumerate(minibatches, start=1):
            w = w - RATE * gradients(w, minibatch, len(w))
            if number % every == 0:
                z = w.mean(0)
                w = np.tile(z, (len(w), 1))
            found.append(z)
        return found

    check({"kind": "local", "every": every}, 3, reference, 3)


def test_the_outer_step_is_dilocos():
    def reference(minibatches, w):
        z, v, found = START.copy(), 0 * START, []
        for number, minibatch in enumerate(minibatches, start=1):
            w = w - RATE * gradients(w, minibatch, len(w))
            if number % 3 == 0:
                outer = z - w.mean(0)
                v = 0.8 * v + outer
                z = z - 0.6 * (outer + 0.8 * v)
                w = np.tile(z, (len(w), 1))
            found.append(z)
        return found

    check({"kind": "diloco", "every": 3, "outer_rate": 0.6, "outer_momentum": 0.8}, 3, reference, 3)


def test_the_outer_step_is_pytorchs_nesterov():
    samples, theirs = drawn(6, 4), torch.nn.Parameter(torch.tensor(START, dtype=torch.float32))
    outer = torch.optim.SGD([theirs], 0.7, 0.9, nesterov=True)
    update = begun({"kind": "diloco", "every": 1}, 2, samples)
    for number in range(6):
        mean = theirs.detach() - RATE * torch.tensor(
            gradients(np.tile(theirs.detach().numpy(), (2, 1)), samples[4 * number :][:4], 2).mean(0)
        )
        theirs.grad = (theirs.detach() - mean).float()
        outer.step()
        update.step(torch.arange(4 * number, 4 * number + 4), Plan(4, RATE))
        torch.testing.assert_close(update.engine.flat.values.detach(), theirs.detach())


def test_an_outer_rate_of_one_without_momentum_is_the_mean():
    samples = drawn(STEPS, BATCH)
    outer = {"kind": "diloco", "every": 2, "outer_rate": 1.0, "outer_momentum": 0.0}
    found = [centres(begun(rule, 3, samples), [RATE] * STEPS, BATCH) for rule in (outer, {"kind": "local", "every": 2})]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_one_local_step_of_plain_sgd_is_the_synchronous_one():
    samples = drawn(STEPS, BATCH)
    found = [
        centres(begun(rule, 3, samples), [RATE] * STEPS, BATCH)
        for rule in ("synchronous", {"kind": "local", "every": 1})
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


# --- limits


def test_one_learner_without_a_spring_takes_the_sequential_path_to_the_bit():
    samples, momentum = drawn(STEPS, BATCH), Sgd(momentum=0.9)
    alone = begun({"kind": "sma", "alpha": 0.0, "momentum": 0.0}, 1, samples, optimizer=momentum)
    centres(alone, [RATE] * STEPS, BATCH)
    sequential = centres(begun("synchronous", 1, samples, optimizer=momentum), [RATE] * STEPS, BATCH)
    np.testing.assert_array_equal(alone.replicas[0].numpy(), sequential[-1].astype(np.float32))


def test_learners_that_are_given_the_same_batch_stay_equal_and_the_average_follows():
    samples = np.repeat(drawn(STEPS, 1), 4, axis=0)
    update = begun({"kind": "sma", "learners": 2}, 2, samples)
    found = centres(update, [RATE] * STEPS, 4)
    assert all(torch.equal(replica, update.replicas[0]) for replica in update.replicas.values())
    assert np.linalg.norm(found[-1] - update.replicas[0].numpy()) < np.linalg.norm(START - update.replicas[0].numpy())


def test_the_average_moves_from_the_second_step_on():
    samples = drawn(2, 8)
    first, second = centres(begun({"kind": "sma", "momentum": 0.0}, 4, samples), [RATE] * 2, 8)
    np.testing.assert_array_equal(first, START)
    assert np.all(second != START)


def test_local_learners_with_one_worker_are_the_sequential_run_to_the_bit():
    samples = drawn(STEPS, BATCH)
    alone, sequential = (
        centres(begun(rule, 1, samples), [RATE] * STEPS, BATCH)
        for rule in ({"kind": "local", "every": 1}, "synchronous")
    )
    np.testing.assert_array_equal(alone, sequential)


# --- meetings, and what they cost


def test_where_the_rate_falls_learners_start_again_from_the_average():
    update = begun({"kind": "sma"}, 3, drawn(5, 6), optimizer=Sgd(momentum=0.9))
    before = centres(update, [RATE] * 4, 6)[-1].astype(np.float32)
    update.step(torch.arange(24, 30), Plan(6, 0.1 * RATE))
    np.testing.assert_array_equal(
        update.engine.flat.values.detach().numpy(), before
    )  # all were there: no pull, no move
    for number, replica in update.replicas.items():
        gradient = gradients(before, update.engine.training[0][24:].numpy(), 3)[number]
        np.testing.assert_allclose(replica.numpy(), before - 0.1 * RATE * gradient, rtol=1e-5)
        np.testing.assert_allclose(update.states[number]["momentum"].numpy(), gradient, rtol=1e-5, atol=1e-6)


def test_a_smooth_fall_of_the_rate_is_no_new_start():
    update = begun({"kind": "sma"}, 3, drawn(8, 6))
    found = centres(update, RATE * 0.9 ** np.arange(8), 6)
    assert np.all(found[2:] != found[1:-1])


def test_only_meetings_send_messages_and_each_learner_takes_a_pass():
    update = begun({"kind": "sma", "learners": 2, "every": 2}, 2, drawn(2, 7))
    alone, meeting = (update.step(torch.arange(7 * number, 7 * number + 7), Plan(7, RATE)).work for number in range(2))
    assert alone.messages == ()
    assert [(one.num_bytes, one.workers, one.is_overlapped) for one in meeting.messages] == [(12, 2, True)]
    assert (meeting.passes, meeting.num_updates) == (((2, 2), (2, 1)), 2)
    assert update.work(7, 4, 12) is None


def test_a_learner_without_a_sample_stands_still_but_for_its_spring():
    update = begun({"kind": "sma", "momentum": 0.0}, 3, drawn(2, 4))
    update.step(torch.arange(4), Plan(4, RATE))
    replica, centre = update.replicas[2].clone(), update.engine.flat.values.detach().clone()
    step = update.step(torch.arange(4, 6), Plan(4, RATE))
    assert step.passes == ((1,), (1,), (0,))
    torch.testing.assert_close(update.replicas[2], replica - (replica - centre) / 3)


def test_more_learners_than_samples_are_refused():
    update = begun({"kind": "sma", "learners": 4}, 2, drawn(1, 6))
    with pytest.raises(
        UserError, match="'sma': 8 learners are not allowed for a minibatch of 6 samples; allowed: at most one"
    ):
        update.step(torch.arange(6), Plan(6, RATE))


def test_statistics_of_gradients_are_not_to_be_had():
    with pytest.raises(UserError, match="update: 'local' is not allowed for a strategy that reads"):
        begun({"kind": "local"}, 2, drawn(1, 6), measures=True)
