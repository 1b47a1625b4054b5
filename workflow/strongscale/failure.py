"""Why a run failed: the first rank that knows writes it down."""

import contextlib
import platform
from pathlib import Path

from strongscale.errors import UserError

NAME = "failure.txt"


def tell(folder: Path, rank: int, error: BaseException) -> None:
    """Write down the first failure; later ones are its consequences."""
    words = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, UserError):
        words = f"{type(error).__name__}: {words}"
    with contextlib.suppress(OSError), (folder / NAME).open("x", encoding="utf-8") as file:
        file.write(f"rank {rank} on host {platform.node()} failed: {words}\n")


def clear(folder: Path) -> None:
    """Forget an earlier attempt's failure."""
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def reason(folder: Path) -> str:
    """Why the run in this folder failed, in one line."""
    try:
        return (folder / NAME).read_text(encoding="utf-8").strip()
    except OSError:
        return "no rank said why: killed from outside (memory, time limit, a lost host), or never started; see above"
