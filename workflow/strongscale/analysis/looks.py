"""Look at a study with `seeds: auto`: which contrasts are decided, and which entries of the matrix need more seeds.

Each line is held against strong scaling with as many workers, or against one worker where there is none. What an earlier look
decided stays so.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongscale.analysis.load import load
from strongscale.analysis.ratios import contrast, in_words, spread_of
from strongscale.analysis.runs import StudyRuns
from strongscale.common.command import run as run_command
from strongscale.common.files import write_json
from strongscale.inference.contrast import NOTHING, Contrast
from strongscale.inference.looks import LEVEL, decision
from strongscale.settings.config import SEQUENTIAL
from strongscale.settings.looks import Asked, latest, next_look
from strongscale.settings.margins import margins

UNDECIDED = "undecided"


def main(arguments: list[str]) -> None:
    """Look at a study, and write what was seen and what is asked for next."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    parser.add_argument("--number", type=int, required=True, help="of the look; the first is 0")
    parser.add_argument("--output", type=Path, required=True, help="looks/<number>.json")
    options = parser.parse_args(arguments)
    runs = load(options.study, before_look=options.number)
    told = look(runs, latest(options.study, options.number))
    sys.stdout.write(f"{runs.name}: {told['in_words']}\n")  # the log goes into a file; whoever watches should know too
    write_json(options.output, told)


def look(runs: StudyRuns, before: dict[str, Any] | None) -> dict[str, Any]:
    """What a look says: each contrast, the seeds that are asked for, and whether that was the last look."""
    decided = {(one["strategy"], one["workers"]): one["decision"] for one in before["contrasts"]} if before else {}
    asked: Asked = {line: dict(counts) for line, counts in before["asked"].items()} if before else {}
    seen, num_open = [], 0
    for line, workers, rival, found in contrasts(runs):
        known = decided.get((line, workers)) or decision(found, math.log(margins().faster))
        if known is None and all(pair == NOTHING for pair in found.pairs):  # nobody arrives, whatever the seed
            known = UNDECIDED
        more = next_look(len(found.pairs)) if known is None else None
        if more:
            num_open += 1
            for one in {line, rival} - {SEQUENTIAL}:
                counts = asked.setdefault(one, {})
                counts[str(workers)] = max(more, counts.get(str(workers), 0))
        seen.append(_row(line, workers, rival, found, known or (None if more else UNDECIDED)))
    return {
        "contrasts": seen,
        "asked": asked,
        "is_done": num_open == 0,
        "margin": margins().faster,
        "level": LEVEL,
        "in_words": _summary(seen, num_open),
    }


def contrasts(runs: StudyRuns) -> Iterator[tuple[str, int, str, Contrast]]:
    """Each line of the matrix at each number of workers, and what it is held against."""
    spread = spread_of(runs)
    strong = next(iter(runs.entries("strong")), None)
    for line in runs.study.strategies:
        for workers in runs.workers(line):
            if workers == 1 or line == strong:
                continue
            others = runs.of(strong, workers) if strong else runs.sequential
            rival = strong if strong and others else SEQUENTIAL
            found = contrast(runs.of(line, workers), others or runs.sequential, spread)
            yield line, workers, rival, found


def _row(line: str, workers: int, rival: str, found: Contrast, decided: str | None) -> dict[str, Any]:
    return {
        "strategy": line,
        "workers": workers,
        "against": rival,
        "seeds": len(found.pairs),
        "decision": decided,
        "in_words": in_words(found, rival, f"{line} at {workers} workers", 1 - LEVEL),
    }


def _summary(seen: list[dict[str, Any]], num_open: int) -> str:
    num_undecided = sum(one["decision"] == UNDECIDED for one in seen)
    text = f"{len(seen) - num_open - num_undecided} of {len(seen)} contrasts are decided"
    if num_undecided:
        text += f", {num_undecided} stay undecided"
    return f"{text}; {num_open} need more seeds." if num_open else f"{text}; no more seeds are needed."


if __name__ == "__main__":
    run_command(main)
