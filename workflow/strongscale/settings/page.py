"""Write docs/settings.md, the page of all settings, from the schema itself."""

import argparse
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from strongscale.common import parts
from strongscale.common.command import run
from strongscale.common.files import write_text
from strongscale.common.schema import default_of, describe, split
from strongscale.models.base import Model
from strongscale.optimizers.base import Optimizer
from strongscale.schedules.base import Schedule
from strongscale.settings.comparisons import Comparison
from strongscale.settings.config import Config, Network, SequentialEpochs, StrategyEntry, Study
from strongscale.settings.datasets import Dataset
from strongscale.settings.site import Site
from strongscale.strategies.base import Strategy
from strongscale.tasks.base import Task
from strongscale.updates.base import Update

OPENING = """# Settings

Made from the schema by `make docs`; do not edit. Numbers as defaults are the paper's where the paper states them.
"""


PARTS: dict[type[Any], str] = {
    Task: "studies.NAME.task",
    Model: "studies.NAME.model",
    Optimizer: "studies.NAME.training.optimizer",
    Schedule: "studies.NAME.training.schedule",
    Strategy: "studies.NAME.strategies.ENTRY.parameters",
    Update: "studies.NAME.strategies.ENTRY.update",
}
"""What is one file each, ours or a user's own, and where it is asked for."""


def page() -> str:
    """The whole page."""
    sections = [
        OPENING,
        _section(Config, "config.yaml"),
        _section(Dataset, "datasets.NAME"),
        _section(Study, "studies.NAME"),
    ]
    sections += [
        "A study may also say `like: OTHER`: it takes all it doesn't say itself from that study.\n",
        _section(StrategyEntry, "studies.NAME.strategies.ENTRY"),
        _section(Network, "studies.NAME.network, where it isn't one of the names"),
        _section(SequentialEpochs, "studies.NAME.training.target, where it isn't a number"),
        _section(Comparison, "comparisons.NAME"),
    ]
    sections += [
        _section(part, f"{place}, of the kind {part.kind}")
        for base, place in PARTS.items()
        for part in (parts.find(base, name, place) for name in parts.names(base))
        if fields(part)
    ]
    sections.append(_section(Site, "site.yaml: a cluster's own values"))
    return "\n".join(sections)


def _section(cls: type, title: str) -> str:
    """A table of a dataclass's fields, those of nested tables below it."""
    lines = [f"## {title}", "", "| key | meaning | allowed | default |", "|---|---|---|---|"]
    lines += _rows(cls, "")
    return "\n".join(lines) + "\n"


def _rows(cls: type, prefix: str) -> list[str]:
    lines = []
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        if not field.init:
            continue
        hint, _, meaning = split(hints[field.name])
        nested = next((option for option in (hint, *get_args(hint)) if is_dataclass(option)), None)
        if nested and issubclass(nested, parts.Part):  # type: ignore[arg-type]
            default = "null" if field.default is None else f"`{nested.usual}`"  # type: ignore[union-attr]
            lines.append(
                f"| `{prefix}{field.name}` | {meaning}: a name, or a table of `kind` and its parameters | {describe(nested)} | {default} |"
            )
        elif nested and get_origin(hint) is not dict and nested not in (Network, SequentialEpochs):
            lines.append(f"| `{prefix}{field.name}` | {meaning} | a table, see below | {_default(field)} |")
            lines += _rows(nested, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            lines.append(f"| `{prefix}{field.name}` | {meaning} | {_allowed(hints[field.name])} | {_default(field)} |")
    return lines


def _allowed(hint: Any) -> str:
    text = describe(hint)
    return text if len(text) < 120 else text.split(" with the keys")[0]


def _default(field: Any) -> str:
    value = default_of(field)
    if value is MISSING:
        return "needed"
    if isinstance(value, dict) and value:
        return "the keys' own"
    return "null" if value is None else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace("'", "")


def main(arguments: list[str]) -> None:
    """Write the page of all settings."""
    parser = argparse.ArgumentParser(prog="strongscale.settings.page", description=main.__doc__)
    parser.add_argument("output", type=Path)
    write_text(parser.parse_args(arguments).output, page())


if __name__ == "__main__":
    run(main)
