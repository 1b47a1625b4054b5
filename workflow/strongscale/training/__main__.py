"""Train one cell: `mpirun -n <ranks> python -m mpi4py -m strongscale.training <cell folder>`.

All it needs stands in the folder's cell.json. It writes epochs.csv as it goes, then weights.safetensors, and
result.json last: where that is, the cell is done.
"""

import argparse
import logging
import sys
from pathlib import Path

from strongscale.common.command import run
from strongscale.common.lock import PATIENCE_S
from strongscale.distributed import world
from strongscale.recovery import failure
from strongscale.recovery.finished import read_settings
from strongscale.recovery.interrupt import EXIT_STATUS, Interrupt, Interrupted
from strongscale.training.run import train_once

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> None:
    """Train the cell whose folder holds cell.json."""
    parser = argparse.ArgumentParser(prog="strongscale.training", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the cell's folder")
    parser.add_argument("--any-ranks", action="store_true", help="on the wall clock: whatever cell.json says of ranks")
    parser.add_argument("--patience-s", type=float, default=PATIENCE_S, help="for another run in the folder to end")
    options = parser.parse_args(arguments)
    folder, interrupt = options.folder, Interrupt()
    interrupt.listen()
    ranks = world.create()
    if ranks.rank > 0:
        logging.getLogger().setLevel(logging.WARNING)
    read_settings(folder)  # a wrong folder is told before anything is written to it
    try:
        train_once(folder, ranks, any_ranks=options.any_ranks, interrupt=interrupt, patience_s=options.patience_s)
    except Interrupted:
        if ranks.rank == 0:
            log.warning("interrupted by a signal; start again to go on from the last checkpoint")
        ranks.close()
        sys.exit(EXIT_STATUS)
    except Exception as error:
        failure.tell(folder, ranks.rank, error)
        raise
    ranks.close()


if __name__ == "__main__":
    run(main)
