"""Whether a run that gives no sign of life is suspended, dead, or only slow: what its process and its scheduler tell."""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STALE_S = 900.0  # our bjobs and squeue are called every three minutes at least, and wait ten for an answer

AT_WORK = ("RUN", "RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT")
SUSPENDED = {
    "USUSP": "bresume {} lets it go on",
    "PSUSP": "bresume {} lets it go on",
    "SSUSP": "LSF itself lets it go on",
    "SUSPENDED": "Slurm, or who suspended it, lets it go on",
    "STOPPED": "scancel --signal=CONT {} lets it go on",
}
WAITING = ("PEND", "PENDING", "CONFIGURING", "WAIT", "PROV")
UNKNOWN = ("UNKWN", "ZOMBI", "RUNKWN", "UNKNOWN")
OWNER = re.compile(r"host (\S+), process (\d+)(?:, \w+ job (\d+))?")


@dataclass(frozen=True)
class Owner:
    """Who holds a cell's lock, or died holding it."""

    host: str
    process: int
    job: str | None


def read_owner(path: Path) -> Owner | None:
    """From the text of a lock file; None where it tells none."""
    try:
        found = OWNER.match(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Owner(found[1], int(found[2]), found[3]) if found else None


def process_state(owner: Owner | None) -> str | None:
    """`stopped`, `alive` or `gone`, of a process of this machine; None of one elsewhere."""
    if owner is None or owner.host != platform.node():
        return None
    folder = Path("/proc", str(owner.process))
    try:
        state = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        is_ours = b"strongscale" in (folder / "cmdline").read_bytes()
    except (OSError, IndexError):
        return "gone" if Path("/proc/self/stat").exists() else None
    if state in "ZX" or not is_ours:  # its number may be another's by now
        return "gone"
    return "stopped" if state in "Tt" else "alive"


@dataclass(frozen=True)
class Told:
    """What the scheduler said of a job, when our command in front of its own asked last."""

    job: str
    state: str
    at: float

    def is_fresh(self, now: float) -> bool:
        """Whether it may still be so."""
        return now - self.at < STALE_S

    @property
    def has_ended(self) -> bool:
        """Whether the job is over; that doesn't change any more."""
        return self.state not in (*AT_WORK, *SUSPENDED, *WAITING, *UNKNOWN)

    @property
    def in_words(self) -> str:
        """Who lets a suspended job go on."""
        return SUSPENDED[self.state].format(self.job)


def told_of(job: str | None, states: Mapping[str, Mapping[str, Any]]) -> Told | None:
    """What the scheduler said of the job of this number."""
    known = states.get(job or "")
    return Told(str(job), str(known["state"]), float(known["at"])) if known else None
