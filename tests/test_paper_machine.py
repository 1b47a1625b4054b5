"""The paper's machine, reconstructed: readings have known closed forms, and what is shipped is what the command makes."""

import json
import math

import pytest
from conftest import ROOT

from strongscale.common.schema import plain
from strongscale.paper_machine import __main__ as paper_machine
from strongscale.paper_machine import readings as paper_seconds
from strongscale.paper_machine.readings import (
    FORWARD_SHARE,
    FREE,
    NUM_TRAINING,
    NUM_VALIDATION,
    OBSERVED,
    WORKERS,
    Judged,
    Reading,
    efficiencies,
    epoch_s,
    readings,
    seconds_of,
)
from strongscale.paper_machine.shipped import COMMAND, SHIPPED_STEP_S
from strongscale.settings.config import NETWORKS
from strongscale.settings.timed import path_of, shipped
from strongscale.timing.emulation import Emulation
from strongscale.timing.timings import read_timings

STEP_S = 32.0
STEPS = 58
"""Of an epoch: 57 of 32 samples and one of 26."""


@pytest.fixture(scope="module")
def by_key():
    return {reading.key: reading for reading in readings(SHIPPED_STEP_S)}


def samples(workers):
    """Of the worker that has most of them."""
    return 57 * 32 / workers + math.ceil(26 / workers)


def shared(workers):
    """Samples by which the evaluation of 256 holds up a worker that has its share."""
    return FORWARD_SHARE * NUM_VALIDATION / workers


def assert_epochs_last(machine, seconds):
    for workers in (1, *WORKERS):
        assert epoch_s(machine, workers) == pytest.approx(seconds(workers), rel=1e-6)


def test_shared_out_evaluation_and_free_messages_cost_no_efficiency():
    machine = Emulation(timings=seconds_of(STEP_S), network=FREE)
    assert_epochs_last(machine, lambda n: samples(n) + shared(n))
    assert efficiencies(machine)[2] == pytest.approx(100)


def test_evaluation_everywhere_is_amdahls_law():
    machine = Emulation(timings=seconds_of(STEP_S), network=FREE, evaluation="everywhere")
    assert_epochs_last(machine, lambda n: samples(n) + FORWARD_SHARE * NUM_VALIDATION)
    serial = FORWARD_SHARE * NUM_VALIDATION / (NUM_TRAINING + FORWARD_SHARE * NUM_VALIDATION)
    assert efficiencies(machine) == pytest.approx({n: 100 / (1 + serial * (n - 1)) for n in WORKERS}, abs=0.5)


def test_an_overhead_is_paid_every_step():
    machine = Emulation(timings=seconds_of(STEP_S, overhead_share=0.25), network=FREE)
    assert_epochs_last(machine, lambda n: 0.25 * STEP_S * STEPS + 0.75 * (samples(n) + shared(n)))


@pytest.mark.parametrize(("key", "exchanges"), [("d log", math.log2), ("d one", lambda n: n - 1)])
def test_messages_cost_what_their_reading_says(key, exchanges):
    machine = next(reading for reading in readings(STEP_S) if reading.key == key).machine(0.01)
    messages = STEPS + 2  # and the losses of both sets, once an epoch
    assert_epochs_last(machine, lambda n: samples(n) + shared(n) + messages * 0.01 * STEP_S * exchanges(n))


def test_one_worker_that_collects_all_gradients_pays_for_each():
    machine = next(reading for reading in readings(STEP_S) if reading.key == "g").chosen
    exchange_s = 2 * (50e-6 + 4.8e6 / 117e6)
    assert_epochs_last(machine, lambda n: samples(n) + shared(n) + (STEPS + 2) * exchange_s * (n - 1))


def test_a_slower_network_and_a_shorter_step_are_the_same_to_ratios(by_key):
    assert by_key["d"].judged.predicted == pytest.approx(by_key["f"].judged.predicted, abs=0.1)
    assert by_key["d"].value == pytest.approx(SHIPPED_STEP_S / by_key["f"].value, rel=0.02)


def test_a_fit_finds_the_number_that_made_the_efficiencies(by_key):
    reading = by_key["c"]
    assert reading.fit(efficiencies(reading.machine(0.02))) == pytest.approx(0.02, rel=1e-3)


def test_no_other_value_fits_better(by_key):
    for reading in by_key.values():
        if reading.bounds:
            best = reading.judged.root_mean_square
            for factor in (0.3, 0.9, 1.1, 3):
                other = Judged(efficiencies(reading.machine(factor * reading.value)))
                assert other.root_mean_square > best, reading.key


def test_errors_are_in_points_of_per_cent():
    judged = Judged({workers: value + (3 if workers == 2 else -1) for workers, value in OBSERVED.items()})
    assert judged.errors == pytest.approx([3, -1, -1, -1, -1])
    assert judged.root_mean_square == pytest.approx(math.sqrt(13 / 5))
    assert judged.largest == pytest.approx(3)


def test_another_first_run_changes_all_efficiencies_alike():
    judged = Judged({workers: value / 2 for workers, value in OBSERVED.items()})
    assert judged.with_another_first.root_mean_square == pytest.approx(0, abs=1e-9)


def test_the_nearest_that_never_rises_pools_what_does():
    pooled = (OBSERVED[4] + OBSERVED[8]) / 2
    expected = {2: 100.0, 4: pooled, 8: pooled, 16: OBSERVED[16], 32: OBSERVED[32]}
    assert paper_seconds.monotone().predicted == pytest.approx(expected)


def test_weak_scalings_epochs_follow_from_table_two():
    reading = Reading("", "", lambda _: Emulation(timings=seconds_of(STEP_S), network=FREE))
    one, most = samples(1) + shared(1), 32 + 26 + shared(32)
    assert reading.weak_epochs()[32] == pytest.approx(100 / (32 * 9.45) * one / most, rel=1e-6)
    assert reading.sequential_epochs_at_most() == pytest.approx(400 / reading.weak_epochs()[32])


def test_the_least_unshared_share_allows_a_hundred_epochs():
    share = paper_seconds.unshared_share_at_least()
    forward = share / (1 - share) * NUM_TRAINING / NUM_VALIDATION
    reading = Reading(
        "",
        "",
        lambda _: Emulation(timings=seconds_of(STEP_S, forward_share=forward), network=FREE, evaluation="everywhere"),
    )
    assert reading.sequential_epochs_at_most() == pytest.approx(100, rel=1e-6)


def test_a_week_holds_the_epochs_it_is_read_as():
    for epochs in paper_seconds.EPOCHS_OF_A_WEEK:
        machine = Emulation(timings=seconds_of(paper_seconds.step_of_a_week_s(epochs)), network=FREE)
        assert epochs * epoch_s(machine, 1) == pytest.approx(7 * 24 * 3600)


def test_the_page_and_its_numbers_are_what_the_command_makes(tmp_path):
    paper_machine.main(["--output", str(tmp_path / "paper_machine")])
    for name in ("paper_machine.md", "paper_machine.csv"):
        made, kept = ((folder / name).read_text(encoding="utf-8") for folder in (tmp_path, ROOT / "docs"))
        assert made == kept, f"{name}: run `{COMMAND}`"


@pytest.mark.parametrize("name", ["paper_k80", "modern_gpu"])
def test_shipped_timings_are_what_the_command_makes(name):
    made = paper_machine.shipped_files()[f"{name}.json"]
    assert name in shipped()
    assert json.loads(path_of(name).read_text(encoding="utf-8")) == plain(made), f"run `{COMMAND}`"
    timings = read_timings(path_of(name))
    assert timings == made
    assert timings.origin in timings.label
    assert "nothing of it was measured" in timings.doubts[0]


def test_the_shipped_k80_gives_the_chosen_readings_efficiencies(by_key):
    machine = Emulation(
        timings=read_timings(path_of("paper_k80")), network=NETWORKS["gigabit"], evaluation="everywhere"
    )
    assert efficiencies(machine) == pytest.approx(by_key["b"].judged.predicted, abs=0.01)


def test_the_assumed_gpu_takes_milliseconds_whatever_the_shard():
    timings = read_timings(path_of("modern_gpu"))
    seconds = {timings.step_s(size) for size in range(1, 33)}
    assert len(seconds) == 1
    assert 1e-3 <= seconds.pop() <= 10e-3
    assert timings.step_s(1024) > timings.step_s(512) > timings.step_s(32)
