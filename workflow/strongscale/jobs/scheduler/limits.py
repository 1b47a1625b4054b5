"""The longest wall time that a queue allows, where its scheduler tells: better known before anything is submitted."""

import functools
import itertools
import math
import re

from strongscale.common.errors import UserError
from strongscale.jobs.scheduler.own import find
from strongscale.jobs.scheduler.patience import ONCE, ask
from strongscale.settings.site import Site

DAYS_AND_TIME = re.compile(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)")


def check(scheduler: str, site: Site, minutes: int) -> None:
    """A `UserError` that names `longest_minutes` if jobs of so many minutes are more than the queue allows."""
    if "qos" in site.extra.lower():  # it may have limits of its own, in place of the partition's
        return
    queue, longest = longest_minutes(scheduler, site.queue)
    if longest is not None and minutes > longest:
        least = "null" if site.longest_minutes is None else site.longest_minutes
        raise UserError(
            f"site.yaml: longest_minutes: {least} is not allowed, for jobs would ask for up to {minutes} minutes and "
            f"{scheduler}'s queue {queue} allows {longest}; allowed: longest_minutes: {longest}, or a queue with more"
        )


@functools.cache
def longest_minutes(scheduler: str, queue: str | None) -> tuple[str | None, int | None]:
    """The queue (the default one if None), and the most minutes of a job in it; None where that isn't told."""
    return {"slurm": _of_slurm, "lsf": _of_lsf}[scheduler](queue)


def _of_slurm(queue: str | None) -> tuple[str | None, int | None]:
    """`sinfo` has a line a partition, the default one marked by a star."""
    for line in _told("sinfo", "--noheader", "--format=%P %l").splitlines():
        words = line.split()
        if len(words) == 2 and (words[0].rstrip("*") == queue if queue else words[0].endswith("*")):
            return words[0].rstrip("*"), _minutes(words[1])
    return queue, None


def _minutes(text: str) -> int | None:
    """Slurm's [days-][[hours:]minutes:]seconds in whole minutes; `infinite` is none."""
    found = DAYS_AND_TIME.fullmatch(text)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes + seconds // 60


def _of_lsf(queue: str | None) -> tuple[str | None, int | None]:
    """`bqueues -l` has limits in minutes under their names, side by side or below each other, the largest ones last."""
    if queue is None:
        default = re.search(r"Default Queues?:\s*(\S+)", _told("bparams"))
        queue = default and default[1]
    lines = _told("bqueues", "-l", queue).splitlines() if queue else []
    longest = None
    for line, following in itertools.pairwise([*lines, ""]):
        names = re.findall(r"\b(CPULIMIT|RUNLIMIT)\b", line)
        if "RUNLIMIT" in names:
            values = re.findall(r"([\d.]+)\s*min\b", line) or re.findall(r"([\d.]+)\s*min\b", following)
            if len(values) == len(names):
                longest = math.floor(float(values[names.index("RUNLIMIT")]))
    return queue, longest


def _told(name: str, *arguments: str) -> str:
    """What a command says; nothing if it isn't there, fails, or doesn't answer."""
    own = find(name)
    answer = ask([own, *arguments], ONCE) if own else None
    return answer.output if answer and answer.status == 0 else ""
