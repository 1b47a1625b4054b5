"""What the rules ask of a job, in the words of whatever runs it."""

import functools
import shlex
from dataclasses import replace

from strongscale.common.errors import UserError
from strongscale.jobs import request
from strongscale.jobs.scheduler import limits
from strongscale.jobs.scheduler.own import find as find_own
from strongscale.settings import cells

STAGE_MINUTES = 60  # of the jobs of stages that aren't training


def executor_name():
    """What runs the jobs; None before that is known."""
    return workflow.executor_plugin and workflow.executor_plugin.name


@functools.cache  # asked for every job, and looked up once
def has_command(name):
    """Whether this machine has a scheduler's own command."""
    return find_own(name) is not None


def check_scheduler():
    """End with one line where the profile's scheduler isn't on this machine: its plugin would end with a traceback."""
    submit = {"slurm": "sbatch", "lsf": "bsub"}.get(executor_name())
    if submit and not has_command(submit):
        sys.exit(f"{executor_name()}: no {submit} on this machine; type this on a login node, or with --profile local")


def check_limits(study):
    """End with one line where a job of the study would ask for more time than its queue allows, at its last retry."""
    if executor_name() in ("slurm", "lsf") and not workflow.remote_exec:
        attempts = workflow.execution_settings.retries + 1
        minutes = max(request.minutes_of(most, attempts, SITE) for most in (STAGE_MINUTES, study.job.minutes))
        try:
            limits.check(executor_name(), SITE, minutes)
        except UserError as mistake:
            sys.exit(str(mistake))


def job_resources(job_of):
    """What the plugin in use must be told, resource by resource, to get the job that `job_of` describes."""

    def resource(name):
        def value(wildcards, attempt):
            deals_array = bool(getattr(workflow.executor_settings, "array_execs", None))
            return request.resources_of(job_of(wildcards, attempt), SITE, executor_name(), deals_array).get(name)

        return value

    return {name: resource(name) for name in request.NAMES}


def all_cores(wildcards):
    """All cores of this machine; a scheduler has no such number, and gives a job its own."""
    return workflow.resource_settings.cores or 1


def stage_job(wildcards, attempt):
    """The job of a stage that isn't training: one process, minutes."""
    return request.Job(memory_mb=4000, minutes=request.minutes_of(STAGE_MINUTES, attempt, SITE))


def two_ranks(wildcards, attempt):
    """The job that measures what joins two ranks."""
    return request.Job(ranks=2, minutes=request.minutes_of(10, attempt, SITE))


def training_job(study, ranks, attempt):
    """The job that trains a cell: a GPU a rank where the study asks for GPUs."""
    return request.Job(
        ranks=ranks,
        threads=study.training.threads,
        gpus=int(study.training.device == "cuda"),
        memory_mb=request.grown(study.job.memory_mb, attempt),
        minutes=request.minutes_of(study.job.minutes, attempt, SITE),
    )


def cell_job(wildcards, attempt):
    """The job of a cell."""
    job = training_job(study_of(wildcards), cell_ranks(wildcards), attempt)
    return replace(job, together=cells_together(wildcards))


def cells_together(wildcards):
    """How many cells may share this one's job: one, if --group-components doesn't say otherwise of its stage."""
    if cell_ranks(wildcards) > 1:
        return 1
    return workflow.group_settings.group_components.get(cells.stage_of(wildcards.strategy), 1)


def cell_group(wildcards):
    """The name by which cells of one rank share jobs."""
    return cells.stage_of(wildcards.strategy) if cells_together(wildcards) > 1 else None


def case_job(wildcards, attempt):
    """The job of one run of the proof of exactness."""
    return training_job(study_of(wildcards), case_ranks(wildcards), attempt)


def launch_options(wildcards, attempt):
    """What the launcher must know of its job: a resource, since it may change without a cell being trained again."""
    if not workflow.remote_exec:
        return ""
    study = study_of(wildcards)
    minutes = request.minutes_of(study.job.minutes, attempt, SITE)
    options = ["--attempt", attempt, "--minutes", minutes, "--warning-s", SITE.warning_s]
    options += ["--memory-mb", request.grown(study.job.memory_mb, attempt)]
    options += ["--launcher", SITE.launcher] if SITE.launcher else []
    return shlex.join(map(str, options))
