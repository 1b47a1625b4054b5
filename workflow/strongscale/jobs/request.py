"""One description of a job, and what each scheduler's plugin must be told to get it.

The plugins ask for the same thing by different names, and each has traps: a one-rank job whose `mpi` isn't empty is
refused by one, `gpu` makes it ask for as many tasks a GPU as there are tasks, the other counts slots by `cpus_per_task`
and knows GPUs only word for word. All of that is here, and nowhere else.
"""

import math
import shlex
from dataclasses import dataclass
from typing import Any

from strongscale.settings.site import Site

GROWTH = 0.5  # of minutes and memory, with each retry


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job needs, wherever it runs."""

    ranks: int = 1
    threads: int = 1
    """Of a rank."""
    gpus: int = 0
    """Of a rank."""
    memory_mb: int = 1000
    """Of a rank."""
    minutes: int = 10
    together: int = 1
    """Jobs that may share one allocation."""

    def ranks_per_host(self, site: Site) -> int:
        """As many as a host's GPUs and cores allow, evenly spread."""
        most = max(1, site.cores_per_host // self.threads)
        if self.gpus:
            most = min(most, max(1, site.gpus_per_host // self.gpus))
        hosts = math.ceil(self.ranks / most)
        return math.ceil(self.ranks / hosts)

    def hosts(self, site: Site) -> int:
        """Hosts that the ranks are spread over."""
        return math.ceil(self.ranks / self.ranks_per_host(site))


def grown(amount: int, attempt: int) -> int:
    """What to ask for at the first, second, ... attempt: the last one may have failed for want of it."""
    return math.ceil(amount * (1 + GROWTH * (attempt - 1)))


def minutes_of(minutes: int, attempt: int, site: Site) -> int:
    """The wall time to ask for at the first, second, ... attempt: never more than the queue allows."""
    wanted = grown(minutes, attempt)
    return min(wanted, site.longest_minutes or wanted)


def for_slurm(job: Job, site: Site) -> dict[str, Any]:
    """What snakemake-executor-plugin-slurm makes of a job: resources by name; those that are None are left out.

    `mpi` is there, and empty for one rank, so that the plugin neither refuses the job nor wraps it in srun, under which
    an mpirun hangs. Several ranks ask for GPUs by host: `gpu` counts those of all hosts and spreads them as it likes.
    One rank asks for what adds up when jobs share an allocation.
    """
    hosts, per_host, several = job.hosts(site), job.ranks_per_host(site), job.ranks > 1
    resources = {
        "mpi": "mpirun" if several else "",
        "nodes": hosts if several else None,
        "tasks_per_node": per_host if per_host > 1 else None,
        "tasks": job.ranks if several and per_host == 1 else None,
        "tasks_per_gpu": 0 if job.gpus else None,
        "gres": f"gpu:{per_host * job.gpus}" if job.gpus and several else None,
        "gpu": job.gpus if job.gpus and not several else None,
        "cpus_per_task": job.threads,
        **_memory(job, site),
        "runtime": job.minutes,
        "slurm_partition": site.queue,
        "slurm_account": site.account,
        "constraint": site.constraint,
        "slurm_extra": site.extra or None,
    }
    return {name: value for name, value in resources.items() if value is not None}


def _memory(job: Job, site: Site) -> dict[str, int | None]:
    """Of a host; and of a core, which counts if it is there. Only the former adds up where jobs share an allocation."""
    of_core = math.ceil(job.memory_mb / job.threads)
    return {
        "mem_mb": job.ranks_per_host(site) * job.memory_mb,
        "mem_mb_per_cpu": of_core if job.together == 1 else None,
    }


def for_lsf(job: Job, site: Site) -> dict[str, Any]:
    """What snakemake-executor-plugin-lsf makes of a job. Its slots are `cpus_per_task`: a core each, of all ranks."""
    hosts, per_host = job.hosts(site), job.ranks_per_host(site)
    gpus = f"-gpu num={per_host * job.gpus * job.together}" if job.gpus else ""
    resources = {
        "mpi": "mpirun" if job.ranks > 1 else "",
        "ptile": per_host * job.threads if job.ranks > 1 else None,
        "cpus_per_task": (hosts * per_host if job.gpus else job.ranks) * job.threads,
        **_memory(job, site),
        "runtime": job.minutes,
        "lsf_queue": site.queue,
        "lsf_project": site.account or "strongscale",  # without one the plugin guesses, and may crash
        "lsf_extra": " ".join(part for part in (gpus, site.extra) if part) or None,
    }
    return {name: value for name, value in resources.items() if value is not None}


def for_local(job: Job, site: Site) -> dict[str, Any]:
    """This machine: GPUs count against `--resources gpu=...`, where that is given."""
    memory = {"mem_mb": job.ranks * job.memory_mb}
    return memory | ({"gpu": job.ranks * job.gpus} if job.gpus else {})


SCHEDULERS = {"slurm": for_slurm, "slurm-jobstep": for_slurm, "lsf": for_lsf}
"""By the name of the executor; slurm-jobstep is the one inside a Slurm job, which must find `mpi` there too."""


def resources_of(job: Job, site: Site, executor: str | None, deals_array: bool = False) -> dict[str, Any]:
    """The resources that the executor of this name asks for; all the others run jobs on this machine.

    Where the executor deals out the tasks of an array it must not find `mpi`, or all of them would run the first cell.
    """
    resources = SCHEDULERS.get(executor or "", for_local)(job, site)
    return {name: value for name, value in resources.items() if not (deals_array and name == "mpi")}


def prelude(site: Site) -> str:
    """The shell commands before every job's own."""
    modules = f"module load {shlex.join(site.modules)}; " if site.modules else ""
    return modules + "".join(f"export {name}={shlex.quote(value)}; " for name, value in site.environment.items())


NAMES = (
    *("mpi", "nodes", "tasks_per_node", "tasks", "tasks_per_gpu", "gres", "gpu", "ptile", "cpus_per_task"),
    *("mem_mb", "mem_mb_per_cpu", "runtime", "slurm_partition", "slurm_account", "constraint", "slurm_extra"),
    *("lsf_queue", "lsf_project", "lsf_extra"),
)
