"""squeue as the Slurm plugin needs it."""

import sys
from pathlib import Path

from strongscale.jobs.scheduler import states
from strongscale.jobs.scheduler.patience import Patience, ask


def squeue(own: str, arguments: list[str], folder: Path, patience: Patience | None = None) -> int:
    """Ask until Slurm answers. After some failures the plugin would forget its jobs; no answer leaves them as they are."""
    patience = patience or Patience()
    answer = ask([own, *arguments], patience)
    sys.stderr.write(answer.words)
    if answer.status == 0:
        states.keep(folder, answer.output, patience.now())
        sys.stdout.write(answer.output)
    return 0
