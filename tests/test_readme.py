"""The README's examples of one's own parts work when they are pasted word by word."""

import re

import pytest
import yaml
from conftest import ROOT

from strongscale.common import parts
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import plain
from strongscale.distributed.world import World
from strongscale.settings.cells import Cell
from strongscale.settings.config_file import parse
from strongscale.strategies.base import Plan, Progress, Strategy
from strongscale.training import prepare, samples
from strongscale.training.run import train

EXAMPLE = re.compile(r"`([a-z]+\.(?:py|yaml))`[^\n`]*:\n\n```(?:python|yaml)\n(.*?)```", re.DOTALL)


@pytest.fixture
def pasted(tmp_path, monkeypatch):
    """A folder with all files that the README gives by name."""
    found = EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    for name, text in found:
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_task_is_planned_and_trained(pasted):
    raw, own = (yaml.safe_load(path.read_text()) for path in (ROOT / "config.yaml", pasted / "tumours.yaml"))
    config = parse({**raw, "studies": raw["studies"] | own["studies"]})
    assert not config.broken
    study = config.studies["tumours"]
    folder = pasted / "results" / "tumours"
    samples.make(study.task, folder / "samples")
    (folder / "learning_rate.json").write_text('{"learning_rate": 0.01}')
    (folder / "target.json").write_text('{"target_loss": 0.2}')
    cell = Cell("tumours", "strong", 4, 1)
    own_folder = pasted / "results" / cell.folder
    found = {"learning_rate": folder / "learning_rate.json", "target": folder / "target.json"}
    settings = prepare.resolve(study, cell, folder=own_folder, dataset=folder / "samples", **found)
    write_json(own_folder / "cell.json", plain(settings))
    train(own_folder, World())
    result = read_json(own_folder / "result.json")
    assert result["status"] == "converged"
    assert result["measures"]["accuracy"] > 0.9
    assert settings.files.keys() == {"tumours.py"}


def test_the_lines_of_the_matrix_are_read(pasted):
    """Those that the text gives without a block: `strategies: {...}`, and an entry with its optimizer."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,), (entry,) = (
        re.findall(r"`strategies: (\{strong: .*?\}\})`", readme),
        re.findall(r"`(strong_sgd: .*?\}\})`", readme),
    )
    strategies = yaml.safe_load(lines) | yaml.safe_load(entry)
    raw = yaml.safe_load((ROOT / "config.yaml").read_text())
    config = parse({**raw, "studies": raw["studies"] | {"mine": {"like": "digits", "strategies": strategies}}})
    assert not config.broken
    assert config.studies["mine"].strategies["strong_sgd"].optimizer.momentum == 0.9
    assert config.studies["mine"].strategy("squareroot").kind == "squareroot.py"


def test_the_strategy_plans(pasted):
    strategy = parts.find(Strategy, "squareroot.py", "kind")()
    assert strategy.plan(Plan(32, 0.1), Progress(workers=4, samples=100)) == Plan(128, 0.2)
