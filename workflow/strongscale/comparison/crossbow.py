"""CROSSBOW's own claims, judged by our runs: what several learners do to the epochs, and to the seconds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from strongscale.analysis.ratios import contrast, in_words, spread_of
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.targets import in_epochs
from strongscale.common.output import number, percent
from strongscale.comparison.standings import level_of
from strongscale.inference.outcome import NONE, Evidence, holm
from strongscale.settings.config import SEQUENTIAL
from strongscale.settings.margins import Margins
from strongscale.timing.timings import Timings
from strongscale.verdicts.verdict import DISPROVED, PROVED, Part, Verdict, slower

KEEPS = (
    "Small batches with several learners keep statistical efficiency: as many epochs as one worker, within the margin"
)
FEWER = "Model averaging reaches the target in fewer epochs than synchronous training with the same minibatch of all workers"
SOONER = "... and sooner"
BUSIER = "Several learners raise a device's throughput"
LINE, RIVAL = "sma", "weak"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim in one study: the verdict, and its outcome among all claims of that study."""

    claim: str
    verdict: Verdict
    outcome: str
    p: float


def judge(runs: StudyRuns, margins: Margins) -> list[Judged]:
    """CROSSBOW's claims by a study with model averaging and weak scaling; none where it lacks one of them."""
    if not {LINE, RIVAL} <= set(runs.study.strategies) or any(run.stands_as != SEQUENTIAL for run in runs.sequential):
        return []
    found = dict(_verdicts(runs, margins))
    level = level_of(runs)
    factor = margins.level / level
    by_chance = {claim: min(1.0, factor * verdict.p) for claim, verdict in found.items() if not verdict.is_proof}
    adjusted = dict(zip(by_chance, holm(list(by_chance.values())), strict=True))
    each = {claim: adjusted.get(claim, verdict.p) for claim, verdict in found.items()}
    return [
        Judged(claim=claim, verdict=verdict, outcome=verdict.outcome(margins.level, each[claim]), p=each[claim])
        for claim, verdict in found.items()
    ]


def _verdicts(runs: StudyRuns, margins: Margins) -> Iterator[tuple[str, Verdict]]:
    epochs = in_epochs(runs)
    workers = [count for count in runs.workers(LINE) if count > 1]
    kept = tuple(_keeps(epochs, count, margins) for count in workers)
    yield KEEPS, Verdict(kept, "epochs to the target, against one worker, seed by seed")
    for claim, one, what in ((FEWER, epochs, "epochs"), (SOONER, runs, "seconds")):
        parts = tuple(_against_rival(one, [count for count in workers if _are_alike(runs, count)], margins))
        yield claim, Verdict(parts, f"{what} to the target, line {LINE} against {RIVAL}, seed by seed")
    for timings in runs.timings:
        if parts := tuple(_throughputs(timings, margins)):
            yield BUSIER, Verdict(parts, f"a worker's whole step, measured: {timings.device}")


def _keeps(epochs: StudyRuns, workers: int, margins: Margins) -> Part:
    """Whether it takes no more epochs than one worker, but for the margin."""
    found, limit = contrast(epochs.sequential, epochs.of(LINE, workers), spread_of(epochs)), math.log(margins.faster)
    text = in_words(found, f"{LINE} at {workers} workers", SEQUENTIAL, 1 - margins.level)
    evidence = Evidence(found.p_below(limit), found.p_above(limit)) if found.pairs else NONE
    leaning = found.leaning(limit)
    return Part(text, evidence, leans=-1 if leaning > 0 else 1)


def _are_alike(runs: StudyRuns, workers: int) -> bool:
    """Whether both lines were run there, with the same minibatch."""
    batches = {run.result.minibatch for line in (LINE, RIVAL) for run in runs.of(line, workers)}
    return bool(runs.of(RIVAL, workers)) and len(batches) == 1


def _throughputs(timings: Timings, margins: Margins) -> Iterator[Part]:
    """Samples a second of several learners over those of one with as many samples as each of them: measured, not drawn.

    On a CPU learners take their passes one after another, so there is nothing to ask.
    """
    if timings.device.startswith("CPU"):
        return
    measured = {one.samples: one for one in timings.steps}
    most = {one.learners: one for one in sorted(timings.learners, key=lambda one: one.samples) if one.learners > 1}
    for number_of_learners, one in most.items():
        each = one.samples / number_of_learners
        if alone := measured.get(int(each)) if each == int(each) else None:
            ratio, doubt = number_of_learners * alone.seconds / one.seconds, one.uncertainty + alone.uncertainty
            text = (
                f"{number_of_learners} learners of {each:g} samples each take {number(ratio)} times the samples a second of one, known "
                f"to {percent(doubt)}"
            )
            is_more = ratio * (1 - doubt) > margins.faster
            evidence = PROVED if is_more else DISPROVED if ratio * (1 + doubt) < margins.faster else NONE
            yield Part(text, evidence, is_proof=True, leans=1 if ratio > margins.faster else -1)


def _against_rival(runs: StudyRuns, workers: Sequence[int], margins: Margins) -> Iterator[Part]:
    spread = spread_of(runs)
    for count in workers:
        found = contrast(runs.of(LINE, count), runs.of(RIVAL, count), spread)
        yield slower(found, f"{RIVAL} at {count} workers", LINE, margins)
