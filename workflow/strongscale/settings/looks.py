"""`seeds: auto`: how many seeds each entry of the matrix has, as the looks at the study asked for.

A look stands in the study's folder, looks/<number>.json: which contrasts are decided, and which entries need more seeds.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from strongscale.common.errors import UserError
from strongscale.settings.config import LOOKS, Study, numbered

Asked = dict[str, dict[str, int]]
"""For lines of the matrix at numbers of workers, how many seeds."""


def next_look(seeds: int) -> int | None:
    """The number of seeds at the next look; None after the last."""
    return next((look for look in LOOKS if look > seeds), None)


def path_of(study_folder: Path, number: int) -> Path:
    """Where a look lies."""
    return study_folder / "looks" / f"{number}.json"


def latest(study_folder: Path, before: int | None = None) -> dict[str, Any] | None:
    """What the last look says, or the last before that of a number; None before the first."""
    found = None
    for number in range(len(LOOKS) if before is None else before):
        path = path_of(study_folder, number)
        if not path.exists():
            break
        found = _read(path)
        if found["is_done"]:  # what lies behind it is of another time
            break
    return found


def with_looks(study: Study, study_folder: Path, before: int | None = None) -> Study:
    """The study with the seeds that its looks asked for; any study that doesn't leave them to looks as it is."""
    look = latest(study_folder, before) if study.seeds == "auto" else None
    return study if look is None else asked(study, look["asked"])


def asked(study: Study, more: Asked) -> Study:
    """The study with so many seeds where they are asked for."""
    entries = {
        line: replace(entry, seeds={workers: numbered(count) for workers, count in more.get(line, {}).items()})
        for line, entry in study.strategies.items()
    }
    return replace(study, strategies=entries)


def at_most(study: Study) -> Study:
    """The study with all seeds that looks may ever ask for."""
    if study.seeds != "auto":
        return study
    every = {line: {str(workers): LOOKS[-1] for workers in study.workers_of(line)} for line in study.strategies}
    return asked(study, every)


def _read(path: Path) -> dict[str, Any]:
    try:
        look: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        counts = [count for by_workers in look["asked"].values() for count in by_workers.values()]
        if not isinstance(look["is_done"], bool) or not all(count in LOOKS for count in counts):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not a look at a study; remove it and run again") from None
    return look
