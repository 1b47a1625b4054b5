"""docs/strategies.md tells of every part, and its lines can be pasted into a study."""

import re

import pytest
import yaml
from conftest import ROOT

from strongscale.common import parts
from strongscale.common.schema import build
from strongscale.optimizers.base import Optimizer
from strongscale.settings import cells
from strongscale.settings.config import Study
from strongscale.strategies.base import Strategy
from strongscale.updates.base import Update

PAGE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("base", "line"), [(Strategy, "## {}"), (Update, "## {}"), (Optimizer, "- `{}`: ")])
def test_every_part_is_told_of(base, line):
    missing = [name for name in parts.names(base) if not re.search(f"^{re.escape(line.format(name))}", PAGE, re.M)]
    assert missing == []


def test_its_lines_are_read():
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    study = build(Study, {"task": "digits", **yaml.safe_load(block)}, "study")
    rules = {line: cells.update_rule(entry.update, study.strategy(line)) for line, entry in study.strategies.items()}
    assert {line: rule.kind for line, rule in rules.items()} == {
        "sma": "sma",
        "sma_auto": "sma",
        "sma_4": "sma",
        "local_2": "local",
        "squareroot": "synchronous",
    }
    assert study.strategy("sma_auto").learners_each == "auto"
    assert (rules["sma_4"].learners_each, rules["local_2"].every) == (4, 2)
