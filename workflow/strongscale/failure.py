"""Why a run failed: the first rank that knows writes it down, and the last line of the log says it.

`python -m strongscale.failure <cell folder>`, after mpirun has ended badly, prints that line: mpirun itself speaks last
otherwise, and names no reason.
"""

import argparse
import contextlib
import platform
from pathlib import Path

from strongscale.command import run
from strongscale.errors import UserError

NAME = "failure.txt"


def tell(folder: Path, rank: int, error: BaseException) -> None:
    """Write down the first failure; later ones are its consequences."""
    reason = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, UserError):
        reason = f"{type(error).__name__}: {reason}"
    with contextlib.suppress(OSError), (folder / NAME).open("x", encoding="utf-8") as file:
        file.write(f"rank {rank} on host {platform.node()} failed: {reason}\n")


def clear(folder: Path) -> None:
    """Forget an earlier attempt's failure."""
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
    """Say in one line why the run in this folder failed."""
    parser = argparse.ArgumentParser(prog="strongscale.failure", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    folder = parser.parse_args(arguments).folder
    try:
        reason = (folder / NAME).read_text(encoding="utf-8").strip()
    except OSError:
        reason = (
            "no rank said why: stopped by a signal or killed from outside (time limit, memory, a lost host); see above"
        )
    raise UserError(f"{folder}: {reason}")


if __name__ == "__main__":
    run(main)
