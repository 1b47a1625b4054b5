"""squeue as the Slurm plugin needs it."""

import sys
from pathlib import Path

from strongscale.scheduler.patience import Patience, ask


def squeue(own: str, arguments: list[str], folder: Path, patience: Patience | None = None) -> int:
    """Ask until Slurm answers. After some failures the plugin would forget its jobs; no answer leaves them as they are."""
    answer = ask([own, *arguments], patience or Patience())
    sys.stderr.write(answer.words)
    sys.stdout.write(answer.output if answer.status == 0 else "")
    return 0
