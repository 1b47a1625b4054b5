"""The paper's machine, reconstructed: where its seconds may have gone, and the timings that follow from the likeliest reading."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strongscale.common.command import run
from strongscale.common.files import write_json, write_text
from strongscale.common.output import write_csv
from strongscale.common.schema import plain
from strongscale.paper_machine.page import page
from strongscale.paper_machine.readings import OBSERVED, WORKERS, Reading, law, monotone, readings
from strongscale.paper_machine.shipped import SHIPPED_STEP_S, modern_gpu, paper_k80
from strongscale.settings.timed import SHIPPED
from strongscale.timing.timings import Timings


def main(arguments: list[str]) -> None:
    """Test readings of where the paper's seconds went; write the page, and the timings that are shipped."""
    parser = argparse.ArgumentParser(prog="strongscale.paper_machine", description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the page and its numbers, without .md and .csv")
    parser.add_argument("--shipped", action="store_true", help="write the timings that come with the package, too")
    options = parser.parse_args(arguments)
    tried = readings(SHIPPED_STEP_S)
    write_csv(options.output.with_suffix(".csv"), rows_of(tried))
    write_text(options.output.with_suffix(".md"), page(tried, shipped_files()))
    if options.shipped:
        for name, timings in shipped_files().items():
            write_json(SHIPPED / name, plain(timings))


def shipped_files() -> dict[str, Timings]:
    """The timings that come with the package and weren't measured, by the file's name."""
    return {"paper_k80.json": paper_k80(), "modern_gpu.json": modern_gpu()}


def rows_of(tried: Sequence[Reading]) -> list[dict[str, Any]]:
    """A row for each reading and number of workers."""
    judged = {f"({one.key})": one.judged for one in tried} | {"(e)": law(), "never rising": monotone()}
    return [
        {
            "reading": name,
            "workers": workers,
            "efficiency_percent": round(own.predicted[workers], 2),
            "stated_percent": OBSERVED[workers],
            "error_points": round(own.predicted[workers] - OBSERVED[workers], 2),
            "origin": "reconstructed",
        }
        for name, own in judged.items()
        for workers in WORKERS
    ]


if __name__ == "__main__":
    run(main)
