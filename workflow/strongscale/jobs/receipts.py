"""Receipts: what Snakemake is told of dear work, so that the work itself is never Snakemake's to delete.

Snakemake removes the declared outputs of a job before it starts, and of one that failed: also when the job is a second
copy, and the first has long finished, or is still at it. So dear work is declared by a receipt alone, a small file that
names and digests what was made, and is written again from that in a moment.
"""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from strongscale.common.files import write_json

CELL = "receipt.json"
"""In a cell's folder; those of other work lie in folders named `receipts`."""


def write(receipt: Path, made: Iterable[Path]) -> None:
    """Name and digest what was made; the same content gives the same bytes, so nothing that depends on it runs again."""
    write_json(receipt, {"files": digests(made)})


def digests(made: Iterable[Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its path; of a folder, each file in it."""
    return {str(file): digest(file) for path in made for file in (_files_in(path) if path.is_dir() else [path])}


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def drop_hollow(results: Path) -> list[Path]:
    """Remove each receipt of a file that isn't there any more, so that Snakemake has it made again: those receipts."""
    hollow = [receipt for receipt in _all_in(results) if not all(map(Path.exists, _named_in(receipt)))]
    for receipt in hollow:
        receipt.unlink(missing_ok=True)
    return hollow


def _all_in(results: Path) -> Iterable[Path]:
    yield from results.glob(f"*/cells/*/*/*/{CELL}")
    yield from results.glob(f"*/exactness/*/*/*/*/{CELL}")
    yield from results.glob("*/receipts/*.json")
    yield from results.glob("datasets/*/receipts/*.json")


def _named_in(receipt: Path) -> list[Path]:
    """The files that a receipt names; itself, missing, where it is torn."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        return [Path(name) for name in json.loads(receipt.read_text(encoding="utf-8"))["files"]]
    return [receipt / "torn"]


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
