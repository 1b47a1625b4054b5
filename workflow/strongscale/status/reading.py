"""Read files that another process may be writing, or that a killed one left torn: whatever is there, never an error."""

import csv
import json
import math
from pathlib import Path
from typing import Any

MAX_HEADER_BYTES = 100_000_000


def read(path: Path) -> dict[str, Any] | None:
    """A JSON table; None where there is no file, an empty table where it can't be read."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def changed_at(path: Path) -> float:
    """When a file was last written, in seconds of Unix time; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def last_epoch(path: Path) -> dict[str, float]:
    """The last whole row of epochs.csv, empty where there is none: a line that is being written doesn't count.

    Seconds are in it on the wall clock alone.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, ValueError):
        return {}
    for line in reversed(lines[1:]):
        row = next(csv.DictReader([lines[0], line]), {})
        try:
            found = {name: float(row[name]) for name in ("epoch", "step", "validation_loss")}
            found |= {name: float(row[name]) for name in ("time_s",) if name in row}
            if None not in row.values() and all(
                0 <= value < math.inf for name, value in found.items() if name != "validation_loss"
            ):
                return found
        except (KeyError, TypeError, ValueError):
            continue
    return {}


def best_loss(path: Path) -> float | None:
    """The lowest finite validation loss of epochs.csv, without a line that is being written; None where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, ValueError):
        return None
    losses = []
    for row in csv.DictReader(lines):
        try:
            losses.append(float(row["validation_loss"]))
        except (KeyError, TypeError, ValueError):
            continue
    return min((loss for loss in losses if abs(loss) < math.inf), default=None)


def checkpoint_epoch(folder: Path) -> int | None:
    """The epochs that the newest readable checkpoint holds, from its header; None where there is none."""
    for path in sorted(folder.glob("checkpoint-*.safetensors"), reverse=True):
        try:
            with path.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(size, MAX_HEADER_BYTES)))
            return int(json.loads(header["__metadata__"]["values"])["counters"]["epoch"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def benchmark_s(path: Path) -> float | None:
    """The seconds of Snakemake's benchmark.tsv, or None."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return number(float(next(csv.DictReader(file, delimiter="\t"))["s"]))
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
