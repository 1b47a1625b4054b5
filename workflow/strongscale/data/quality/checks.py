"""What must hold of a data set, each checked from its files and said in words."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strongscale.common.output import number
from strongscale.data.dataset import SPLITS, null_loss
from strongscale.data.ledger import STATES
from strongscale.data.quality.duplicates import Duplicates


@dataclass(frozen=True)
class DataSet:
    """The files of a data set's folder, and its name."""

    name: str
    cubes_NDHW: NDArray[np.float32]
    manifest: pd.DataFrame
    ledger: pd.DataFrame
    totals: Mapping[str, Any]
    """ledger.json."""
    summary: Mapping[str, Any]
    """dataset.json."""
    masks_NDHW: NDArray[np.uint8] | None = None

    @property
    def filling(self) -> str:
        """What cubes hold beyond their scan; data sets of earlier versions don't say it."""
        return "what lies nearest in the scan" if self.summary.get("padding") == "nearest" else "air"


@dataclass(frozen=True)
class Check:
    """One thing that should hold, and what was found."""

    name: str
    holds: bool
    found: str


def run_checks(data: DataSet, duplicates: Duplicates) -> list[Check]:
    """All checks, the most harmful first; of patients where the annotations name any."""
    named = data.manifest[data.manifest["patient"] != ""]
    return [
        _together(data.manifest, "seriesuid", "scan"),
        *([_together(named, "patient", "patient")] if len(named) else []),
        _no_leak(duplicates),
        _adds_up(data.ledger),
        _same_cubes(data),
        _totals_agree(data),
        _nothing_lost(data.ledger),
        _as_expected(data),
        _null_losses(data),
        *([] if data.masks_NDHW is None else [_masked(data.masks_NDHW)]),
    ]


def sides_mm(cubes_NDHW: NDArray[np.float32], manifest: pd.DataFrame) -> NDArray[np.float64]:
    """The side of each cube: (N,)."""
    sides: NDArray[np.float64] = cubes_NDHW.shape[-1] * manifest["voxel_mm"].to_numpy(dtype=float)
    return sides


def span(values: NDArray[np.float64]) -> str:
    """The smallest and the largest value in words, or the one that all have."""
    return " to ".join(dict.fromkeys(number(end) for end in (values.min(), values.max()))) if len(values) else ""


def difference_in_words(expected: int, found: int) -> str:
    """How a number differs from the expected one."""
    if expected == found:
        return "as expected"
    return f"{abs(found - expected)} {'more' if found > expected else 'fewer'} than expected"


def _together(manifest: pd.DataFrame, column: str, what: str) -> Check:
    sides = manifest.groupby(column)["split"].nunique()
    both = sorted(str(name) for name in sides.index[sides > 1])
    found = (
        f"{len(both)} of {len(sides)} {what}s are on both, {both[0]} first"
        if both
        else f"none of {len(sides)} {what}s is"
    )
    return Check(f"no {what} is on both sides of the split", not both, found)


def _no_leak(duplicates: Duplicates) -> Check:
    leaks = sum(duplicates.leaks.values())
    found = f"{leaks} of {sum(duplicates.counts.values())} pairs of duplicates"
    return Check("no duplicates are on both sides of the split", not leaks, found)


def _adds_up(ledger: pd.DataFrame) -> Check:
    counts = {state: int((ledger["state"] == state).sum()) for state in STATES}
    holds = sum(counts.values()) == len(ledger)
    terms = " + ".join(f"{count} {state}" for state, count in counts.items())
    return Check("the ledger adds up", holds, f"{len(ledger)} lines {'=' if holds else 'but'} {terms}")


def _same_cubes(data: DataSet) -> Check:
    """Both name a nodule by file and line; the state must be the same too."""
    kept = data.ledger[data.ledger["state"] != "dropped"]
    sides = [
        Counter(table[["file", "row", "state"]].itertuples(index=False, name=None)) for table in (kept, data.manifest)
    ]
    missing, extra = ((one - other).total() for one, other in (sides, sides[::-1]))
    found = (
        f"{len(data.manifest)} cubes" if not missing + extra else f"{missing} only in the ledger, {extra} only cubes"
    )
    return Check("the cubes are those of the ledger", not missing + extra, found)


def _totals_agree(data: DataSet) -> Check:
    ledger, dropped = data.ledger, data.ledger[data.ledger["state"] == "dropped"]
    counted: dict[str, Any] = {
        "rows": len(ledger),
        "states": Counter(ledger["state"]),
        "reasons": Counter(dropped["reason"]),
        "lost": int(ledger["lost"].sum()),
        "files": Counter(ledger["file"]),
    }
    # Zeros may be named or not.
    wrong = [
        key
        for key, value in counted.items()
        if (value if isinstance(value, int) else +value)
        != (data.totals[key] if isinstance(value, int) else +Counter(data.totals[key]))
    ]
    return Check(
        "ledger.json counts what ledger.csv holds", not wrong, f"wrong: {', '.join(wrong)}" if wrong else "it does"
    )


def _nothing_lost(ledger: pd.DataFrame) -> Check:
    lost = int(ledger["lost"].sum())
    return Check(
        "nothing was lost to faults of the data", not lost, f"{lost} annotations lost" if lost else "none lost"
    )


def _as_expected(data: DataSet) -> Check:
    expected = data.totals["expected"]
    wrong = [item for item in expected if item["expected"] != item["found"]]
    words = "; ".join(f"{item['what']}: {difference_in_words(item['expected'], item['found'])}" for item in wrong)
    known = f"all {len(expected)} as expected" if expected else "no such numbers are known"
    return Check("numbers are as expected", not wrong, words or known)


def _null_losses(data: DataSet) -> Check:
    """Computed anew from the cubes; a side without cubes has none."""
    split = data.manifest["split"].to_numpy(dtype=str)
    wrong = []
    for name in SPLITS:
        own = data.cubes_NDHW[split == name]
        said = data.summary["null_loss"]["3"].get(name)
        if len(own) and not (said is not None and np.isclose(null_loss(own), said, rtol=1e-9)):
            wrong.append(name)
    found = f"not for {' and '.join(wrong)}" if wrong else "computed again, the same"
    return Check("the null losses of dataset.json are those of the cubes", not wrong, found)


def _masked(masks_NDHW: NDArray[np.uint8]) -> Check:
    empty = int((~masks_NDHW.any(axis=(1, 2, 3))).sum())
    holds = not empty and int(masks_NDHW.max(initial=0)) <= 1
    return Check("every mask is 0 and 1, and none is empty", holds, f"{empty} of {len(masks_NDHW)} are empty")
