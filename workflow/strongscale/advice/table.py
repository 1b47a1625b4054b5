"""Measured runs from a CSV file: what anyone may hand to the law of batch size."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.advice.law import FEWEST_BATCHES
from strongscale.advice.runs import Numbers, Runs
from strongscale.common.errors import UserError, show

log = logging.getLogger(__name__)

MEASURES = ("steps", "samples", "epochs")
COLUMNS = ("batch", *MEASURES, "run", "reached")


def read_runs(path: Path, samples_in_epoch: float | None = None) -> Runs:
    """The runs of a table; whatever it counts, as steps."""
    table = _read(path)
    measure = _measure(path, table, samples_in_epoch)
    batches_N = _numbers(path, table, "batch")
    amounts_N = _numbers(path, table, measure)
    reached_N = _reached(path, table)
    _refuse_repeats(path, table, batches_N)
    samples = {"samples": 1.0, "epochs": samples_in_epoch}.get(measure)
    steps_N = amounts_N * samples / batches_N if samples else amounts_N
    runs = Runs(batches_N=batches_N, steps_N=steps_N, reached_N=reached_N)
    if len(runs.sizes) < FEWEST_BATCHES:
        found = ", ".join(f"{batch:g}" for batch in runs.sizes)
        raise UserError(
            f"{path}: runs of {len(runs.sizes)} batch sizes ({found}); allowed: at least {FEWEST_BATCHES}, for the law has 2 "
            "parameters"
        )
    if np.ptp(np.log(steps_N)) == 0:
        raise UserError(f"{path}: all runs have {steps_N[0]:g} steps; allowed: runs that differ")
    return runs


def _read(path: Path) -> pd.DataFrame:
    """All cells as texts."""
    try:
        table = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
            skip_blank_lines=False,  # so that lines can be told by number
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, pd.errors.ParserError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{path}: not a table ({said}); allowed: CSV with a header") from None
    if not isinstance(table.index, pd.RangeIndex):
        raise UserError(f"{path}: its lines have more cells than its header; allowed: as many")
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    table = table.fillna("")
    table = table[(table != "").any(axis=1)]
    if others := [str(name) for name in table.columns if name not in COLUMNS]:
        log.warning("%s: not used are the columns %s", path, ", ".join(others))
    return table


def _measure(path: Path, table: pd.DataFrame, samples_in_epoch: float | None) -> str:
    """The column that says how long runs took."""
    found = [name for name in MEASURES if name in table.columns]
    header = ", ".join(map(str, table.columns))
    if "batch" not in table.columns or len(found) != 1:
        raise UserError(f"{path}: its columns are {header}; allowed: batch, and one of {', '.join(MEASURES)}")
    if (found[0] == "epochs") != (samples_in_epoch is not None):
        raise UserError(
            f"{path}: its column {found[0]} and --samples-in-epoch; allowed: --samples-in-epoch with the column epochs, and "
            "only with it"
        )
    return found[0]


def _numbers(path: Path, table: pd.DataFrame, column: str) -> Numbers:
    """A column of numbers above 0."""
    values_N = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=float)
    for place in np.flatnonzero(~(np.isfinite(values_N) & (values_N > 0))):
        raise UserError(
            f"{path}, line {_line(table, place)}: {column} is {show(table[column].iloc[place])}; allowed: a number above 0"
        )
    return values_N


def _reached(path: Path, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each run arrived; without the column all did."""
    if "reached" not in table.columns:
        return np.ones(len(table), dtype=bool)
    for place, value in enumerate(table["reached"]):
        if value.strip() not in ("0", "1"):
            raise UserError(
                f"{path}, line {_line(table, place)}: reached is {show(value)}; allowed: 1, or 0 for a run that ended before the target"
            )
    return np.array([value.strip() == "1" for value in table["reached"]], dtype=bool)


def _refuse_repeats(path: Path, table: pd.DataFrame, batches_N: Numbers) -> None:
    """One run counted twice would look like certainty."""
    if "run" not in table.columns:
        return
    seen: dict[tuple[float, str], int] = {}
    for place, key in enumerate(zip(batches_N.tolist(), table["run"].str.strip(), strict=True)):
        if key in seen:
            raise UserError(
                f"{path}, line {_line(table, place)}: run {show(key[1])} of batch {key[0]:g} stands in line {seen[key]} already; "
                "allowed: each run once"
            )
        seen[key] = _line(table, place)


def _line(table: pd.DataFrame, place: Any) -> int:
    """Where a row stands in the file, whose empty lines aren't rows."""
    return int(table.index[place]) + 2
