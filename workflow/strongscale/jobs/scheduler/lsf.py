"""bjobs and bkill as the LSF plugin needs them."""

import json
import re
import subprocess
import sys
from pathlib import Path

from strongscale.jobs.scheduler import refusal, states
from strongscale.jobs.scheduler.patience import Patience, ask

UNKNOWN_S = 1800.0
"""How long a job may be unknown (its host doesn't answer) before it is given up. The lock in its cell's folder keeps a
second copy from writing beside it, should it be alive."""

STILL_THERE = {"UNKWN": "RUN", "USUSP": "RUN", "SSUSP": "RUN", "PSUSP": "PEND"}
NOBODY = "0 RUN\n"
"""A job that isn't there: without any the plugin ends in a traceback. It looks for those it misses in LSF's event log."""

NO_JOB = re.compile(r"is not found|No matching job found|No (unfinished )?job found", re.IGNORECASE)
FINISHED = re.compile(r"already finished|No matching job found|is not found|is being terminated", re.IGNORECASE)


def bjobs(own: str, arguments: list[str], folder: Path, patience: Patience | None = None) -> int:
    """Ask until LSF answers. A suspended job is still there; an unknown one for a while, then it counts as failed.

    So does one that LSF has refused to take.
    """
    patience = patience or Patience()
    pattern = arguments[arguments.index("-aJ") + 1] if "-aJ" in arguments[:-1] else ""
    refused = "".join(f"{number} EXIT\n" for number in refusal.matching(folder, pattern))
    answer = ask([own, *arguments], patience, good=NO_JOB)
    if answer.status:
        if not NO_JOB.search(answer.output + answer.words):
            sys.stderr.write(answer.words)
        sys.stdout.write(NOBODY + refused)
        return 0
    sys.stderr.write(answer.words)
    states.keep(folder, answer.output, patience.now())
    told = translate(answer.output, folder / ".snakemake" / "lsf_unknown.json", patience.now())
    sys.stdout.write((told or NOBODY) + refused)
    return 0


def translate(output: str, memory: Path, now_s: float) -> str:
    """Lines `id state` in the words that the plugin understands; since when a job is unknown is kept in `memory`."""
    try:
        known: dict[str, float] = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    unknown: dict[str, float] = {}
    lines = []
    for line in output.splitlines():
        words = line.split()
        if len(words) == 2:
            job, state = words
            if state == "UNKWN":
                unknown[job] = known.get(job, now_s)
            given_up = now_s - unknown.get(job, now_s) > UNKNOWN_S
            line = f"{job} {'EXIT' if given_up else STILL_THERE.get(state, state)}"
        lines.append(line)
    if unknown != known:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(unknown), encoding="utf-8")
    return "".join(line + "\n" for line in lines)


def bkill(own: str, arguments: list[str], folder: Path) -> int:
    """Kill what there is to kill: a job that has just ended, or was never taken, is no failure."""
    there = [word for word in arguments if not refusal.is_refused(word)]
    if arguments and not there:
        return 0
    answer = subprocess.run([own, *there], capture_output=True, text=True)
    sys.stdout.write(answer.stdout)
    sys.stderr.write(answer.stderr)
    said = [line for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
    problems = [line for line in said if not FINISHED.search(line)]
    return answer.returncode if problems else 0
