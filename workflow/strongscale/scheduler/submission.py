"""Submit a job, and note its number in the folders of the cells that it trains."""

import contextlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

TRAINED = re.compile(r"\btrain\w*:([\w=,.+-]+)")  # what the job's own Snakemake is told to make
WILDCARDS = ("study", "strategy", "workers", "seed")


def sbatch(own: str, arguments: list[str], folder: Path) -> int:
    """Slurm's, called with --parsable: it answers with the number alone, or number;cluster."""
    log = next((value.removeprefix("--output=") for value in arguments if value.startswith("--output=")), None)
    if log is None and "--output" in arguments:
        log = arguments[arguments.index("--output") + 1]
    return _submit("slurm", own, arguments, folder, r"^(\d+)", log)


def bsub(own: str, arguments: list[str], folder: Path) -> int:
    """LSF's: it answers `Job <7> is submitted to queue <normal>.`"""
    log = arguments[arguments.index("-o") + 1] if "-o" in arguments[:-1] else None
    return _submit("lsf", own, arguments, folder, r"Job <(\d+)>", log)


def _submit(scheduler: str, own: str, arguments: list[str], folder: Path, number: str, log: str | None) -> int:
    answer = subprocess.run([own, *arguments], stdout=subprocess.PIPE, text=True)
    sys.stdout.write(answer.stdout)
    found = re.search(number, answer.stdout, re.MULTILINE)
    if answer.returncode == 0 and found:
        job = {"scheduler": scheduler, "id": found[1], "submitted_at": time.time()}
        job["log"] = log and log.replace("%j", found[1]).replace("%J", found[1])
        for cell in cells_of(" ".join(arguments)):
            note(folder / cell, job)
    return answer.returncode


def cells_of(command: str) -> list[PurePosixPath]:
    """The folders of the cells that a submitted command trains."""
    folders = []
    for wildcards in TRAINED.findall(command):
        values = dict(pair.split("=", 1) for pair in wildcards.split(",") if "=" in pair)
        if all(name in values for name in WILDCARDS):
            study, strategy, workers, seed = (values[name] for name in WILDCARDS)
            folders.append(PurePosixPath("results", study, "cells", strategy, f"{workers}workers", f"seed{seed}"))
    return list(dict.fromkeys(folders))


def note(cell: Path, job: dict[str, object]) -> None:
    """Write job.json, for `strongscale.status`; no job fails for want of it."""
    with contextlib.suppress(OSError):
        temporary = cell / f".job.json.{job['id']}"
        temporary.write_text(json.dumps(job) + "\n", encoding="utf-8")
        temporary.replace(cell / "job.json")
