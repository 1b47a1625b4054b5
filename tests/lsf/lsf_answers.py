"""What the commands that only ask are told."""

import fnmatch
from pathlib import Path
from typing import Any

from lsf_files import configuration_folder
from lsf_jobs import CLUSTER, Job, Refused, Settings

FIELDS = ("jobid", "stat", "exit_code", "exec_host", "job_name", "queue")


def bjobs(jobs: dict[int, Job], arguments: list[str]) -> dict[str, Any]:
    """`bjobs [-noheader] [-a] [-o 'FIELD ...'] [-J PATTERN] [JOB_ID ...]`, -aJ being -a and -J."""
    rest, header, finished_too, pattern, fields, numbers = list(arguments), True, False, "*", ["jobid", "stat"], []
    while rest:
        option = rest.pop(0)
        if option == "-noheader":
            header = False
        elif option == "-a":
            finished_too = True
        elif option in ("-J", "-aJ") and rest:
            finished_too = finished_too or option == "-aJ"
            pattern = rest.pop(0)
        elif option == "-o" and rest:
            fields = rest.pop(0).split()
        elif option.isdigit():
            numbers.append(int(option))
        else:
            raise Refused(f"{option}: Illegal option (unknown to this stand-in)")
    if unknown := [field for field in fields if field not in FIELDS]:
        raise Refused(f"{unknown[0]}: Field name is not valid (or unknown to this stand-in)")
    chosen = [
        job
        for job in jobs.values()
        if fnmatch.fnmatchcase(job.request.name, pattern)
        and (job.number in numbers if numbers else finished_too or not job.finished)
    ]
    if not chosen:
        wanted = " ".join(str(number) for number in numbers) or pattern
        raise Refused(f"Job <{wanted}> is not found" if numbers or pattern != "*" else "No unfinished job found")
    lines = [" ".join(fields).upper()] if header else []
    lines += [" ".join(shown(job, field) for field in fields) for job in chosen]
    return {"output": "".join(f"{line}\n" for line in lines)}


def shown(job: Job, field: str) -> str:
    """One field of a job."""
    values = {
        "jobid": job.number,
        "stat": job.shown_as or job.state,
        "exit_code": job.exit_code or None,
        "exec_host": ":".join(f"{slots}*{host}" for host, slots in job.hosts.items()),
        "job_name": job.request.name,
        "queue": job.request.queue,
    }
    return str(values[field] or "-")


def bhist(jobs: dict[int, Job], arguments: list[str]) -> dict[str, Any]:
    """`bhist -l -a`: the history of all jobs, as far as projects go."""
    if sorted(arguments) != ["-a", "-l"]:
        raise Refused(f"bhist {' '.join(arguments)}: this stand-in knows: bhist -l -a")
    if not jobs:
        raise Refused("No matching job found")
    text = "Job <{}>, Job Name <{}>, User <user>, Project <{}>, Command <{}>\n"
    values = ((job.number, job.request.name, job.request.project, job.request.command) for job in jobs.values())
    return {"output": "".join(text.format(*each) for each in values)}


def lines_of_badmin(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """`badmin showconf mbd`."""
    if arguments != ["showconf", "mbd"]:
        raise Refused(f"badmin {' '.join(arguments)}: this stand-in knows: badmin showconf mbd")
    values = {
        "LSB_SHAREDIR": folder / "work",
        "LSF_CONFDIR": configuration_folder(folder),
        "LSF_UNIT_FOR_LIMITS": "MB",
    }
    lines = "".join(f"        {key} = {value}\n" for key, value in values.items())
    return {"output": f"MBD configuration at Mon Jan  1 00:00:00\n{lines}"}


def lines_of_lsclusters(settings: Settings, arguments: list[str]) -> dict[str, Any]:
    """`lsclusters [-w]`."""
    if arguments not in ([], ["-w"]):
        raise Refused(f"lsclusters {' '.join(arguments)}: this stand-in knows: lsclusters -w")
    header = "CLUSTER_NAME   STATUS   MASTER_HOST   ADMIN      HOSTS  SERVERS"
    return {"output": f"{header}\n{CLUSTER}   ok   h1   lsfadmin   {settings.hosts}   {settings.hosts}\n"}


def lines_of_bqueues(settings: Settings, arguments: list[str]) -> dict[str, Any]:
    """`bqueues -l QUEUE`: its run limit, where it has one."""
    if len(arguments) != 2 or arguments[0] != "-l":
        raise Refused(f"bqueues {' '.join(arguments)}: this stand-in knows: bqueues -l QUEUE")
    queue = arguments[1]
    if queue not in settings.queues:
        raise Refused(f"{queue}: No such queue")
    most = settings.queues[queue]
    limits = "" if most is None else f"MAXIMUM LIMITS:\n RUNLIMIT\n {most:.1f} min of h1\n\n"
    return {"output": f"\nQUEUE: {queue}\n  -- a queue of the stand-in\n\n{limits}USERS: all\nHOSTS:  all\n"}


def lines_of_bparams(settings: Settings, arguments: list[str]) -> dict[str, Any]:
    """`bparams`."""
    if arguments:
        raise Refused(f"bparams {' '.join(arguments)}: this stand-in knows: bparams")
    return {"output": f"Default Queues:  {settings.default_queue}\nJob Dispatch Interval:  20 seconds\n"}
