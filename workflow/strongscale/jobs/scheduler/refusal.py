"""Jobs that a scheduler won't take: why, told where a user looks, and their failure, told to a plugin that knows none.

LSF's plugin knows no refused job. So a refused one is kept in `.snakemake/` under a number that no LSF gives; bjobs tells
of it as of a job that has failed.
"""

import contextlib
import fnmatch
import re
import time
from pathlib import Path

from strongscale.common import lock
from strongscale.jobs.scheduler.patience import Answer
from strongscale.recovery import failure

REFUSED = Path(".snakemake", "strongscale_refused.txt")
NOT_LSFS = "9"  # and the milliseconds of now: LSF's numbers have ten digits at most

TOO_LONG = re.compile(r"RUNLIMIT|run ?limit|time limit|PartitionTimeLimit", re.IGNORECASE)
SHORTEN = "; set longest_minutes in site.yaml to what the queue allows"


def tell(command: str, answer: Answer, cells: list[Path]) -> Answer:
    """The answer, its words with what a user can do; and the same in the cells' folders."""
    words = " ".join(f"{answer.output} {answer.words}".split()) or f"no word, status {answer.status}"
    reason = f"{command} refused the job: {words}" + (SHORTEN if TOO_LONG.search(words) else "")
    for cell in cells:
        if not lock.is_held(cell):  # an earlier job is at work there, which hasn't failed
            failure.clear(cell)
            failure.record(cell, reason)
            failure.end_log(cell, reason)
            _append(cell / failure.LAUNCH_LOG, f"{time.strftime('%H:%M:%S')} ERROR {reason}\n")  # which Snakemake shows
    return Answer(answer.status or 1, "", f"{reason}\n")


def remember(folder: Path, name: str, log: str | None, words: str) -> str | None:
    """Keep a refused job by its name, and say why in its log; the number by which it goes, if that could be done."""
    number = f"{NOT_LSFS}{time.time_ns() // 1_000_000}"
    if log:
        _append(folder / log, words)
    try:
        (folder / REFUSED).parent.mkdir(parents=True, exist_ok=True)
        with (folder / REFUSED).open("a", encoding="utf-8") as file:
            file.write(f"{number} {name}\n")
    except OSError:
        return None
    return number


def matching(folder: Path, pattern: str) -> list[str]:
    """The numbers of the refused jobs whose names match."""
    return [number for number, name in _read(folder) if fnmatch.fnmatchcase(name, pattern)]


def is_refused(number: str) -> bool:
    """Whether a number is a refused job's."""
    return number.isdigit() and len(number) > 10 and number.startswith(NOT_LSFS)


def _append(path: Path, words: str) -> None:
    """Add to a log; its folder may not be there."""
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(words)


def _read(folder: Path) -> list[tuple[str, str]]:
    try:
        lines = (folder / REFUSED).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    return [(number, name) for number, _, name in (line.partition(" ") for line in lines) if name]
