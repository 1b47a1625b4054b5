"""What is true of one cluster and of no other: site.yaml, which a user copies from site.example.yaml.

Nothing heavy is imported: the Snakefile reads it on a login node.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from strongscale.common.errors import UserError
from strongscale.common.schema import AT_LEAST_1, Between, build

USUAL = "site.yaml"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A cluster's queues, hosts and programs."""

    queue: Annotated[str | None, "Slurm's partition, LSF's queue; null: the scheduler's default"] = None
    account: Annotated[str | None, "Slurm's account, LSF's project; null: the scheduler's default"] = None
    gpus_per_host: Annotated[int, AT_LEAST_1, "GPUs that a job may use on one host; the paper used two"] = 2
    cores_per_host: Annotated[int, AT_LEAST_1, "cores that a job may use on one host"] = 16
    longest_minutes: Annotated[int | None, Between(low=2), "the queue's longest wall time; null: none"] = None
    warning_s: Annotated[int, AT_LEAST_1, "ahead of its limit, when a run checkpoints and leaves"] = 120
    constraint: Annotated[str | None, "features of Slurm's nodes, such as a100; for LSF see `extra`"] = None
    modules: Annotated[tuple[str, ...], "environment modules that every job loads"] = ()
    environment: Annotated[dict[str, str], "variables that every job sets, such as NCCL_SOCKET_IFNAME"] = field(
        default_factory=dict
    )
    launcher: Annotated[
        str | None, "what starts ranks, in place of our own choice, such as `srun --mpi=pmix`; `-n <ranks>` is added"
    ] = None
    extra: Annotated[
        str,
        "further options of sbatch or bsub, word for word; Slurm's plugin refuses those that have a key of their own",
    ] = ""

    def __post_init__(self) -> None:
        for name in self.environment:
            if not name.isidentifier():
                raise UserError(f"environment: {name!r} is not allowed; allowed: names of environment variables")
        for name in ("queue", "account"):
            value = getattr(self, name)
            if value is not None and not all(letter.isalnum() or letter in "_-./+" for letter in value):
                raise UserError(f"{name}: {value!r} is not allowed; allowed: letters, digits and _-./+")


def read(named: str | None) -> Site:
    """The site's values; all of them have a default, and a file that nobody named may be missing."""
    import yaml  # not where it isn't needed: a compute node may lack it

    path = Path(named or USUAL)
    if named is None and not path.exists():
        return Site()
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: can't be read ({' '.join(str(error).split())}); mend it") from None
    try:
        return build(Site, raw or {}, "")
    except UserError as mistake:
        raise UserError(f"{path}: {mistake}") from None
