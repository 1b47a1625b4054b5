"""What the scheduler last said of each job, kept for `strongscale.status`, which asks no scheduler."""

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

STATES = Path(".snakemake", "strongscale_states.json")
FORGOTTEN_S = 7 * 86400.0
LINE = re.compile(r"^\s*(\d+)[|\s]+([A-Z_]+)\s*$", re.MULTILINE)  # of bjobs, and of squeue as the plugins call them


def keep(folder: Path, output: str, now_s: float) -> None:
    """Keep the states of the jobs that an answer names; no answer is lost for want of it."""
    states = {job: state for job, state in read(folder).items() if now_s - state["at"] < FORGOTTEN_S}
    states |= {job: {"state": state, "at": now_s} for job, state in LINE.findall(output)}
    path = folder / STATES
    temporary = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(states), encoding="utf-8")
        temporary.replace(path)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """By the job's number: its state in the scheduler's word, and when that was said, in Unix seconds."""
    try:
        known = json.loads((folder / STATES).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {job: one for job, one in known.items() if _is_state(one)} if isinstance(known, dict) else {}


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("state"), str) and type(value.get("at")) in (int, float)
