"""Say which part of a user's scans isn't there, and what to do."""

import argparse
from pathlib import Path

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.data.annotations import READERS
from strongscale.data.masks import FOLDER as MASKS
from strongscale.settings.datasets import WHOLE


def main(arguments: list[str]) -> None:
    """Always an error: the workflow asks for this only where a part of the scans is missing."""
    parser = argparse.ArgumentParser(prog="strongscale.data.missing", description=main.__doc__)
    parser.add_argument("path", type=Path, help=f"the missing file or folder; <folder>/{WHOLE}: the folder itself")
    path = parser.parse_args(arguments).path
    folder, named = path.parent, path.parent if path.name == WHOLE else path
    setting = "`folder` and `subsets`"
    if READERS.get(path.name) == 1:
        setting = "`cubes: {minimum_readers: 3}`, which takes annotations.csv alone,"
    elif path.name == MASKS:
        setting = "`cubes: {masks: false}`"
    raise UserError(
        f"{named}: not there. Put the scans and their annotations (for LUNA16: from its two Zenodo records, 3723295 and "
        f"4121926) into {folder}, or set the data set's {setting} in config.yaml (`download: luna16` fetches LUNA16, "
        "`download: lidc` crops around nodules of LIDC-IDRI)"
    )


if __name__ == "__main__":
    run(main)
