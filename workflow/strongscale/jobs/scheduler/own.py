"""The scheduler's own commands: those that come after ours on the PATH."""

import os
import shutil
from pathlib import Path

FRONT = Path(__file__).resolve().parents[3] / "scheduler"


def stand_in_front() -> None:
    """Put our commands first on this process's PATH, and on that of all it starts."""
    os.environ["PATH"] = os.pathsep.join([str(FRONT), os.environ.get("PATH", os.defpath)])


def find(name: str) -> str | None:
    """The scheduler's own command of that name."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return shutil.which(name, path=os.pathsep.join(folder for folder in folders if Path(folder).resolve() != FRONT))
