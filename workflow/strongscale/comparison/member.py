"""A study of a comparison: its runs on each network, how its strategies stand, and what that says in a sentence."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from strongscale.analysis.load import load
from strongscale.analysis.runs import StudyRuns, in_words
from strongscale.common.errors import UserError
from strongscale.comparison.standings import Standing, leaders, on, tables_of
from strongscale.settings.config import NETWORKS


@dataclass(frozen=True, kw_only=True)
class Member:
    """A study of the comparison, with its seconds on each network."""

    title: str
    runs: StudyRuns
    by_network: Mapping[str, StudyRuns]
    standings: Mapping[str, Mapping[int, Sequence[Standing]]]
    """By network and number of workers."""


def member(title: str, folder: Path, networks: Sequence[str]) -> Member:
    """A study, read and clocked."""
    runs = load(folder)
    if runs.study.clock != "emulated":
        raise UserError(f"{folder}: its clock is {runs.study.clock}; allowed: studies with clock: emulated")
    by_network = {network: on(runs, network) for network in networks}
    standings = {network: dict(tables_of(clocked)) for network, clocked in by_network.items()}
    return Member(title=title, runs=runs, by_network=by_network, standings=standings)


def title_of(one: Member) -> str:
    """The figure's conclusion: who leads with the most workers."""
    network, by_workers = next(iter(one.standings.items()))
    workers, found = max(by_workers.items())
    first, *tied = leaders(found) or ["none"]
    beside = (
        f", tied with {in_words(tied)}" if 0 < len(tied) <= 2 else f", tied with {len(tied)} others" if tied else ""
    )
    return f"{one.title}: fastest on {workers} workers, {network}: {first}{beside}"


def add_options(parser: argparse.ArgumentParser, **studies: str) -> None:
    """What every command of a comparison is told."""
    parser.add_argument("--study", nargs=2, required=True, metavar=("TITLE", "FOLDER"), **studies)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=["gigabit", "infiniband"])
    parser.add_argument("--output", type=Path, required=True, help="folder for tables/ and figures/")
