"""On a login node without PyTorch, and without anything but Python, the settings are read and the plan is made."""

import subprocess
import sys

from conftest import ROOT, environment

CODE = """
import sys
for name in ("torch", "numpy", "pandas", "mpi4py", "sklearn"):
    sys.modules[name] = None
from strongscale.common import parts
from strongscale.common.schema import build, plain
from strongscale.models.base import Model
from strongscale.optimizers.base import Optimizer
from strongscale.schedules.base import Schedule
from strongscale.settings import cells
from strongscale.settings.config import Study
from strongscale.strategies.base import Strategy
from strongscale.tasks.base import Task
from strongscale.updates.base import Update

for base in (Model, Optimizer, Schedule, Strategy, Task, Update):
    for name in parts.names(base):
        parts.find(base, name, base.noun)()
study = build(Study, {"task": "digits", "strategies": {"weak": {"update": "synchronous"}}}, "study")
print(len(cells.all_cells("digits", study)), plain(study)["task"])
"""


def test_all_parts_of_ours_are_known_without_pytorch():
    command = [sys.executable, "-S", "-c", CODE]  # -S: the standard library alone
    answer = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "6 {'kind': 'digits', 'filters': 16}\n"
