"""The account of every annotation: each row of the files ends in exactly one state."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.common.command import run
from strongscale.common.files import atomic
from strongscale.common.schema import build
from strongscale.data.annotations import NO_DIAMETER, SAID_TWICE, TOO_SMALL, WRONG_ROW, read_annotations
from strongscale.data.tables import read_table, records
from strongscale.settings.datasets import Dataset

log = logging.getLogger(__name__)

STATES = ("cube", "padded", "cut", "dropped")
"""Whole; reaching beyond the scan; smaller than its nodule; no cube."""

UNREADABLE = "scan unreadable"
OUTSIDE = "outside the scan"
TOO_LARGE = "cube too large"
MISSING = "scan missing"
NO_MASK = "no mask"
MASK_UNREADABLE = "mask unreadable"
EMPTY_MASK = "empty mask"
ELSEWHERE = "scan not asked for"

REASONS = {
    **dict.fromkeys((NO_DIAMETER, TOO_SMALL, SAID_TWICE, ELSEWHERE), False),
    **dict.fromkeys((WRONG_ROW, UNREADABLE, OUTSIDE, TOO_LARGE, MISSING), True),
    **dict.fromkeys((NO_MASK, MASK_UNREADABLE, EMPTY_MASK), True),
}
"""Why a row was dropped, and whether a nodule was lost by it: by a fault of the data, not by a setting."""

COLUMNS = [
    *("file", "row", "seriesuid", "patient", "subset", "x_mm", "y_mm", "z_mm", "diameter_mm", "readers"),
    *("state", "reason", "detail", "lost"),
    *("voxel_mm", "air_share", "air_axis", "spacing_i_mm", "spacing_j_mm", "spacing_k_mm"),
]
KEY = ["file", "row"]
MOST_NAMED = 20


def dropped(row: dict[str, Any], reason: str, detail: str) -> dict[str, Any]:
    """The row of an annotation without a cube."""
    return row | {"state": "dropped", "reason": reason, "detail": detail, "lost": REASONS[reason]}


def settle(rows: pd.DataFrame, parts: Sequence[pd.DataFrame], settings: Dataset) -> pd.DataFrame:
    """Every row of the annotation files, in their order, with what became of it.

    `parts` are what the cutting of scans said. A row that none of them mentions names a scan that isn't there.
    """
    told = {(row["file"], row["row"]): row for row in records(join_parts(parts))}
    absent = ELSEWHERE if settings.partial else MISSING
    subsets = ", ".join(settings.subset_names)
    settled = []
    for row in records(rows):
        key = (row["file"], row["row"])
        if key in told:
            settled.append(told[key])
        elif row["reason"]:
            settled.append(dropped(row, row["reason"], row["detail"]))
        else:
            settled.append(dropped(row, absent, f"no scan {row['seriesuid']} in {subsets}"))
    return pd.DataFrame(settled, columns=COLUMNS)


def join_parts(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All parts' rows; of a scan that lies in two subsets, the first one's. Parts of an earlier version name no patient."""
    filled = [part for part in parts if len(part)] or list(parts[:1])
    alike = [part.reindex(columns=COLUMNS, fill_value="") for part in filled]
    return pd.concat(alike, ignore_index=True).drop_duplicates(KEY)


def main(arguments: list[str]) -> None:
    """Settle what became of every annotation."""
    parser = argparse.ArgumentParser(prog="strongscale.data.ledger", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the data set's settings, as JSON")
    parser.add_argument("--scans", required=True, type=Path, help="folder of the annotations")
    parser.add_argument("--parts", required=True, nargs="+", type=Path, help="the rows that the cutting wrote")
    parser.add_argument("--output", required=True, type=Path, help="ledger.csv")
    options = parser.parse_args(arguments)
    settings = build(Dataset, json.loads(options.settings), "dataset")
    rows = read_annotations(options.scans, settings.cubes)
    table = settle(rows, [read_table(path) for path in options.parts], settings)
    with atomic(options.output) as temporary:
        table.to_csv(temporary, index=False)
    log.info("%d rows: %s", len(table), ", ".join(f"{(table['state'] == state).sum()} {state}" for state in STATES))
    lost = table[table["lost"].astype(bool)]["detail"].value_counts()
    for reason, count in lost.head(MOST_NAMED).items():
        log.warning("%d lost: %s", count, reason)
    if len(lost) > MOST_NAMED:
        rest = lost.iloc[MOST_NAMED:]
        log.warning("%d lost for %d more reasons; all stand in ledger.csv", rest.sum(), len(rest))


if __name__ == "__main__":
    run(main)
