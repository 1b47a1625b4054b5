"""How the lines of a study stand at a number of workers, on one network: times, speed-ups, arrivals, and who is fastest."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from strongscale.analysis.clocked import Machine, clocked, machine_of
from strongscale.analysis.machines import on_network
from strongscale.analysis.ratios import contrast, ratio_of, spread_of
from strongscale.analysis.runs import DIVERGED, Run, StudyRuns
from strongscale.analysis.statistics import Summary, of_results, time_to_target
from strongscale.analysis.targets import at_target
from strongscale.comparison.ranks import by_bounds, slower
from strongscale.inference.contrast import Contrast
from strongscale.inference.looks import LEVEL as LOOK_LEVEL
from strongscale.inference.spread import Spread
from strongscale.settings.config import NETWORKS
from strongscale.settings.margins import margins


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A line at a number of workers."""

    line: str
    workers: int
    time: Summary
    epochs: Summary
    samples: Summary
    speedup: str
    """How many times as fast as one worker, with its interval; empty where a seed doesn't arrive."""
    to_fastest: str
    """How many times as long as the fastest, with its interval; a bound where runs don't arrive; empty for the fastest."""
    is_slower: bool
    """Decidedly, than the fastest."""

    @property
    def arrived(self) -> str:
        """How many runs reach the target."""
        return f"{self.time.num_converged} of {self.time.num_runs}"


def on(runs: StudyRuns, network: str) -> StudyRuns:
    """The same runs with their seconds on a network."""
    lines = list(dict.fromkeys(run.strategy for run in runs.runs))
    machine: Machine = on_network(machine_of(runs.folder, runs.study, lines), NETWORKS[network])
    study = replace(runs.study, network=network)  # type: ignore[arg-type]  # one of NETWORKS
    return at_target(clocked(replace(runs, study=study), machine))


def level_of(runs: StudyRuns) -> float:
    """Of the tests against the fastest: less where looks decided how many seeds there are."""
    return LOOK_LEVEL if runs.study.seeds == "auto" else margins().level


def standings(runs: StudyRuns, workers: int) -> list[Standing]:
    """All lines at so many workers, the fastest first; of those that don't arrive the ones that mostly do come first."""
    own = {line: found for line in runs.study.strategies if (found := runs.of(line, workers))}
    order = sorted(own, key=lambda line: _order(own[line]))
    spread = spread_of(runs)
    fastest, *others = order
    to_fastest = {line: contrast(own[fastest], bounded(own[line], runs), spread) for line in others}
    behind = slower(to_fastest, level_of(runs))
    return [_standing(runs, line, workers, spread, to_fastest.get(line), is_slower=line in behind) for line in order]


def bounded(own: Sequence[Run], runs: StudyRuns) -> list[Run]:
    """The runs, those that diverged as if they had gone on for all their epochs: at least so long they take to arrive."""
    most = runs.study.training.max_epochs
    return [
        replace(
            run, result=replace(run.result, status="exhausted", time_s=most * run.result.time_s / run.result.epochs)
        )
        if run.result.status == DIVERGED
        else run
        for run in own
    ]


def _standing(
    runs: StudyRuns, line: str, workers: int, spread: Spread, to_fastest: Contrast | None, *, is_slower: bool
) -> Standing:
    own, level = runs.of(line, workers), margins().level
    gained = contrast(own, runs.sequential, spread)
    return Standing(
        line=line,
        workers=workers,
        time=time_to_target(own),
        epochs=of_results(own, lambda result: result.epochs_to_target),
        samples=of_results(own, lambda result: result.samples_to_target),
        speedup=ratio_of(gained, 1 - level) if gained.values else "",
        to_fastest=_ratio(to_fastest, 1 - level),
        is_slower=is_slower,
    )


def _ratio(found: Contrast | None, confidence: float) -> str:
    if found is None or not found.pairs:
        return ""
    least = "" if found.values else "at least "
    return f"{least}{ratio_of(by_bounds(found), confidence)}"


def _order(own: Sequence[Run]) -> tuple[float, float]:
    time = time_to_target(own)
    return (time.median if time.reached else math.inf), -time.num_converged / time.num_runs


def leaders(found: Sequence[Standing]) -> list[str]:
    """The fastest and those that aren't decidedly slower, of lines that mostly arrive; none where none does."""
    return [one.line for one in found if one.time.reached and not one.is_slower]


def tables_of(runs: StudyRuns) -> Iterator[tuple[int, list[Standing]]]:
    """The standings at each number of workers above one."""
    for workers in runs.all_workers:
        if workers > 1:
            yield workers, standings(runs, workers)
