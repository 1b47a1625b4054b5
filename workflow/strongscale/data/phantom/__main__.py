"""Make artificial scans: `python -m strongscale.data.phantom`."""

import argparse
import json
from pathlib import Path

from strongscale.common.command import run
from strongscale.common.files import atomic
from strongscale.common.schema import build
from strongscale.data.phantom.masks import write_masks
from strongscale.data.phantom.scans import annotations, write_subset
from strongscale.settings.datasets import Phantom


def main(arguments: list[str]) -> None:
    """Make artificial scans, or the annotations or the nodules' masks of all of them."""
    parser = argparse.ArgumentParser(prog="strongscale.data.phantom", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "annotations": "the annotations of all scans",
        "masks": "the nodules' masks of all scans",
        "scans": "the scans of one subset",
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--settings", required=True, help="the data set's `phantom`, as JSON")
        command.add_argument("--output", required=True, type=Path, help="folder to write to")
        if name == "scans":
            command.add_argument("--subset", required=True, help="subset0, subset1, ...")
    options = parser.parse_args(arguments)
    settings = build(Phantom, json.loads(options.settings), "phantom")
    if options.command == "annotations":
        for name, table in annotations(settings).items():
            with atomic(options.output / name) as temporary:
                table.to_csv(temporary, index=False)
    elif options.command == "masks":
        write_masks(settings, options.output)
    else:
        write_subset(settings, options.subset, options.output)


if __name__ == "__main__":
    run(main)
