"""Write the emulated clock's seconds into the cells' folders: clock.json, and seconds.csv with a row an epoch.

A cell that shares another's trajectory has these two files alone, and they say whose it is.
"""

import argparse
from pathlib import Path
from typing import Any

from strongscale.analysis.load import load
from strongscale.analysis.runs import Run, StudyRuns, network_name
from strongscale.common.command import run as run_command
from strongscale.common.files import atomic, write_json
from strongscale.settings.cells import Cell

TIMES = ["time_s", "compute_s", "communication_s", "evaluation_s"]


def main(arguments: list[str]) -> None:
    """Read a study's folder and write what the clock makes of each cell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    parser.add_argument("--output", type=Path, required=True, help="the list of what was written")
    options = parser.parse_args(arguments)
    runs = load(options.study)
    written = [str(write(runs, run)) for run in runs.runs] if runs.timings else []
    write_json(options.output, {"cells": written})


def write(runs: StudyRuns, run: Run) -> Path:
    """Write both files of one cell; its folder."""
    folder = runs.folder / Path(Cell(runs.name, run.strategy, run.workers, run.seed).folder).relative_to(runs.name)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "seconds.csv") as path:
        runs.epochs_of(run)[["epoch", "step", "validation_loss", *TIMES]].to_csv(path, index=False)
    write_json(folder / "clock.json", describe(runs, run))
    return folder


def describe(runs: StudyRuns, run: Run) -> dict[str, Any]:
    """How the cell ended, in how many seconds of which machine, and whose trajectory it is."""
    result = run.result
    told = {name: getattr(result, name) for name in ("status", "diverged_because", "epochs", "epochs_to_target")}
    return {
        "study": runs.name,
        "strategy": run.strategy,
        "workers": run.workers,
        "seed": run.seed,
        "trajectory": result.trajectory or run.cell.folder,
        **told,
        "clock": "emulated",
        "network": network_name(runs.study),
        "timings": [timings.label for timings in runs.timings],
        "time_to_target_s": result.time_to_target_s,
        "time_s": result.time_s,
        "parts": result.parts,
    }


if __name__ == "__main__":
    run_command(main)
