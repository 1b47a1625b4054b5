"""How the lines of a study stand at a number of workers, on one network: times, speed-ups, arrivals and ranks."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from strongscale.analysis.clocked import Machine, clocked, machine_of
from strongscale.analysis.machines import on_network
from strongscale.analysis.ratios import contrast, ratio_of, spread_of
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.statistics import Summary, of_results, time_to_target
from strongscale.analysis.targets import at_target
from strongscale.comparison.ranks import Rank, ranks
from strongscale.inference.looks import LEVEL as LOOK_LEVEL
from strongscale.settings.config import NETWORKS
from strongscale.settings.margins import margins


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A line at a number of workers."""

    line: str
    workers: int
    time: Summary
    epochs: Summary
    speedup: str
    """How many times as fast as one worker, with its interval; empty where a seed doesn't arrive."""
    rank: Rank

    @property
    def arrived(self) -> str:
        """How many runs reach the target."""
        return f"{self.time.num_converged} of {self.time.num_runs}"


def on(runs: StudyRuns, network: str) -> StudyRuns:
    """The same runs with their seconds on a network."""
    lines = list(dict.fromkeys(run.strategy for run in runs.runs))
    machine: Machine = on_network(machine_of(runs.folder, runs.study, lines), NETWORKS[network])
    return at_target(clocked(runs, machine))


def level_of(runs: StudyRuns) -> float:
    """Of a ranking: less where looks decided how many seeds there are."""
    return LOOK_LEVEL if runs.study.seeds == "auto" else margins().level


def lines_at(runs: StudyRuns, workers: int) -> list[str]:
    """The lines of the matrix that were run at so many workers."""
    return [line for line in runs.study.strategies if runs.of(line, workers)]


def standings(runs: StudyRuns, workers: int) -> list[Standing]:
    """All lines at so many workers, the fastest first; of those that don't arrive the ones that mostly do come first."""
    lines, spread = lines_at(runs, workers), spread_of(runs)
    own = {line: runs.of(line, workers) for line in lines}
    placed = ranks(lines, lambda one, other: contrast(own[one], own[other], spread), level_of(runs))
    found = []
    for line in lines:
        gained = contrast(own[line], runs.sequential, spread)
        found.append(
            Standing(
                line=line,
                workers=workers,
                time=time_to_target(own[line]),
                epochs=of_results(own[line], lambda result: result.epochs_to_target),
                speedup=ratio_of(gained, 1 - margins().level) if gained.values else "",
                rank=placed[line],
            )
        )
    return sorted(found, key=_order)


def _order(standing: Standing) -> tuple[float, float, int]:
    time = standing.time
    share = time.num_converged / time.num_runs
    return (time.median if time.reached else math.inf), -share, standing.rank.best


def leaders(found: Sequence[Standing]) -> list[str]:
    """Those that nobody is decidedly faster than, the fastest first; none where nobody arrives."""
    return [one.line for one in found if one.rank.best == 1 and one.time.num_converged]


def tables_of(runs: StudyRuns) -> Iterator[tuple[int, list[Standing]]]:
    """The standings at each number of workers above one."""
    for workers in runs.all_workers:
        if workers > 1:
            yield workers, standings(runs, workers)
