"""Recorded steps: the same numbers as those computed anew. What records here is a double; a real one needs a GPU."""

import contextlib
import logging

import graph_double
import pytest
import torch
from replica_fixtures import RULES

from strongscale.distributed.world import World
from strongscale.gradients import cuda_graph
from strongscale.optimizers.lamb import Lamb
from strongscale.optimizers.lars import Lars
from strongscale.strategies.base import Plan, Progress, Strategy
from strongscale.timing.stopwatch import HostStopwatch
from strongscale.training import setup
from strongscale.training.epoch_log import Epoch

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

RATE = 2**-8  # the same number in single and in double precision


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is recorded and replayed, by the double."""
    monkeypatch.setattr(cuda_graph, "is_wanted", lambda device: True)
    monkeypatch.setattr(cuda_graph, "_capture", graph_double.capture)


def path(epochs: list[Epoch]) -> list[tuple[float, float, str]]:
    """What a run computes, bit for bit."""
    return [(epoch.training_loss, epoch.validation_loss, epoch.weights_hash) for epoch in epochs]


@pytest.mark.parametrize("reduction", ["fast", "exact"])
@pytest.mark.parametrize(("strategy", "workers"), [("sequential", 1), ("strong", 3), ("weak", 2), ("strong", 16)])
def test_a_recorded_run_is_the_run_itself_to_the_bit(request, run_cell, strategy, workers, reduction):
    """50 samples in minibatches of 16: several sizes of shards, a partial minibatch, a partial chunk of validation."""
    settings = {"reduction": reduction, "learning_rate": RATE}
    expected = run_cell(strategy, workers, name="anew", **settings)
    request.getfixturevalue("recording")
    recorded = run_cell(strategy, workers, name="recorded", **settings)
    assert path(recorded.epoch_log.epochs) == path(expected.epoch_log.epochs)
    assert recorded.evaluation.passes._recordings
    assert recorded.update.engine._recordings


@pytest.mark.parametrize("name", RULES)
def test_recorded_learners_go_their_ways_to_the_bit(request, run_cell, name):
    settings = {"update": RULES[name], "learning_rate": RATE}
    expected = run_cell(name, 3, name="anew", **settings)
    request.getfixturevalue("recording")
    recorded = run_cell(name, 3, name="recorded", **settings)
    assert path(recorded.epoch_log.epochs) == path(expected.epoch_log.epochs)
    assert len(recorded.update.engine._recordings) == recorded.update.num_learners


@pytest.mark.parametrize("optimizer", [Lars(), Lamb()])
def test_a_step_by_layers_can_be_recorded(request, caplog, run_cell, optimizer):
    """It asks for no value: else the step itself would be done, and the log say so."""
    settings = {"optimizer": optimizer, "learning_rate": RATE}
    expected = run_cell("strong", 2, name="anew", **settings)
    request.getfixturevalue("recording")
    cuda_graph._tell.cache_clear()
    recorded = run_cell("strong", 2, name="recorded", **settings)
    assert path(recorded.epoch_log.epochs) == path(expected.epoch_log.epochs)
    assert "no CUDA graph" not in caplog.text


def test_a_rate_that_changes_reaches_a_recorded_step(recording, run_cell):
    trainer = run_cell("warmup", 2, parameters={"epochs": 2})
    rates = [epoch.learning_rate for epoch in trainer.epoch_log.epochs]
    assert rates == pytest.approx([0.00375, 0.00525, 0.006])
    ((_, numbers, _),) = trainer.update.engine._recordings.values()
    assert float(numbers["rate"]) == pytest.approx(0.006)


def test_a_recorded_run_goes_on_from_a_checkpoint(recording, make_cell, run_cell):
    whole = run_cell("strong", 3, name="whole")
    first = run_cell("strong", 3, name="first", max_epochs=1)
    second = setup.prepare(make_cell("strong", 3, name="second"), World())
    second.restore(first.state())
    second.run()
    assert path(second.epoch_log.epochs) == path(whole.epoch_log.epochs)


def test_recording_changes_nothing_by_itself(recording):
    number = torch.tensor([1.0])
    again = cuda_graph.record(lambda: number.add_(1) is None, changes=[number])
    assert number.item() == 1
    again()
    again()
    assert number.item() == 3


def test_work_that_cannot_be_recorded_is_done_all_the_same_and_the_log_says_so_once(recording, caplog):
    number = torch.tensor([1.0])
    cuda_graph._tell.cache_clear()

    def work() -> None:
        number.add_(number.item())

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            again = cuda_graph.record(work, changes=[number])
    assert number.item() == 1
    again()
    assert number.item() == 2
    assert [record.getMessage() for record in caplog.records] == [
        "no CUDA graph, so small steps take longer: operation not permitted when stream is capturing"
    ]


def test_one_recording_that_fails_does_not_keep_others_from_being_recorded(monkeypatch, caplog):
    graph_double.FakeGpu().install(monkeypatch)
    monkeypatch.setattr(cuda_graph, "_broken", [])
    cuda_graph._side_stream.cache_clear()
    cuda_graph._tell.cache_clear()
    number = torch.tensor([1.0])

    def asks() -> None:
        number.add_(number.item())

    def adds() -> None:
        number.add_(1)

    with caplog.at_level(logging.WARNING):
        works = [cuda_graph.record(work, changes=[number]) for work in (asks, adds, asks, adds)]
    assert [again in (asks, adds) for again in works] == [True, False, True, False]
    works[1]()
    works[3]()
    assert number.item() == 3
    assert len(caplog.records) == 1


class Growing(Strategy):
    """A minibatch that grows from epoch to epoch."""

    def plan(self, base: Plan, progress: Progress) -> Plan:
        return Plan(base.batch + 3 * progress.epoch, base.rate)


class Meetings(World):
    """Remembers what the ranks summed up: how many numbers, and how often."""

    def __init__(self) -> None:
        self.sums: list[int] = []

    def all_reduce(self, values: torch.Tensor) -> None:
        self.sums.append(values.numel())


@pytest.mark.parametrize("strategy", [None, Growing()], ids=["strong", "growing"])
@pytest.mark.parametrize("reduction", ["fast", "exact"])
def test_once_the_clock_runs_nothing_is_recorded_and_no_ranks_meet_for_the_first_time(
    recording, monkeypatch, make_cell, strategy, reduction
):
    """50 samples: minibatches of 16, or of 16, 19 and 22, and what is left; 19 to validate in chunks of 4."""
    world = Meetings()
    trainer = setup.prepare(
        make_cell("strong", 3, reduction=reduction, microbatch=4, clock="wall"), world, any_ranks=True
    )
    trainer.strategy = strategy or trainer.strategy
    start, record, recorded, met = trainer.clock.start, cuda_graph.record, [], set()

    def begin() -> None:
        start()
        met.update(world.sums)
        monkeypatch.setattr(cuda_graph, "record", None)

    def counted(*arguments):
        recorded.append(arguments)
        return record(*arguments)

    monkeypatch.setattr(cuda_graph, "record", counted)
    monkeypatch.setattr(trainer.clock, "start", begin)
    trainer.run()
    assert len(recorded) >= 5
    assert set(world.sums) == met


def test_a_model_is_told_whether_it_is_trained(run_cell, make_cell):
    trainer = setup.prepare(make_cell("sequential", max_epochs=1), World())
    passes, told = trainer.evaluation.passes, []
    losses_of = passes.losses_of

    def watched(samples):
        told.append((trainer.model.training, torch.is_grad_enabled()))
        return losses_of(samples)

    passes.losses_of = watched
    trainer.run()
    assert set(told) == {(True, True), (False, False)}


def test_without_a_gpu_nothing_is_recorded(run_cell):
    trainer = run_cell("strong", 3, max_epochs=1)
    assert not cuda_graph.is_wanted(torch.device("cpu"))
    assert not hasattr(trainer.evaluation.passes, "_recordings")
    assert not trainer.update.engine._recordings


@pytest.mark.parametrize("reduction", ["fast", "exact"])
def test_what_is_recorded_is_none_of_a_laps_seconds(recording, monkeypatch, run_cell, reduction):
    """Whatever the size of a shard, a chunk or a minibatch: it is recorded before the stopwatch starts."""
    laps: list[str] = []
    measure, record = HostStopwatch.measure, cuda_graph.record

    @contextlib.contextmanager
    def watched(self, name):
        laps.append(name)
        with measure(self, name):
            yield
        laps.pop()

    def checked(*arguments):
        assert not laps
        return record(*arguments)

    monkeypatch.setattr(HostStopwatch, "measure", watched)
    monkeypatch.setattr(cuda_graph, "record", checked)
    trainer = run_cell("strong", 3, reduction=reduction)
    assert len(trainer.update.engine._recordings) == 1


# --- with a GPU


def is_recorded(trainer) -> bool:
    """Whether everything that was done is a CUDA graph."""
    replays = [recording._replay for recording in trainer.evaluation.passes._recordings.values()]
    replays += [work for work, _, _ in trainer.update.engine._recordings.values()]
    return all(isinstance(getattr(replay, "__self__", None), torch.cuda.CUDAGraph) for replay in replays)


@needs_gpu
@pytest.mark.parametrize("reduction", ["fast", "exact"])
def test_on_a_gpu_a_recorded_run_is_the_plain_one_to_the_bit_and_near_that_on_the_cpu(run_cell, monkeypatch, reduction):
    settings = {"reduction": reduction, "learning_rate": RATE}
    on_cpu = run_cell("strong", 3, name="cpu", device="cpu", **settings)
    recorded = run_cell("strong", 3, name="recorded", device="cuda", **settings)
    assert is_recorded(recorded)
    monkeypatch.setattr(cuda_graph, "is_wanted", lambda device: False)
    anew = run_cell("strong", 3, name="anew", device="cuda", **settings)
    assert path(recorded.epoch_log.epochs) == path(anew.epoch_log.epochs)
    assert recorded.epoch_log.validation == pytest.approx(on_cpu.epoch_log.validation, rel=1e-2)


@needs_gpu
@pytest.mark.parametrize("reduction", ["fast", "exact"])
@pytest.mark.parametrize("clock", ["emulated", "wall"])
def test_a_gpu_is_not_waited_for_within_an_epoch(run_cell, reduction, clock):
    trainer = run_cell("strong", 1, device="cuda", max_epochs=1, reduction=reduction, clock=clock)
    samples = torch.arange(16, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._take_step(samples, Plan(16, RATE))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_a_recording_that_fails_leaves_the_gpu_as_it_was(caplog):
    number = torch.ones(1, device="cuda")
    stream = torch.cuda.current_stream()
    cuda_graph._tell.cache_clear()

    def work() -> None:
        number.add_(number.item())

    with caplog.at_level(logging.WARNING):
        again = cuda_graph.record(work, changes=[number])
    assert torch.cuda.current_stream() == stream
    assert len(caplog.records) == 1
    assert number.item() == 1
    again()
    assert number.item() == 2
    after = cuda_graph.record(lambda: number.add_(1) is None, changes=[number])
    assert isinstance(after.__self__, torch.cuda.CUDAGraph)  # the next one is recorded all the same
