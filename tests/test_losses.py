"""Losses: more than are tolerated are refused in one line, and fewer are written down."""

from pathlib import Path

import pandas as pd
import pytest

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.data import losses
from strongscale.data.ledger import COLUMNS


def compare(folder: Path, tolerated: int, reason: str = "scan unreadable") -> Path:
    """Compare a ledger that lost two of its three nodules with what is tolerated; what is written of it."""
    rows = [
        {"row": 2, "state": "cube", "lost": False},
        {"row": 3, "state": "dropped", "reason": reason, "detail": "a.mhd: cut short", "lost": True},
        {"row": 4, "state": "dropped", "reason": reason, "detail": "b.mhd: cut short", "lost": True},
    ]
    pd.DataFrame(rows, columns=COLUMNS).assign(file="annotations.csv").to_csv(folder / "ledger.csv", index=False)
    output = folder / "losses.json"
    losses.main(["--ledger", str(folder / "ledger.csv"), "--tolerated", str(tolerated), "--output", str(output)])
    return output


def test_more_losses_than_are_tolerated_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        compare(tmp_path, tolerated=1)
    assert "2 nodules lost (2 scan unreadable), tolerated_losses: 1" in str(error.value)
    assert "annotations.csv, row 3: a.mhd: cut short" in str(error.value)
    assert "--forcerun cubes, or set tolerated_losses: 2" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.csv"]


def test_tolerated_losses_are_written_down(tmp_path: Path) -> None:
    assert read_json(compare(tmp_path, tolerated=2)) == {"lost": 2, "tolerated": 2}


def test_missing_scans_may_be_in_other_subsets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="or set partial: true"):
        compare(tmp_path, tolerated=0, reason="scan missing")
