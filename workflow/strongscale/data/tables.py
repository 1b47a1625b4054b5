"""Read the tables and arrays that stages of this package wrote."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.errors import UserError

TEXTS = dict.fromkeys(("seriesuid", "patient", "subset", "file", "state", "reason", "detail", "split"), str)


def read_table(path: Path) -> pd.DataFrame:
    """A table; texts stay what they are, empty ones and `NA` too."""
    try:
        numbers = [str(name) for name in pd.read_csv(path, nrows=0) if name not in TEXTS]
        return pd.read_csv(path, dtype=TEXTS, keep_default_na=False, na_values=dict.fromkeys(numbers, ""))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; make it again") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a table ({str(error).strip()}); remove it and run again") from None


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def read_array(path: Path) -> NDArray[Any]:
    """An array that a stage wrote."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; make it again") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: not a whole array ({error}); remove it and run again") from None
    return array


def masks_beside(cubes: Path) -> Path:
    """Where the masks of an array of cubes lie."""
    return cubes.with_suffix(".masks.npy")
