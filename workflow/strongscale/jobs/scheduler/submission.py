"""Submit a job, and note its number in the folders of the cells that it trains, or there why it was refused.

A scheduler that doesn't answer for a while is asked again. It may have taken the job all the same, its answer being lost:
it is not asked a second time before it has said that it knows no such job.
"""

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from strongscale.jobs.scheduler import refusal
from strongscale.jobs.scheduler.lsf import NO_JOB
from strongscale.jobs.scheduler.own import find
from strongscale.jobs.scheduler.patience import ONCE, PASSING, Answer, Patience, ask

TRAINED = re.compile(r"\btrain\w*:([\w=,.+-]+)")  # what the job's own Snakemake is told to make
WILDCARDS = ("study", "strategy", "workers", "seed")
TAKEN = Path(".snakemake", "strongscale_taken.txt")  # the numbers of all jobs, for names may be shared
NUM_EARLIER = 3  # jobs of a cell that job.json remembers besides the last


@dataclass(frozen=True)
class Kind:
    """What differs from scheduler to scheduler."""

    scheduler: str
    number: re.Pattern[str]
    """Where its answer holds the job's number."""
    taken: str
    """That answer."""
    name: str
    """The option that names a job: without it none is looked for."""
    look_for: Callable[[list[str]], list[str] | None]
    """The numbers of the jobs named as in these arguments; None if that can't be told now."""


def sbatch(own: str, arguments: list[str], folder: Path, patience: Patience | None = None) -> int:
    """Slurm's, called with --parsable: it answers with the number alone, or number;cluster.

    Its plugin lets only the job fail that is refused.
    """
    kind = Kind("slurm", re.compile(r"^(\d+)", re.MULTILINE), "{}\n", "--job-name", _in_slurm)
    answer, job = submit(own, arguments, kind, folder, patience or Patience())
    if job:
        _note_all(kind, job, _value(arguments, "--output"), arguments, folder)
    elif _value(arguments, kind.name):
        answer = refusal.tell("sbatch", answer, [folder / cell for cell in cells_of(" ".join(arguments))])
    return _say(answer)


def bsub(own: str, arguments: list[str], folder: Path, patience: Patience | None = None) -> int:
    """LSF's: it answers `Job <7> is submitted to queue <normal>.`

    Its plugin ends the whole run at a refusal and kills what runs. It is told the number of a job that can't be, which
    our bjobs calls failed: so only that job fails.
    """
    kind = Kind("lsf", re.compile(r"Job <(\d+)>"), "Job <{}> is submitted to its queue.\n", "-J", _in_lsf)
    answer, job = submit(own, arguments, kind, folder, patience or Patience())
    log, name = _value(arguments, "-o"), _value(arguments, "-J")
    if job:
        _note_all(kind, job, log, arguments, folder)
    if job or name is None:  # by hand
        return _say(answer)
    answer = refusal.tell("bsub", answer, [folder / cell for cell in cells_of(" ".join(arguments))])
    number = refusal.remember(folder, name, log, answer.words)
    return _say(Answer(0, kind.taken.format(number), "") if number else answer)


def submit(own: str, arguments: list[str], kind: Kind, folder: Path, patience: Patience) -> tuple[Answer, str | None]:
    """The scheduler's last answer, and the number of the job if it took it.

    No answer is waited for however long it takes: who is cut off doesn't know whether the job was taken.
    """
    script = sys.stdin.read() if "/dev/stdin" in arguments else None
    deadline_s = patience.now() + patience.total_s
    while True:
        done = subprocess.run([own, *arguments], capture_output=True, text=True, input=script)
        answer = Answer(done.returncode, done.stdout, done.stderr)
        found = kind.number.search(answer.output)
        if answer.status == 0 and found:
            return answer, found[1]
        is_passing = answer.status == 0 or PASSING.search(answer.output + answer.words)
        if not is_passing or _value(arguments, kind.name) is None:
            return answer, None
        named = None
        while named is None:
            if patience.now() >= deadline_s:
                return answer, None
            patience.sleep(patience.pause_s)
            named = kind.look_for(arguments)
        for job in set(named) - _taken_before(folder):  # without the words: a plugin would take them for a failure
            return Answer(0, kind.taken.format(job), ""), job


def _in_slurm(arguments: list[str]) -> list[str] | None:
    """By the run's name and the comment, which tells rules apart, and most of their jobs."""
    squeue, name, comment = find("squeue"), _value(arguments, "--job-name"), _value(arguments, "--comment")
    if squeue is None:
        return None
    answer = ask([squeue, "--noheader", f"--name={name}", "--states=all", "--format=%F|%k"], ONCE)
    if answer.status:
        return None
    pairs = [line.strip().partition("|") for line in answer.output.splitlines()]
    return [job for job, _, said in pairs if said == (comment or "")]


def _in_lsf(arguments: list[str]) -> list[str] | None:
    """By the job's name, which only its earlier attempts had."""
    bjobs, name = find("bjobs"), _value(arguments, "-J")
    if bjobs is None:
        return None
    answer = ask([bjobs, "-noheader", "-a", "-o", "jobid", "-J", str(name)], ONCE, good=NO_JOB)
    if NO_JOB.search(answer.output + answer.words):
        return []
    return None if answer.status else [line.strip() for line in answer.output.splitlines() if line.strip().isdigit()]


def _taken_before(folder: Path) -> set[str]:
    """The numbers of the jobs that are known to have been taken."""
    try:
        return set((folder / TAKEN).read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        return set()


def _value(arguments: list[str], option: str) -> str | None:
    """The value of an option, given as its own word or after `=`."""
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _say(answer: Answer) -> int:
    sys.stdout.write(answer.output)
    sys.stderr.write(answer.words)
    return answer.status


def _note_all(kind: Kind, job: str, log: str | None, arguments: list[str], folder: Path) -> None:
    """Note the job, also in the folder of each cell that it trains."""
    with contextlib.suppress(OSError):
        (folder / TAKEN).parent.mkdir(parents=True, exist_ok=True)
        with (folder / TAKEN).open("a", encoding="utf-8") as file:
            file.write(f"{job}\n")
    told: dict[str, Any] = {"scheduler": kind.scheduler, "id": job, "submitted_at": time.time()}
    told["log"] = log and log.replace("%j", job).replace("%J", job)
    for cell in cells_of(" ".join(arguments)):
        note(folder / cell, told)


def cells_of(command: str) -> list[PurePosixPath]:
    """The folders of the cells that a submitted command trains."""
    folders = []
    for wildcards in TRAINED.findall(command):
        values = dict(pair.split("=", 1) for pair in wildcards.split(",") if "=" in pair)
        if all(name in values for name in WILDCARDS):
            study, strategy, workers, seed = (values[name] for name in WILDCARDS)
            folders.append(PurePosixPath("results", study, "cells", strategy, f"{workers}workers", f"seed{seed}"))
    return list(dict.fromkeys(folders))


def note(cell: Path, job: dict[str, Any]) -> None:
    """Write job.json, for `strongscale.status`, with the jobs before: one of them may be at work. No job fails for want of it."""
    with contextlib.suppress(OSError):
        earlier = [one for one in jobs_of(cell) if one["id"] != job["id"]]
        temporary = cell / f".job.json.{job['id']}"
        temporary.write_text(json.dumps(job | {"earlier": earlier[:NUM_EARLIER]}) + "\n", encoding="utf-8")
        temporary.replace(cell / "job.json")


def jobs_of(cell: Path) -> list[dict[str, Any]]:
    """The jobs of a cell that job.json knows, the last one first."""
    try:
        last = json.loads((cell / "job.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(last, dict):
        return []
    earlier = last.pop("earlier", None)
    known = [last, *(earlier if isinstance(earlier, list) else [])]
    return [one for one in known if isinstance(one, dict) and isinstance(one.get("id"), str)]
