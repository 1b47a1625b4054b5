"""The rate over a run's epochs: the same course for what is foreseen, for what is trained, and with every strategy."""

import itertools

import pytest
import torch
from own_parts_fixtures import trained

from strongscale.analysis.consistency import off_plan
from strongscale.analysis.epochs import read_epochs
from strongscale.common import parts
from strongscale.common.files import read_json
from strongscale.common.parts import PartError
from strongscale.common.schema import build
from strongscale.distributed.world import World
from strongscale.recovery.finished import read_settings
from strongscale.schedules.base import Schedule
from strongscale.schedules.constant import Constant
from strongscale.schedules.cosine import Cosine
from strongscale.schedules.step import Step
from strongscale.settings import cells, timed, tuned
from strongscale.settings.config import Study, Training
from strongscale.strategies.base import Course, Plan, Strategy, planned
from strongscale.training import setup

HALVES = Step(epochs=(1, 2), factor=0.5)
BASE = Plan(16, 0.003)


def torchs(scheduler, epochs, **settings):
    """The factors of a scheduler of PyTorch, taken once an epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs, found = scheduler(optimizer, **settings), []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    return found


def test_the_cosine_is_pytorchs():
    theirs = torchs(torch.optim.lr_scheduler.CosineAnnealingLR, 10, T_max=10, eta_min=0.2)
    assert [Cosine(floor=0.2).at(epoch, 10) for epoch in range(10)] == pytest.approx(theirs)


def test_the_step_is_pytorchs():
    theirs = torchs(torch.optim.lr_scheduler.MultiStepLR, 8, milestones=[3, 5], gamma=0.1)
    assert [Step(epochs=(3, 5)).at(epoch, 8) for epoch in range(8)] == pytest.approx(theirs)


@pytest.mark.parametrize("name", ["strong", "weak", "linear", "warmup"])
def test_every_strategys_rate_is_multiplied_by_the_schedules_factor(name):
    strategy, course = parts.find(Strategy, name, "kind")(), Course(schedule=HALVES, max_epochs=4)
    both = zip(planned(strategy, BASE, 4, 100), planned(strategy, BASE, 4, 100, course), strict=False)
    for epoch, (plain, scheduled) in enumerate(itertools.islice(both, 4)):
        factor = (1, 0.5, 0.25, 0.25)[epoch]
        assert scheduled == [Plan(plan.batch, plan.rate * factor) for plan in plain]


def test_warm_up_and_schedule_are_multiplied():
    course = Course(warmup_steps=4, schedule=HALVES, max_epochs=3)
    epochs = itertools.islice(planned(Strategy(), BASE, 1, 32, course), 3)
    rates = [plan.rate / BASE.rate for plans in epochs for plan in plans]
    assert rates == pytest.approx([0.25, 0.5, 0.375, 0.5, 0.25, 0.25])


@pytest.mark.parametrize("schedule", [HALVES, Cosine(floor=0.1)])
@pytest.mark.parametrize("strategy", ["strong", "warmup"])
def test_a_run_takes_the_rates_that_are_foreseen(make_cell, schedule, strategy):
    folder = make_cell(strategy, 2, schedule=schedule, warmup_steps=3)
    trained(folder)
    settings, epochs = read_settings(folder), read_epochs(folder / "epochs.csv", timed=False)
    assert list(off_plan(settings, settings.create_strategy(), epochs)) == []
    assert epochs["learning_rate"].iloc[-1] < epochs["learning_rate"].iloc[0]


def test_a_schedule_is_part_of_a_runs_settings_and_its_code(make_cell):
    folder = make_cell(schedule=HALVES, max_epochs=1)
    assert read_json(folder / "cell.json")["training"]["schedule"] == {"kind": "step", "epochs": [1, 2], "factor": 0.5}
    assert "schedules/step.py" in trained(folder)["code"]


def test_runs_without_a_schedule_are_the_same_as_before_there_was_one(make_cell):
    raw = read_json(make_cell() / "cell.json")
    assert "schedule" not in raw["training"]
    cell = build(cells.CellSettings, raw, "cell")
    assert "schedule" not in cell.identity["training"]
    raw["training"]["schedule"] = "cosine"
    assert build(cells.CellSettings, raw, "cell").identity["training"]["schedule"] == {"kind": "cosine", "floor": 0.0}


def test_pilots_and_tuned_runs_have_the_schedule_and_timings_need_none():
    training = Training(schedule=HALVES, learning_rate="tuned")
    study = build(Study, {"dataset": "tiny", "clock": "emulated", "strategies": {"strong": {}}}, "study")
    study = cells.replace(study, training=training)
    assert cells.own_part(study, cells.PILOT).training.schedule == HALVES
    assert tuned.own_part(study).training.schedule == HALVES
    assert timed.own_part(study, "strong").training.schedule == Constant()


def test_a_run_that_died_goes_on_at_the_rate_where_it_was(run_cell, make_cell):
    whole = run_cell("strong", 2, name="whole", schedule=HALVES)
    first = run_cell("strong", 2, name="first", schedule=HALVES, max_epochs=1)
    second = setup.prepare(make_cell("strong", 2, name="second", schedule=HALVES), World())
    second.restore(first.state())
    second.run()
    assert second.epoch_log.rates == whole.epoch_log.rates


def test_a_schedule_of_ones_own_is_one_file(own, make_cell):
    text = (
        "from dataclasses import dataclass\nfrom strongscale.schedules.base import Schedule\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(Schedule):\n"
        "    def at(self, epoch, max_epochs):\n        return {}\n"
    )
    schedule = build(Schedule, own("mine.py", text.format("1 / (1 + epoch)")), "schedule")
    folder = make_cell(schedule=schedule)
    assert trained(folder)["code"]["mine.py"] == read_json(folder / "cell.json")["files"]["mine.py"]
    assert read_epochs(folder / "epochs.csv", timed=False)["learning_rate"].iloc[-1] == pytest.approx(0.001)


@pytest.mark.parametrize("answer", ["-1.0", "None", "float('inf')"])
def test_a_factor_that_is_none_is_refused(own, answer):
    text = (
        "from strongscale.schedules.base import Schedule\n\nclass Mine(Schedule):\n"
        f"    def at(self, epoch, max_epochs):\n        return {answer}\n"
    )
    course = Course(schedule=build(Schedule, own("mine.py", text), "schedule"))
    with pytest.raises(PartError, match=r"schedule mine.py: .* in epoch 1; allowed: a number above 0"):
        next(planned(Strategy(), BASE, 1, 100, course))
