"""What counts as faster, as working, as the same: margins.toml, stated before the results that are judged by it."""

import functools
import hashlib
import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from strongscale.common.schema import POSITIVE, Between, build, plain

FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, kw_only=True)
class Margins:
    """The numbers that verdicts hang on; each is explained where it is written down."""

    level: Annotated[float, Between(low=0, high=1)]
    faster: Annotated[float, Between(low=1)]
    mostly: Annotated[float, Between(low=0, high=1)]
    hardly_helps: Annotated[float, Between(low=1)]
    ceiling: Annotated[float, Between(low=1)]
    same_path_early: Annotated[float, POSITIVE]
    same_path_late: Annotated[float, POSITIVE]
    sharp: Annotated[float, Between(low=0, high=1)]

    @property
    def digest(self) -> str:
        """Of all numbers: another as soon as one changes."""
        return hashlib.sha256(json.dumps(plain(self), sort_keys=True).encode()).hexdigest()[:16]

    def scaled(self, factor: float) -> "Margins":
        """All margins so many times as wide, the level apart: ratios on the logarithm, shares by their odds."""
        return replace(
            self,
            faster=self.faster**factor,
            mostly=_at_odds(self.mostly, factor),
            hardly_helps=self.hardly_helps**factor,
            ceiling=self.ceiling**factor,
            same_path_early=factor * self.same_path_early,
            same_path_late=factor * self.same_path_late,
            sharp=_at_odds(self.sharp, factor),
        )


def _at_odds(share: float, factor: float) -> float:
    return factor * share / (1 - share + factor * share)


@functools.cache
def margins() -> Margins:
    """The margins in force."""
    found: Margins = build(Margins, tomllib.loads(FILE.read_text(encoding="utf-8")), str(FILE))
    return found
