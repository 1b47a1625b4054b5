"""The files that LSF keeps or writes: its configuration, lsb.events, and a job's output."""

import os
import time
from pathlib import Path

from lsf_jobs import CLUSTER, Job, Settings

STATES = {"PEND": 1, "PSUSP": 2, "RUN": 4, "SSUSP": 8, "USUSP": 16, "EXIT": 32, "DONE": 64, "UNKWN": 65536}
LINE = "-" * 60
REPORT = """Sender: LSF System <lsfadmin@{host}>
Subject: Job {number}: <{name}> in cluster <{cluster}> {word}

Job <{name}> was submitted from host <h1> by user <{user}> in cluster <{cluster}>.
Job was executed on host(s) <{hosts}>, in queue <{queue}>, as user <{user}> in cluster <{cluster}>.
<{cwd}> was used as the working directory.

Your job looked like:

{line}
# LSBATCH: User input
{command}
{line}

{end}

Resource usage summary:

    CPU time :                                   1.00 sec.

The output (if any) follows:

"""


def configuration_folder(folder: Path) -> Path:
    """LSF_CONFDIR."""
    return folder / "conf"


def write_configuration(folder: Path, settings: Settings) -> None:
    """Write lsb.params and make the folder of lsb.events."""
    parameters = configuration_folder(folder) / "lsbatch" / CLUSTER / "configdir" / "lsb.params"
    parameters.parent.mkdir(parents=True, exist_ok=True)
    text = f"# the stand-in's\nBegin Parameters\nDEFAULT_QUEUE = {settings.default_queue}   # default\nEnd Parameters\n"
    parameters.write_text(text)


class Events:
    """lsb.events: what happened to jobs, one line each."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "work" / CLUSTER / "logdir" / "lsb.events"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def new(self, job: Job) -> None:
        """JOB_NEW, with the fields that are read in their places: job 4, user 5, name 42."""
        words = ["0"] * 44
        words[:5] = ['"JOB_NEW"', '"10.1"', str(int(time.time())), str(job.number), str(os.geteuid())]
        words[28], words[41], words[42] = f'"{job.request.queue}"', f'"{job.request.name}"', '"command"'
        self._append(words)

    def status(self, job: Job) -> None:
        """JOB_STATUS: job 4, state 5."""
        words = ['"JOB_STATUS"', '"10.1"', str(int(time.time())), str(job.number), str(STATES[job.state])]
        self._append([*words, "0", "0"])

    def _append(self, words: list[str]) -> None:
        with self.path.open("a") as file:
            file.write(" ".join(words) + "\n")


def append_output(folder: Path, job: Job) -> None:
    """Append a finished job's report and output to its -o file, its errors to its -e file (else to the -o file)."""
    outputs = [folder / f"{job.number}.{name}" for name in ("out", "err")]
    written, errors = (path.read_text(errors="replace") if path.exists() else "" for path in outputs)
    for path in outputs:
        path.unlink(missing_ok=True)
    report = job_report(job)
    if job.request.output is None:
        return  # LSF would send a mail
    if job.request.errors is None:
        append(job, job.request.output, report + written + errors)
        return
    append(
        job, job.request.output, f"{report}{written}\n\nPS:\n\nRead file <{job.request.errors}> for stderr output.\n\n"
    )
    append(job, job.request.errors, errors)


def append(job: Job, name: str, text: str) -> None:
    """Append to a file named as bsub was told."""
    path = Path(job.request.cwd) / name.replace("%J", str(job.number)).replace("%I", "0")
    if path.parent.is_dir():
        with path.open("a") as file:
            file.write(text)


def job_report(job: Job) -> str:
    """What LSF writes above a job's output."""
    code = job.exit_code
    end = "Successfully completed." if code == 0 else f"Exited with exit code {code}."
    if job.limit_reached:
        end = f"TERM_RUNLIMIT: job killed after reaching LSF run time limit.\n{end}"
    return REPORT.format(
        host=next(iter(job.hosts), "h1"),
        hosts=">, <".join(f"{slots}*{host}" for host, slots in job.hosts.items()),
        number=job.number,
        name=job.request.name,
        queue=job.request.queue,
        cwd=job.request.cwd,
        command=job.request.command,
        user=job.request.environment.get("USER", "user"),
        cluster=CLUSTER,
        word="Done" if code == 0 else "Exited",
        end=end,
        line=LINE,
    )
