"""The nodules that readers marked: LUNA16's annotations.csv and annotations_excluded.csv as one table."""

from pathlib import Path

import numpy as np
import pandas as pd

from strongscale.config import Cubes
from strongscale.errors import UserError

READERS = {"annotations.csv": 3, "annotations_excluded.csv": 1}
"""Readers who agree, at least: three or more of four, and one or two."""

NUMBERS = {"coordX": "x_mm", "coordY": "y_mm", "coordZ": "z_mm", "diameter_mm": "diameter_mm"}


def read_annotations(folder: Path, settings: Cubes) -> pd.DataFrame:
    """The nodules that enough readers marked and that are large enough.

    Columns: seriesuid, x_mm, y_mm, z_mm (world, LPS), diameter_mm, readers (3 or more, or 1: one or two), file, row
    (its line in the file). Rows without a diameter (-1: not a nodule, or a small one) are left out.
    """
    files = [folder / name for name, readers in READERS.items() if readers >= settings.minimum_readers]
    table = pd.concat([_read_file(path) for path in files], ignore_index=True)
    large = (table["diameter_mm"] > 0) & (table["diameter_mm"] >= settings.minimum_diameter_mm)
    return table[large].reset_index(drop=True)


def _read_file(path: Path) -> pd.DataFrame:
    try:
        raw = pd.read_csv(path, dtype=str, skipinitialspace=True, keep_default_na=False)
    except FileNotFoundError:
        hint = ", or set minimum_readers: 3" if READERS[path.name] == 1 else ""
        raise UserError(f"{path}: no such file; put LUNA16's {path.name} there{hint}") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a table ({str(error).strip()}); copy it anew") from None
    for column in ("seriesuid", *NUMBERS):
        if column not in raw.columns:
            raise UserError(f"{path}: no column {column}; found: {', '.join(raw.columns)}; name it so")
    table = pd.DataFrame({"seriesuid": raw["seriesuid"].str.strip()})
    for column, name in NUMBERS.items():
        numbers = pd.to_numeric(raw[column], errors="coerce").astype(float)
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            found = raw[column].iloc[wrong[0]]
            raise UserError(f"{path}: row {wrong[0] + 2}, column {column}: {found!r} isn't a number; mend it")
        table[name] = numbers
    return table.assign(readers=READERS[path.name], file=path.name, row=np.arange(len(table)) + 2)
