"""The totals of the ledger: they add up, and stand beside the counts that somebody knows beforehand."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.common.command import run
from strongscale.common.files import write_json
from strongscale.common.schema import build
from strongscale.data.annotations import READERS
from strongscale.data.ledger import STATES
from strongscale.data.tables import read_table
from strongscale.settings.datasets import Dataset

log = logging.getLogger(__name__)


def summarise(table: pd.DataFrame, settings: Dataset) -> dict[str, Any]:
    """The totals, which must add up to the rows read."""
    states = {state: int((table["state"] == state).sum()) for state in STATES}
    reasons = {str(reason): int(count) for reason, count in table["reason"].value_counts().items() if reason}
    files = {str(name): int(count) for name, count in table["file"].value_counts(sort=False).items()}
    assert sum(states.values()) == sum(files.values()) == len(table)
    assert sum(reasons.values()) == states["dropped"]
    return {
        "rows": len(table),
        "files": files,
        "states": states,
        "reasons": reasons,
        "lost": int(table["lost"].astype(bool).sum()),
        "expected": compare(table, settings),
    }


def compare(table: pd.DataFrame, settings: Dataset) -> list[dict[str, Any]]:
    """The counts that somebody knows beforehand, beside those found."""
    agreed, others = (table[table["file"] == name] for name in READERS)
    found = {
        "annotations": ("rows of annotations.csv", len(agreed)),
        "annotated_scans": ("scans that annotations.csv names", agreed["seriesuid"].nunique()),
        "above_16_mm": ("rows of annotations.csv above 16 mm", (agreed["diameter_mm"] > 16).sum()),
        "excluded": ("rows of annotations_excluded.csv of at least 3 mm", (others["diameter_mm"] >= 3).sum()),
    }
    known = {name: getattr(settings.expected, name) for name in found}
    if settings.cubes.minimum_readers > 1:
        known["excluded"] = None  # that file isn't read
    return [
        {"what": what, "expected": known[name], "found": int(count)}
        for name, (what, count) in found.items()
        if known[name] is not None
    ]


def main(arguments: list[str]) -> None:
    """Add the ledger up: ledger.json."""
    parser = argparse.ArgumentParser(prog="strongscale.data.totals", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the data set's settings, as JSON")
    parser.add_argument("--ledger", required=True, type=Path, help="what became of every annotation")
    parser.add_argument("--output", required=True, type=Path, help="ledger.json")
    options = parser.parse_args(arguments)
    settings = build(Dataset, json.loads(options.settings), "dataset")
    totals = summarise(read_table(options.ledger), settings)
    write_json(options.output, totals)
    for count in totals["expected"]:
        if count["expected"] != count["found"]:
            log.warning("%(what)s: %(found)d, expected %(expected)d", count)


if __name__ == "__main__":
    run(main)
