"""`python -m strongscale.jobs.scheduler <command> <its arguments>`: run the scheduler's own command of that name."""

import sys
from pathlib import Path

from strongscale.jobs.scheduler import lsf, slurm, submission
from strongscale.jobs.scheduler.own import find

COMMANDS = {
    "sbatch": submission.sbatch,
    "squeue": slurm.squeue,
    "bsub": submission.bsub,
    "bjobs": lsf.bjobs,
    "bkill": lsf.bkill,
}


def main(arguments: list[str]) -> int:
    """Run it; its exit status."""
    name, *rest = arguments
    own = find(name)
    if own is None:
        sys.stderr.write(f"{name}: not found; is this machine part of the cluster, and its module loaded?\n")
        return 127
    try:
        return COMMANDS[name](own, rest, Path.cwd())
    except KeyboardInterrupt:  # while it was waiting for the scheduler
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
