"""Refuse to go on where faults of the data cost more nodules than the user tolerates."""

import argparse
from pathlib import Path

import pandas as pd

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.data.ledger import MISSING
from strongscale.data.tables import read_table


def check_losses(table: pd.DataFrame, tolerated: int, path: Path) -> int:
    """How many nodules the ledger says are lost; no more than is tolerated."""
    lost = table[table["lost"].astype(bool)]
    if len(lost) <= tolerated:
        return len(lost)
    first = lost.iloc[0]
    counts = ", ".join(f"{count} {reason}" for reason, count in lost["reason"].value_counts().items())
    hint = "; or set partial: true, if those scans lie in other subsets" if MISSING in set(lost["reason"]) else ""
    raise UserError(
        f"{path}: {len(lost)} nodules lost ({counts}), tolerated_losses: {tolerated}; the first: {first['file']}, row "
        f"{first['row']}: {first['detail']}; mend the data and run again with --forcerun cubes, or set "
        f"tolerated_losses: {len(lost)} to go on{hint}"
    )


def main(arguments: list[str]) -> None:
    """Compare a ledger's losses with what is tolerated; write both numbers where that holds."""
    parser = argparse.ArgumentParser(prog="strongscale.data.losses", description=main.__doc__)
    parser.add_argument("--ledger", required=True, type=Path, help="what became of every annotation")
    parser.add_argument("--tolerated", required=True, type=int, help="nodules that may be lost")
    parser.add_argument("--output", required=True, type=Path, help="losses.json")
    options = parser.parse_args(arguments)
    lost = check_losses(read_table(options.ledger), options.tolerated, options.ledger)
    write_json(options.output, {"lost": lost, "tolerated": options.tolerated})


if __name__ == "__main__":
    run(main)
