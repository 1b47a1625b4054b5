"""What is going on in a study: `python -m strongscale.status results/paper`. Reads files, changes nothing."""

import argparse
import contextlib
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path

from strongscale.common.command import run
from strongscale.status import planned
from strongscale.status.page import WIDTH, Page
from strongscale.status.snapshot import as_table, take

PERIOD_S = 5.0
CLEAR = "\x1b[H\x1b[2J"


def show(folder: Path, *, as_json: bool, indent: int | None = 2) -> str:
    """The study now, or each study of a comparison, as text for this terminal or as JSON."""
    return "\n".join(_show(one, as_json=as_json, indent=indent) for one in planned.members(folder))


def _show(folder: Path, *, as_json: bool, indent: int | None) -> str:
    snapshot = take(folder, time.time())
    if as_json:
        return json.dumps(as_table(snapshot), indent=indent, allow_nan=False) + "\n"
    terminal = sys.stdout.isatty()
    width = min(WIDTH, shutil.get_terminal_size().columns) if terminal else WIDTH
    return Page(width, colour=terminal and not os.environ.get("NO_COLOR")).write(snapshot)


def watch(folder: Path, period_s: float, *, as_json: bool) -> None:
    """Show the study again and again: in place on a terminal, else one below the other (JSON: a line each time)."""
    while True:
        text = show(folder, as_json=as_json, indent=None)
        sys.stdout.write(CLEAR + text if sys.stdout.isatty() else text)
        sys.stdout.flush()
        time.sleep(period_s)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (0 < seconds < math.inf):
        raise ValueError
    return seconds


def main(arguments: list[str]) -> None:
    """Tell what is going on in a study."""
    parser = argparse.ArgumentParser(prog="strongscale.status", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the study's folder, like results/paper")
    parser.add_argument(
        "--watch", nargs="?", type=_seconds, const=PERIOD_S, metavar="SECONDS", help="again and again, until Ctrl-C"
    )
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(arguments)
    if options.watch is None:
        sys.stdout.write(show(options.folder, as_json=options.json))
        return
    with contextlib.suppress(KeyboardInterrupt):
        watch(options.folder, options.watch, as_json=options.json)


if __name__ == "__main__":
    run(main)
