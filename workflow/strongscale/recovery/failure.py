"""Why a run failed: the first rank that knows writes it down, and the launcher says it in plain words."""

import contextlib
import json
import platform
import re
import signal
from pathlib import Path

from strongscale.common.errors import UserError
from strongscale.common.lock import Busy

NAME = "failure.txt"
LOG = "train.log"
LAUNCH_LOG = "launch.log"
"""The job's: what is said before any rank runs, and why it failed. Snakemake removes it when it starts another."""
UNKNOWN = "no rank said why: killed from outside (memory, time limit, a lost host), or never started; see above"

NEAR = 0.8  # of the memory asked for: the last look at a process that grows comes before its end
MISSING_PACKAGE = re.compile(r"host (\S+) failed: ModuleNotFoundError: No module named '([^']+)'")
WHO = re.compile(r"^rank \d+ on host \S+: ")


def tell(folder: Path, rank: int, error: BaseException) -> None:
    """Write down the first failure; later ones are its consequences."""
    words = " ".join(str(error).split()) or type(error).__name__
    who = f"rank {rank} on host {platform.node()}"
    is_mistake = isinstance(error, UserError) and not isinstance(error, Busy)
    record(folder, f"{who}: {words}" if is_mistake else f"{who} failed: {type(error).__name__}: {words}")


def record(folder: Path, words: str) -> None:
    """Write down why the run failed, unless somebody already has."""
    with contextlib.suppress(OSError), (folder / NAME).open("x", encoding="utf-8") as file:
        file.write(f"{words}\n")


def end_log(folder: Path, words: str) -> None:
    """Make the reason the last line of the run's own log, where it is looked for."""
    with contextlib.suppress(OSError), (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(f"{words}\n")


def clear(folder: Path) -> None:
    """Forget an earlier attempt's failure."""
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)


def reason(folder: Path) -> str:
    """Why the run in this folder failed, in one line."""
    return _told(folder) or UNKNOWN


def is_permanent(folder: Path) -> bool:
    """Whether the run in this folder failed by a mistake that only the user can mend."""
    return bool(WHO.match(_told(folder)))


def explain(status: int, folder: Path, *, asked_mb: int | None, peak_mb: float, limit_reached: bool) -> str:
    """What happened to a run whose mpirun ended with `status`, in one line: in plain words, and which log to read.

    `peak_mb` is the most memory that any one of its processes had, `asked_mb` what the scheduler was asked for.
    """
    if limit_reached:
        return "reached its time limit; it goes on from its last checkpoint when started again"
    number, told = _signal(status), _told(folder)
    if number == signal.SIGKILL and asked_mb and peak_mb >= NEAR * asked_mb:
        return (
            f"killed, most likely out of memory: the largest process had {peak_mb / 1000:.1f} GB "
            f"of the {asked_mb / 1000:.1f} GB asked for; raise memory_mb; see {_logs(folder)}"
        )
    if number == signal.SIGKILL:  # what a rank told then is a consequence: it lost the one that was killed
        killers = "out of memory on the node, the scheduler, or an administrator"
        others = f"; then {told}" if told else ""
        return f"killed from outside (signal 9): {killers}{others}; see {_logs(folder)}"
    if told:
        return _in_plain_words(told, folder)
    if number:
        return f"a process was ended by {number.name} (signal {number.value}); see {_logs(folder)}"
    return (
        f"mpirun ended with status {status} and no rank said why, perhaps because none was started "
        f"(a program, package or host that it doesn't find, too few slots); see {_logs(folder)}"
    )


def _told(folder: Path) -> str:
    """What a rank wrote down, in one line; nothing if none did."""
    try:
        return " ".join((folder / NAME).read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return ""


def _in_plain_words(told: str, folder: Path) -> str:
    missing = MISSING_PACKAGE.search(told)
    if missing:
        host, package = missing.groups()
        return f"the node {host} lacks the package {package}: use the same environment there; see {_logs(folder)}"
    if WHO.match(told):  # a user's mistake: its own words say what to do
        return WHO.sub("", told)
    return f"{told}; see {_logs(folder)}"


def _signal(status: int) -> signal.Signals | None:
    """The signal behind an exit status: of mpirun itself (negative) or, as shells and mpirun tell it, of a rank."""
    number = -status if status < 0 else status - 128
    return signal.Signals(number) if number in {known.value for known in signal.Signals} else None


def _logs(folder: Path) -> str:
    """The run's own log, and the scheduler's where the job has one."""
    logs = [str(folder / LOG)]
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        logs.append(str(json.loads((folder / "job.json").read_text(encoding="utf-8"))["log"]))
    return " and ".join(logs)
