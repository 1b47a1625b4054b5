"""The emulated clock: seconds of steps, timings and a network, the same wherever they are computed."""

import math
from dataclasses import replace

import pytest
from emulation_fixtures import NO_NETWORK, emulation, timings

from strongscale.common.errors import UserError
from strongscale.common.schema import build, plain
from strongscale.settings.config import NETWORKS, Network
from strongscale.timing.emulation import LOSS_BYTES
from strongscale.timing.network import all_reduce_s
from strongscale.timing.steps import Kind, Steps
from strongscale.timing.timings import Duration, Several, Timings
from strongscale.updates.base import Message
from strongscale.updates.synchronous import Synchronous

BYTES = 4000
LATENCY = Network(latency_s=1.0, bandwidth_bytes_per_s=1e300, workers_per_host=1)
"""A message between two workers takes two seconds, however long it is."""


def steps(workers, sizes=(8, 8, 4), num_epochs=1, num_validation=8):
    kinds, each = [], []
    for size in dict.fromkeys(sizes):
        work = Synchronous().work(size, workers, BYTES)
        kinds.append(Kind(size, work.passes, work.messages, work.num_updates))
        each.append((len(kinds) - 1, sizes.count(size)))
    return Steps(
        workers=workers,
        num_training=sum(sizes),
        num_validation=num_validation,
        evaluation_chunk=4,
        gradient_bytes=BYTES,
        kinds=tuple(kinds),
        epochs=(tuple(each),) * num_epochs,
    )


def one_kind(passes, messages=(), num_updates=1):
    return Kind(sum(map(sum, passes)), tuple(passes), tuple(messages), num_updates)


def test_the_same_inputs_give_the_same_seconds_to_the_last_digit():
    one, again = (list(emulation(NETWORKS["gigabit"], stragglers=0.05).clock(steps(4, num_epochs=7))) for _ in "ab")
    assert one == again
    assert [seconds.total.hex() for seconds in one] == [seconds.total.hex() for seconds in again]


def test_one_worker_takes_its_steps_its_evaluation_and_its_bookkeeping():
    device = timings()
    first, second = emulation().clock(steps(1, num_epochs=2))
    compute_s = 2 * device.step_s(8) + device.step_s(4)
    assert first.compute == compute_s
    assert first.evaluation == 2 * device.evaluation_s(4)
    assert first.communication == 0
    assert first.total == compute_s + first.evaluation + device.epoch.seconds
    assert second.total == 2 * first.total


def test_one_worker_says_nothing_on_any_network():
    assert list(emulation(NETWORKS["gigabit"]).clock(steps(1))) == list(emulation().clock(steps(1)))


def test_seconds_rise_epoch_by_epoch():
    told = [seconds.total for seconds in emulation().clock(steps(2, num_epochs=5))]
    assert told == sorted(set(told))
    assert len(told) == 5


def test_the_slowest_worker_counts_where_shards_are_uneven():
    compute_s, _ = emulation().step(one_kind([(3,), (2,), (2,)]))
    assert compute_s == pytest.approx(timings().step_s(3))


def test_a_step_waits_for_its_messages_one_after_another():
    messages = [Message(BYTES, 2), Message(BYTES, 2)]
    assert emulation(LATENCY).step(one_kind([(4,), (4,)], messages)) == (timings().step_s(4), 4.0)


def test_a_message_that_travels_while_workers_compute_hides_behind_them():
    computed_s = timings().step_s(4)
    slow = replace(LATENCY, latency_s=computed_s)  # a message lasts twice as long as the step
    hidden = [Message(BYTES, 2, is_overlapped=True)]
    assert emulation(LATENCY).step(one_kind([(4,), (4,)], hidden)) == (computed_s, 0.0)
    assert emulation(slow).step(one_kind([(4,), (4,)], hidden)) == (computed_s, pytest.approx(computed_s))


def test_a_message_after_the_step_never_hides():
    both = [Message(BYTES, 2, is_overlapped=True), Message(BYTES, 2)]
    assert emulation(LATENCY).step(one_kind([(4,), (4,)], both))[1] == 2.0


def test_several_passes_have_one_update_unless_the_step_tells_more():
    device = timings()
    update_s = device.update.seconds
    one_s, _ = emulation().step(one_kind([(4, 4)]))
    assert one_s == pytest.approx(2 * device.step_s(4) - update_s)
    two_s, _ = emulation().step(one_kind([(4, 4)], num_updates=2))
    assert two_s == pytest.approx(2 * device.step_s(4))
    none_s, _ = emulation().step(one_kind([(4, 4)], num_updates=0))
    assert none_s == pytest.approx(2 * device.step_s(4) - 2 * update_s)


def test_an_empty_shard_takes_the_update_alone():
    compute_s, _ = emulation().step(one_kind([(0,)]))
    assert compute_s == timings().update.seconds


def test_evaluation_is_shared_out_by_whole_chunks():
    device = timings()
    of = {workers: emulation().evaluation_s(steps(workers, num_validation=10)) for workers in (1, 2, 3, 8)}
    chunks_s = [device.evaluation_s(4), device.evaluation_s(4), device.evaluation_s(2)]
    assert of[1] == sum(chunks_s)
    assert of[2] == chunks_s[0] + chunks_s[2]  # of the worker that has most
    assert of[3] == of[8] == chunks_s[0]


def test_evaluation_everywhere_takes_all_workers_as_long_as_one():
    everywhere = emulation(LATENCY, evaluation="everywhere")
    alone_s = emulation().evaluation_s(steps(1))
    assert {everywhere.evaluation_s(steps(workers)) for workers in (1, 2, 32)} == {alone_s}


def test_losses_that_each_worker_has_itself_are_not_sent():
    network = Network(latency_s=0, bandwidth_bytes_per_s=1.0, workers_per_host=1)
    own, shared = (emulation(network, evaluation=who).losses_s(steps(2)) for who in ("everywhere", "shared"))
    assert own == all_reduce_s(network, 2, LOSS_BYTES * 20)
    assert shared == own + all_reduce_s(network, 2, LOSS_BYTES * 8)


def test_who_evaluates_is_the_studys_word_then_the_timings():
    everywhere = timings(who_evaluates="everywhere")
    assert emulation().who_evaluates == "shared"
    assert emulation(timings=everywhere).who_evaluates == "everywhere"
    assert emulation(timings=everywhere, evaluation="shared").who_evaluates == "shared"


def test_the_parts_and_the_bookkeeping_are_the_whole():
    *_, last = emulation(NETWORKS["gigabit"], stragglers=0.1).clock(steps(4, num_epochs=3))
    parts_s = last.compute + last.communication + last.evaluation
    assert last.total == pytest.approx(parts_s + 3 * timings().epoch.seconds)


def test_communication_is_what_the_network_model_says():
    network = NETWORKS["gigabit"]
    (seconds,) = emulation(network).clock(steps(4))
    losses_s = all_reduce_s(network, 4, LOSS_BYTES * 20) + all_reduce_s(network, 4, LOSS_BYTES * 8)
    assert seconds.communication == pytest.approx(3 * all_reduce_s(network, 4, BYTES) + losses_s)


# --- the slowest of many


def test_without_stragglers_all_workers_are_equally_fast():
    assert emulation().slowest_of(32) == 1.0


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.5])
def test_one_worker_is_never_slower_than_itself(spread):
    assert emulation(stragglers=spread).slowest_of(1) == pytest.approx(1.0)


def test_the_slowest_of_32_workers_takes_about_an_eighth_longer_with_a_spread_of_a_twentieth():
    assert 1.10 < emulation(stragglers=0.05).slowest_of(32) < 1.12


def test_the_slowest_is_slower_the_more_there_are():
    factors = [emulation(stragglers=0.05).slowest_of(workers) for workers in (1, 2, 4, 8, 16, 32)]
    assert factors == sorted(set(factors))


def test_the_slowest_is_slower_the_more_they_spread():
    factors = [emulation(stragglers=spread).slowest_of(8) for spread in (0.0, 0.05, 0.2, 1.0)]
    assert factors == sorted(set(factors))
    assert factors[0] == pytest.approx(1.0)


def test_a_spread_as_measured_is_that_of_the_laps():
    measured = emulation(timings=timings(draws=(0.5, 1.5)), stragglers="measured")
    assert measured.slowest_of(1) == pytest.approx(1.0)
    assert measured.slowest_of(2) == pytest.approx(0.25 * 0.5 + 0.75 * 1.5)
    assert measured.slowest_of(1000) == pytest.approx(1.5)


def test_stragglers_as_measured_need_laps():
    with pytest.raises(UserError, match="stragglers: measured isn't allowed, for these timings tell no laps"):
        emulation(stragglers="measured").slowest_of(2)


def test_stragglers_make_steps_longer_and_neither_messages_nor_evaluation():
    (calm,), (late,) = (emulation(LATENCY, stragglers=spread).clock(steps(4)) for spread in (None, 0.05))
    factor = emulation(stragglers=0.05).slowest_of(4)
    assert late.compute == pytest.approx(factor * calm.compute)
    assert (late.communication, late.evaluation) == (calm.communication, calm.evaluation)


# --- durations between those that are known


def test_a_size_that_was_measured_is_as_measured():
    assert [timings().step_s(size) for size in (1, 2, 16)] == [1.5, 2.0, 9.0]


def test_between_two_sizes_and_beyond_the_largest_it_is_a_straight_line():
    device = timings(steps=(Duration(samples=2, seconds=1.0), Duration(samples=6, seconds=3.0)))
    assert [device.step_s(size) for size in (3, 4, 5)] == [1.5, 2.0, 2.5]
    assert device.step_s(10) == 5.0


def test_below_the_smallest_size_it_is_as_long_as_that():
    device = timings(steps=(Duration(samples=4, seconds=1.0), Duration(samples=8, seconds=3.0)))
    assert device.step_s(1) == 1.0


def test_a_larger_step_is_never_shorter_though_it_was_measured_so():
    device = timings(steps=(Duration(samples=4, seconds=1.0), Duration(samples=8, seconds=0.9)))
    assert (device.step_s(6), device.step_s(100)) == (1.0, 1.0)


def test_one_size_alone_makes_a_line_through_nothing():
    device = timings(evaluation=(Duration(samples=4, seconds=2.0),))
    assert (device.evaluation_s(8), device.evaluation_s(2)) == (4.0, 2.0)


def test_seconds_are_finite_for_any_number_of_workers():
    for workers in (1, 3, 7, 20, 1000):
        (seconds,) = emulation(NO_NETWORK, stragglers=0.05).clock(steps(workers))
        assert math.isfinite(seconds.total)


# --- several learners of a worker

FOUR = (Several(learners=2, samples=4, seconds=1.5), Several(learners=2, samples=3, seconds=1.25))


def learning(*passes, num_updates=2, **changes):
    """The seconds of a worker's step with these passes on a device that knows two learners."""
    return emulation(timings=timings(learners=FOUR), **changes).step(one_kind(passes, num_updates=num_updates))[0]


def test_learners_take_as_long_as_was_measured_with_as_many_of_them():
    assert learning((2, 2)) == 1.5
    assert learning((2, 1)) == 1.25
    assert learning((2, 2), (2, 1)) == 1.5  # the slowest worker's


@pytest.mark.parametrize("passes", [(2, 2, 2), (4, 4), (3, 1), (4,)])
def test_learners_that_were_not_measured_take_their_passes_and_updates_one_after_another(passes):
    kind = one_kind([passes], num_updates=len(passes))
    assert learning(passes, num_updates=len(passes)) == emulation().step(kind)[0]


def test_passes_with_one_update_together_are_no_learners():
    assert learning((2, 2), num_updates=1) == emulation().step(one_kind([(2, 2)]))[0]


def test_a_file_of_timings_that_knows_no_learners_says_nothing_of_them():
    assert "learners" not in plain(timings())
    assert build(Timings, plain(timings(learners=FOUR)), "") == timings(learners=FOUR)
