"""Read epochs.csv, whole or not at all: a row that is cut, or a number that can't be, is never published."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from strongscale.common.errors import UserError

COUNTS = ("epoch", "step", "samples")
LOSSES = ("training_loss", "validation_loss")
PARTS = ("compute_s", "communication_s", "evaluation_s")
TIMES = ("time_s", *PARTS)
"""On the wall clock only: an emulated cell's are computed from its steps."""
UNTIMED = [*COUNTS, "learning_rate", *LOSSES]
LARGEST_COUNT = 2**53
CLOCKS_DIFFER = 1.01  # a GPU times the parts by its own clock, the host the whole
AGAIN = "remove the folder and run it again"


def read_epochs(path: Path, *, timed: bool) -> pd.DataFrame:
    """The epochs of a run, in order; anything but that is a `UserError`."""
    columns = [*UNTIMED, *(TIMES if timed else ())]
    try:
        table = _parse(path.read_bytes().decode("utf-8"), columns)
        problem = next(_problems(table), None)
    except FileNotFoundError:
        problem = "no such file"
    except UnicodeDecodeError:
        problem = "not a text file"
    except (csv.Error, ValueError) as error:
        problem = f"not a table of epochs ({error})"
    if problem:
        raise UserError(f"{path}: {problem}; {AGAIN}")
    return table


def _parse(text: str, wanted: Sequence[str]) -> pd.DataFrame:
    lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    for column in wanted:
        if header.count(column) != 1:
            raise ValueError(f"{'two columns' if column in header else 'no column'} {column}")
    if not text.endswith("\n"):
        raise ValueError(f"row {len(rows)}, the last, is cut off")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} values, the header {len(header)}")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True)) if rows else {}
    kinds = {column: _count if column in COUNTS else float for column in wanted}
    return pd.DataFrame({column: list(map(kinds[column], columns.get(column, ()))) for column in wanted})


def _count(text: str) -> int:
    value = int(text) if len(text) <= 20 else LARGEST_COUNT
    if not 0 < value < LARGEST_COUNT:
        raise ValueError(f"{text[:20]} is no count")
    return value


def _problems(table: pd.DataFrame) -> Iterator[str]:
    """What can't be in the epochs of one run."""
    if table.empty:
        yield "no epochs"
        return
    numbers = {str(column): table[column].to_numpy(dtype=float) for column in table}
    every = np.arange(1, len(table) + 1)
    yield from _where(numbers["epoch"] != every, "the epochs aren't 1, 2, 3, ...", numbers["epoch"])
    yield from _where(np.diff(numbers["step"], prepend=0) <= 0, "step doesn't rise", numbers["step"])
    yield from _where(
        numbers["samples"] != every * numbers["samples"][0],
        "samples doesn't rise by one data set an epoch",
        numbers["samples"],
    )
    for column, values in numbers.items():
        allowed = np.isfinite(values) & (values >= 0)
        if column in LOSSES:  # the epoch in which a run's loss is no longer finite is its last
            allowed[-1] |= np.isnan(values[-1]) or values[-1] == math.inf
        yield from _where(~allowed, f"{column} is negative or not a number", values)
    yield from _where(numbers["learning_rate"] <= 0, "learning_rate isn't positive", numbers["learning_rate"])
    if "time_s" in numbers:
        yield from _times(numbers)


def _times(numbers: dict[str, np.ndarray]) -> Iterator[str]:
    yield from _where(np.diff(numbers["time_s"], prepend=0) <= 0, "time_s doesn't rise", numbers["time_s"])
    for part in PARTS:
        yield from _where(np.diff(numbers[part], prepend=0) < 0, f"{part} falls", numbers[part])
    together = sum(numbers[part] for part in PARTS)
    yield from _where(
        together > CLOCKS_DIFFER * numbers["time_s"], "the parts of the time exceed time_s", numbers["time_s"]
    )


def _where(wrong: np.ndarray, what: str, values: np.ndarray) -> Iterator[str]:
    """The first row that is wrong, in words."""
    if wrong.any():
        row = int(np.argmax(wrong))
        yield f"row {row + 1}: {what} ({values[row]:.12g})"
