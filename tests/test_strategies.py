"""The four strategies of the paper, by their table."""

import shutil
from pathlib import Path

import pytest

from strongscale import models, strategies
from strongscale.common.errors import UserError
from strongscale.distributed.world import World
from strongscale.strategies import kinds, named, names
from strongscale.strategies.base import Strategy
from strongscale.training.run import train

B, ETA = 32, 0.00105


@pytest.mark.parametrize("name", ["strong", "weak", "linear", "warmup"])
def test_with_one_worker_every_strategy_is_the_sequential_run(name):
    strategy = kinds()[name]()
    for epoch in (0, 1, 5, 50):
        assert strategy.minibatch(B, 1, epoch) == B
        assert strategy.learning_rate(ETA, 1, epoch) == ETA


@pytest.mark.parametrize(
    ("name", "batch", "rate"), [("strong", B, ETA), ("weak", 8 * B, ETA), ("linear", 8 * B, 8 * ETA)]
)
def test_minibatch_and_rate_at_eight_workers(name, batch, rate):
    strategy = kinds()[name]()
    assert strategy.minibatch(B, 8, 0) == batch
    assert strategy.learning_rate(ETA, 8, 0.0) == pytest.approx(rate)


def test_warmup_grows_linearly_to_n_times_eta_and_stays():
    strategy = kinds()["warmup"]()
    rates = [strategy.learning_rate(ETA, 8, epochs) for epochs in (0, 2.5, 5, 6, 100)]
    assert rates == pytest.approx([ETA, 4.5 * ETA, 8 * ETA, 8 * ETA, 8 * ETA])


def test_the_length_of_the_warmup_is_a_parameter():
    assert kinds()["warmup"](epochs=10.0).learning_rate(ETA, 3, 5.0) == pytest.approx(2 * ETA)


def test_every_file_of_the_folder_is_a_strategy():
    assert {"strong", "weak", "linear", "warmup"} <= kinds().keys()
    assert all(issubclass(kind, Strategy) for kind in kinds().values())


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A strategy's file of a user's own, beside the others, that can't be imported."""
    (tmp_path / "broken.py").write_text("this is no Python (\n")
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])


def test_a_broken_strategy_is_the_matter_of_those_who_name_it(broken, make_cell):
    assert "broken" in names()
    train(make_cell("strong", 2, max_epochs=1), World())
    with pytest.raises(SyntaxError):
        named("broken")


def test_a_strategy_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(UserError, match="no strategy 'nope'; allowed: .*warmup"):
        named("nope")


def test_a_file_with_two_strategies_is_refused_by_name(tmp_path, monkeypatch):
    classes = "class One(Strategy): ...\nclass Two(Strategy): ...\n"
    (tmp_path / "two_at_once.py").write_text(f"from strongscale.strategies.base import Strategy\n{classes}")
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])
    with pytest.raises(UserError, match="two_at_once.py: must define exactly one Strategy, it defines 2"):
        named("two_at_once")


def test_a_broken_model_is_the_matter_of_those_who_name_it(tmp_path, monkeypatch, make_cell):
    shutil.copytree(Path(models.__file__).parent, tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "models" / "mine.py").write_text("this is no Python (\n")
    monkeypatch.setattr(models, "__path__", [str(tmp_path / "models")])
    train(make_cell("strong", 2, max_epochs=1), World())
    assert "mine" in models.kinds()
