"""The scheduler's job that a process belongs to."""

from collections.abc import Mapping


def scheduled_job(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The scheduler and the number of the job that this process belongs to."""
    if "SLURM_JOB_ID" in environment:
        return {"scheduler": "slurm", "id": environment["SLURM_JOB_ID"]}
    return {"scheduler": "lsf", "id": environment["LSB_JOBID"]} if "LSB_JOBID" in environment else None
