"""What a test of a claim answers: statements with their evidence, and one of four outcomes from them.

A claim is supported if every statement of it is, contradicted if one is, equivalent if ties are all that keeps it from being
supported; else it is undecided. What was proved needs no seeds; the rest is judged by them.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strongscale.analysis.ratios import in_words as ratio_in_words
from strongscale.analysis.runs import CONVERGED, DIVERGED, EXHAUSTED, Run, in_words, seeds_in_words
from strongscale.common.output import number
from strongscale.inference import outcome, shares
from strongscale.inference.contrast import Contrast
from strongscale.inference.outcome import Evidence
from strongscale.settings.margins import Margins

PROVED = Evidence(supports=0.0)
DISPROVED = Evidence(contradicts=0.0)


@dataclass(frozen=True)
class Part:
    """One statement of a claim: the numbers behind it, and what they are worth as evidence."""

    because: str
    evidence: Evidence = outcome.NONE
    is_proof: bool = False
    leans: int = 0
    """Which way the numbers point, however few they are: 1 for the statement, -1 against it."""


@dataclass(frozen=True)
class Verdict:
    """A claim's statements together, and the data that they looked at."""

    parts: tuple[Part, ...]
    data: str

    @property
    def evidence(self) -> Evidence:
        """Of all statements."""
        return outcome.together([part.evidence for part in self.parts])

    @property
    def is_proof(self) -> bool:
        """Whether nothing of it is left to chance."""
        return bool(self.parts) and all(part.is_proof for part in self.parts)

    @property
    def p(self) -> float:
        """Of the outcome that the evidence speaks for."""
        return outcome.p_of(self.evidence)

    def outcome(self, level: float, p: float | None = None) -> str:
        """One of the four, by its own p-value or an adjusted one."""
        return outcome.outcome_of(self.evidence, self.p if p is None else p, level)

    @property
    def leaning(self) -> str:
        """Which way the claim points, undecided as it may be."""
        if any(part.leans < 0 for part in self.parts):
            return "what there is speaks against it"
        if self.parts and all(part.leans > 0 for part in self.parts):
            return "what there is speaks for it"
        return "what there is speaks neither for nor against all of it"

    @property
    def reason(self) -> str:
        """The statements' numbers, as sentences."""
        return " ".join(f"{part.because}." for part in self.parts)


def slower(found: Contrast, rival: str, own: str, margins: Margins) -> Part:
    """Whether a rival takes longer by more than a margin; within it the two are equivalent."""
    limit = math.log(margins.faster)
    evidence = Evidence(found.p_above(limit), found.p_below(-limit), found.p_within(limit))
    text = ratio_in_words(found, rival, own, 1 - margins.level)
    return Part(text, evidence if found.pairs else outcome.NONE, leans=found.leaning(limit))


def most_converge(runs: Sequence[Run], what: str, mostly: float) -> Part:
    """Whether runs reach the target, at each number of workers in most seeds."""
    return _most(runs, what, mostly, reach=True)


def most_fail(runs: Sequence[Run], what: str, mostly: float) -> Part:
    """Whether runs don't reach it, at each number of workers in most seeds."""
    return _most(runs, what, mostly, reach=False)


def _most(runs: Sequence[Run], what: str, mostly: float, *, reach: bool) -> Part:
    if not runs:
        return Part(f"{what}: no such runs")
    each = by_entry(runs)
    evidence = outcome.together([_share(found, mostly, reach=reach) for found in each])
    stopped = [run for run in runs if run.result.status == EXHAUSTED]
    against = [run for run in runs if run.result.converged != reach and run.result.status != EXHAUSTED]
    num_like_it = sum(run.result.converged == reach for run in runs)
    verb = "reached" if reach else "did not reach"
    text = f"{what} at {counts(runs)} workers: {num_like_it} of {len(runs)} runs {verb} the target"
    if against:
        text += f"; not so {in_words(named(against))}"
    if stopped:
        text += f"; stopped first, which leaves open whether later they would have: {in_words(named(stopped))}"
    shown = [_share_in_words(found, reach=reach) for found in each]
    surely = "" if reach or not stopped else "surely "
    return Part(
        f"{text}. Shares that {surely}{verb} it: {in_words(shown)}", evidence, leans=_leaning(each, reach=reach)
    )


def _leaning(each: Sequence[Sequence[Run]], *, reach: bool) -> int:
    """For, where at every number of workers more than half are so; against, where at one more than half aren't."""
    does = [sum(run.result.converged == reach and run.result.status != EXHAUSTED for run in runs) for runs in each]
    does_not = [sum(run.result.status == (DIVERGED if reach else CONVERGED) for run in runs) for runs in each]
    if any(2 * count > len(runs) for count, runs in zip(does_not, each, strict=True)):
        return -1
    return int(all(2 * count > len(runs) for count, runs in zip(does, each, strict=True)))


def majority(count: int, of: int) -> int:
    """Which way a share points: 1 where it is more than half, -1 where it is less."""
    return (2 * count > of) - (2 * count < of)


def by_entry(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs of each line at each number of workers."""
    entries = dict.fromkeys((run.workers, run.strategy) for run in runs)
    return [[run for run in runs if (run.workers, run.strategy) == entry] for entry in sorted(entries)]


def _share(runs: Sequence[Run], mostly: float, *, reach: bool) -> Evidence:
    """Of runs with the same number of workers; one that was stopped first is taken for whichever weakens the evidence."""
    arrived = sum(run.result.converged for run in runs)
    failed = sum(run.result.status == DIVERGED for run in runs)
    does, does_not = (arrived, failed) if reach else (failed, arrived)
    return Evidence(shares.p_above(does, len(runs), mostly), shares.p_above(does_not, len(runs), mostly))


def _share_in_words(runs: Sequence[Run], *, reach: bool) -> str:
    does = sum(run.result.converged if reach else run.result.status == DIVERGED for run in runs)
    low, high = shares.interval(does, len(runs))
    return f"{does}/{len(runs)} [{low:.2f}, {high:.2f}] at {runs[0].workers}"


def named(runs: Iterable[Run]) -> list[str]:
    """Runs by workers and seeds, with how they ended, and where they were stopped, after how long: alike ones together."""
    alike: dict[tuple[int, str], list[Run]] = {}
    for run in runs:
        alike.setdefault((run.workers, run.result.outcome), []).append(run)
    return [
        f"{workers} workers {seeds_in_words(run.seed for run in found)} ({outcome}{_at_least(found)})"
        for (workers, outcome), found in alike.items()
    ]


def _at_least(runs: Sequence[Run]) -> str:
    """What runs say that were stopped first: none of them arrives sooner."""
    times_s = [run.result.time_s for run in runs if run.result.status == EXHAUSTED]
    return f", so it takes more than {number(min(times_s))} s" if times_s else ""


def counts(runs: Iterable[Run]) -> str:
    """The numbers of workers of some runs, in words."""
    return in_words(sorted({run.workers for run in runs}))


def looked_at(runs: Sequence[Run]) -> str:
    """The runs behind a verdict, in words."""
    if not runs:
        return "no runs"
    strategies = in_words(dict.fromkeys(run.stands_as for run in runs))
    seeds = {run.seed for run in runs}
    trained = len({run.cell for run in runs})
    shared = f" that share {trained} trajector{'y' if trained == 1 else 'ies'}" if trained < len(runs) else ""
    return f"{strategies} at {counts(runs)} workers, {seeds_in_words(seeds)}: {len(runs)} runs{shared}"
