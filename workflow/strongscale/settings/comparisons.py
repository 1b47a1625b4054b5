"""Several studies held against one another on one page: the settings of a comparison, and what it needs of its studies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from strongscale.common.errors import UserError
from strongscale.common.schema import NonEmpty

if TYPE_CHECKING:
    from strongscale.settings.config import Study


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every strategy of several studies, ranked on several networks."""

    studies: Annotated[dict[str, str], NonEmpty(), "studies, each by the title under which it is shown"]
    networks: Annotated[
        tuple[Literal["gigabit", "ten_gigabit", "infiniband"], ...],
        NonEmpty(),
        "on which the emulated clock puts all of them",
    ] = ("gigabit", "infiniband")


def check(name: str, comparison: Comparison, studies: Mapping[str, "Study"], broken: Mapping[str, str]) -> None:
    """What can't be compared is a `UserError`."""
    key = f"comparisons.{name}"
    if name in studies or name in broken:
        raise UserError(f"{key}: not allowed as a name, for a study has it; allowed: another name")
    for title, study in comparison.studies.items():
        if study in broken:
            continue
        if study not in studies or studies[study].clock != "emulated":
            allowed = ", ".join(one for one, its in studies.items() if its.clock == "emulated")
            raise UserError(
                f"{key}.studies.{title}: {study!r} is not allowed; allowed, with an emulated clock: {allowed}"
            )
        if not any(workers > 1 for line in studies[study].strategies for workers in studies[study].workers_of(line)):
            raise UserError(
                f"{key}.studies.{title}: {study!r} is not allowed; allowed: a study with more than one worker"
            )
        if not title.isprintable() or "'" in title:
            raise UserError(f"{key}.studies: {title!a} is not allowed as a title; allowed: printable text without '")
