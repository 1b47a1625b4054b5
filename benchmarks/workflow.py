"""What Snakemake itself costs: planning a study, and doing it with cells that train nothing."""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml

from benchmarks import frame
from strongscale.common.command import run

ROOT = Path(__file__).resolve().parents[1]
CELLS, QUICK_CELLS = (24, 240, 2400), (6,)
PACKAGES = ("snakemake",)
PEER = "`import torch`"

STAND_IN = """\
#!/bin/sh
# python, as the rules call it, but every module is done at once: what is asked for is there, and empty.
case "$2" in
  strongscale.jobs.launch) echo '{{"files": {{}}}}' > "$3/receipt.json" ;;
  strongscale.training.prepare) while [ "$1" != --output ]; do shift; done; : > "$2" ;;
  *) exec {python} "$@" ;;
esac
"""
CAVEATS = (
    "Cells of this machine (`--profile local`): a scheduler's own pauses, seconds a job, come on top.",
    "Planning reads which files there are; on a network's file system it takes longer.",
)


def write_study(folder: Path, cells: int) -> list[Path]:
    """A study of so many cells that wait for nothing, and a data set that is there; the cells' results."""
    strategies = {f"line{number}": {"kind": "strong", "workers": [2]} for number in range(1, max(2, cells // 24 + 1))}
    seeds = cells // len(strategies)
    study = {
        "dataset": "none",
        "clock": "emulated",
        "network": "gigabit",
        "max_ranks": 1,
        "workers": [2],
        "seeds": list(range(seeds)),
        "strategies": strategies,
        "training": {"learning_rate": 0.001, "target": None},
    }
    config = {"study": "many", "datasets": {"none": {"phantom": {}}}, "studies": {"many": study}}
    (folder / "many.yaml").write_text(yaml.safe_dump(config))
    dataset = folder / "results/datasets/none/receipts/dataset.json"
    dataset.parent.mkdir(parents=True)
    dataset.write_text('{"files": {}}')
    results = Path("results/many/cells")
    return [
        results / line / "02workers" / f"seed{seed}" / "receipt.json" for line in strategies for seed in range(seeds)
    ]


def snakemake(folder: Path, cells: int, *options: str) -> frame.Figures:
    """Seconds of the whole command, and of each cell's share."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        own = Path(name)
        results = write_study(own, cells)
        stand_in = own / "bin" / "python"
        stand_in.parent.mkdir()
        stand_in.write_text(STAND_IN.format(python=sys.executable))
        stand_in.chmod(0o755)
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", own]
        command += ["--configfile", own / "many.yaml", "--profile", ROOT / "profiles" / "local", "--quiet", "all"]
        command += ["--allowed-rules", "cell", "train", *options, "--", *results]
        path = f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}"
        quietly = ["sh", "-c", 'exec "$@" > /dev/null', "sh", "env", "--chdir", str(own), f"PATH={path}"]
        process_s = frame.run_alone([*quietly, *map(str, command)])["process_s"]
        done = sum((own / result).exists() for result in results)
        if done != (0 if "--dry-run" in options else cells):
            raise RuntimeError(f"{done} of {cells} cells were done")
    return {"time_s": process_s, "a_cell_ms": 1000 * process_s / cells}


def import_torch() -> frame.Figures:
    """What one cell's process spends at least before it does anything."""
    process_s = frame.run_alone([sys.executable, "-c", "import torch"])["process_s"]
    return {"time_s": process_s, "a_cell_ms": 1000 * process_s}


def page(command: str) -> frame.Page:
    """What was compared and how."""
    return frame.Page(
        title="What Snakemake costs",
        command=command,
        compared="The workflow's own seconds: planning a study of N cells (`snakemake -n`), and doing it with cells whose commands "
        f"end at once. Beside them *{PEER}*, a process that every cell starts.\n\n"
        "A cell is two jobs: `cell`, which writes its cell.json, and `train`.",
        how="Contenders take turns; the first round is thrown away. The programs that the rules call are replaced by a shell "
        "script that makes their files and does nothing else, so what is left is Snakemake and a shell a job.",
        caveats=CAVEATS,
    )


def main(arguments: list[str]) -> None:
    """Measure, and write workflow.md and workflow.csv."""
    parser = frame.parser("workflow", main.__doc__, repeats=3)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = QUICK_CELLS if options.quick else CELLS
        contenders = {PEER: import_torch}
        contenders |= {f"planning {cells} cells": partial(snakemake, folder, cells, "--dry-run") for cells in numbers}
        contenders |= {f"doing {cells} cells": partial(snakemake, folder, cells) for cells in numbers}
        facts = frame.machine(PACKAGES)
        summaries = frame.summarise(frame.take_turns(contenders, options.repeats))
    command = f"python -m benchmarks.workflow --repeats {options.repeats}" + " --quick" * options.quick
    output = frame.folder_of(options)
    frame.write(output, "workflow", page(command), summaries, facts)


if __name__ == "__main__":
    run(main)
