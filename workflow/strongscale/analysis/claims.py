"""Test each of the paper's ten claims on a study's own runs: it holds, it fails, or this study can't tell."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from strongscale.analysis import convergence_claims as convergence
from strongscale.analysis import path_claims as path
from strongscale.analysis.load import load
from strongscale.analysis.paper import CLAIMS
from strongscale.analysis.remarks import remarks
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.verdict import Verdict
from strongscale.common.command import run as run_command
from strongscale.common.files import write_text
from strongscale.common.output import write_csv, write_html

log = logging.getLogger(__name__)

TESTS: dict[int, Callable[[StudyRuns], Verdict]] = {
    1: convergence.strong_reaches_target,
    2: path.strong_follows_sequential,
    3: convergence.weak_hardly_helps,
    4: convergence.linear_fails,
    5: convergence.warmup_limit,
    6: convergence.warmup_ceiling,
    7: convergence.strong_is_fastest,
    8: convergence.warmup_beats_weak,
    9: path.higher_rate_diverges,
    10: path.sharp_then_slow,
}

RULES = (
    "A claim holds only if each of its parts holds in every run of every seed that was looked at; one run against it "
    "makes it fail; a part without data leaves it open. `Reached the target` means within this study's epochs."
)


def main(arguments: list[str]) -> None:
    """Read a study's folder and write claims.csv and claims.md into it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    options = parser.parse_args(arguments)
    runs = load(options.study)
    write_claims(runs, options.study)
    for remark in remarks(runs):
        log.warning("%s", remark)
        sys.stdout.write(f"{runs.name}: {remark}\n")  # the log goes into a file; whoever watches should know too


def verdicts(runs: StudyRuns) -> dict[int, Verdict]:
    """The verdict on each claim, by its number."""
    return {number: test(runs) for number, test in TESTS.items()}


def write_claims(runs: StudyRuns, folder: Path) -> None:
    """Write the verdicts as a table and as a page to read."""
    found = verdicts(runs)
    rows = [
        {
            "number": number,
            "claim": CLAIMS[number],
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "data": verdict.data,
        }
        for number, verdict in found.items()
    ]
    write_csv(folder / "claims.csv", rows, runs.clock)
    opening = f"The paper's claims, tested on study {runs.name}: {runs.label}.\n\n{RULES}"
    opening = "\n\n".join([opening, *remarks(runs)])
    write_html(folder / "claims.html", pd.DataFrame(rows), opening)
    sections = [opening]
    sections += [
        f"**{number}. {CLAIMS[number]}**\n{verdict.outcome[0].upper()}{verdict.outcome[1:]}. {verdict.reason} "
        f"(Looked at: {verdict.data}.)"
        for number, verdict in found.items()
    ]
    write_text(folder / "claims.md", "\n\n".join(sections) + "\n")


if __name__ == "__main__":
    run_command(main)
