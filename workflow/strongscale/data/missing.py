"""Say which part of a user's scans isn't there, and what to do."""

import argparse
from pathlib import Path

from strongscale.command import run
from strongscale.errors import UserError


def main(arguments: list[str]) -> None:
    """Always an error: the workflow asks for this only where a part of the scans is missing."""
    parser = argparse.ArgumentParser(prog="strongscale.data.missing", description=main.__doc__)
    parser.add_argument("path", type=Path, help="the missing file or folder")
    path = parser.parse_args(arguments).path
    raise UserError(
        f"{path}: not there. Put the scans and their annotations (for LUNA16: from its two Zenodo records, 3723295 and "
        f"4121926) into {path.parent}, or set the data set's `folder` and `subsets` in config.yaml (`download: luna16` fetches LUNA16)"
    )


if __name__ == "__main__":
    run(main)
