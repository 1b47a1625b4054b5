"""The claims about who reaches the target, how fast, and at which loss the others end."""

import math

from strongscale.analysis import paper
from strongscale.analysis.ratios import contrast, in_words, spread_of
from strongscale.analysis.runs import DIVERGED, EXHAUSTED, Run, StudyRuns
from strongscale.analysis.runs import in_words as listed
from strongscale.common.output import number
from strongscale.inference import outcome, shares
from strongscale.inference.contrast import Contrast
from strongscale.inference.outcome import Evidence
from strongscale.settings.margins import Margins
from strongscale.strategies.warmup import Warmup
from strongscale.verdicts.verdict import (
    Part,
    Verdict,
    counts,
    looked_at,
    most_converge,
    most_fail,
    named,
    slower,
)

HARDLY_HELPS_WORKERS = 8
"""Claim 3: from two workers to so many or more, where a perfect gain is four times."""
CEILING_WORKERS = 32
"""Claim 6: from so many on the loss becomes infinite."""
RIVALS = ("weak", "linear", "warmup")


def strong_reaches_target(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 1."""
    found = runs.scaled_of_kind("strong")
    return Verdict((most_converge(found, "Strong scaling", margins.mostly),), looked_at(found))


def weak_hardly_helps(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 3."""
    found = runs.scaled_of_kind("weak")
    gains = [part for name in runs.entries("weak") for part in _gains_beyond_two(runs, name, margins)]
    if not gains:
        gains = [Part(f"The gain beyond 2 workers needs runs at 2 and at {HARDLY_HELPS_WORKERS} or more workers")]
    return Verdict((most_converge(found, "Weak scaling", margins.mostly), *gains), looked_at(found))


def _gains_beyond_two(runs: StudyRuns, line: str, margins: Margins) -> list[Part]:
    """How many times as fast as two workers so many more are."""
    two, limit = runs.of(line, 2), math.log(margins.hardly_helps)
    found = {
        workers: contrast(runs.of(line, workers), two, spread_of(runs))
        for workers in runs.workers(line)
        if workers >= HARDLY_HELPS_WORKERS
    }
    return [
        Part(
            f"{in_words(gain, f'{line} at 2 workers', f'at {workers}', 1 - margins.level)}; "
            f"below {number(margins.hardly_helps)} times counts as hardly helping",
            Evidence(gain.p_below(limit), gain.p_above(limit)),
            leans=_below(gain, limit),
        )
        for workers, gain in found.items()
        if gain.pairs
    ]


def _below(gain: Contrast, limit: float) -> int:
    """Which way a gain points that should be small: one that is known only to be beyond a bound says what the bound does."""
    below, above = sum(pair.high < limit for pair in gain.pairs), sum(pair.low > limit for pair in gain.pairs)
    return (2 * below > len(gain.pairs)) - (2 * above > len(gain.pairs))


def linear_fails(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 4."""
    found = runs.scaled_of_kind("linear")
    return Verdict((most_fail(found, "The linear rule", margins.mostly),), looked_at(found))


def warmup_limit(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 5."""
    short = _warmups(runs, paper.WARMUP_EPOCHS)
    long = _warmups(runs, paper.LONG_WARMUP_EPOCHS)
    limit, mostly = paper.WARMUP_LIMIT_WORKERS, margins.mostly
    few = [run for run in short if run.workers <= limit]
    many = [run for run in short if run.workers >= 2 * limit]
    many_long = [run for run in long if run.workers >= 2 * limit]
    parts = (
        most_converge(few, f"{paper.WARMUP_EPOCHS} epochs of warm-up, up to {limit} workers", mostly),
        most_fail(many, f"{paper.WARMUP_EPOCHS} epochs of warm-up, from {2 * limit} workers", mostly),
        most_fail(many_long, f"{paper.LONG_WARMUP_EPOCHS} epochs of warm-up, from {2 * limit} workers", mostly),
    )
    return Verdict(parts, looked_at([*few, *many, *many_long]))


def _warmups(runs: StudyRuns, epochs: float) -> list[Run]:
    """The scaled runs of warm-up strategies of so many epochs, whatever the line of the matrix is called."""
    return [run for name in _warmup_lines(runs, epochs) for run in runs.scaled(name)]


def _warmup_lines(runs: StudyRuns, epochs: float) -> list[str]:
    return [name for name in runs.entries("warmup") if _warmup_epochs(runs, name) == epochs]


def _warmup_epochs(runs: StudyRuns, name: str) -> float:
    strategy = runs.study.strategy(name)
    assert isinstance(strategy, Warmup)
    return strategy.epochs


def warmup_ceiling(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 6, seed by seed: a seed's runs at several numbers of workers are one observation."""
    warmups = _warmups(runs, paper.WARMUP_EPOCHS)
    few = [run for run in warmups if run.workers < CEILING_WORKERS and not run.result.converged]
    many = [run for run in warmups if run.workers >= CEILING_WORKERS]
    return Verdict((_ends_at_ceiling(runs, few, margins), _becomes_infinite(many, margins)), looked_at([*few, *many]))


def _ends_at_ceiling(runs: StudyRuns, failed: list[Run], margins: Margins) -> Part:
    """A ceiling: the final loss over that of predicting zero is 1, within a margin. A run that was stopped has no end."""
    ended = [run for run in failed if run.result.status == DIVERGED]
    null_loss = runs.null_loss
    if not ended:
        return Part("No warm-up below 32 workers diverged")
    if not null_loss:
        return Part("The loss of predicting zero isn't known")
    finite = [end for run in ended if (end := _finite_end(run)) is not None]
    text = f"Failing warm-up at {counts(ended)} workers ends at validation losses "
    text += f"from {number(min(finite))} to {number(max(finite))}" if finite else "that aren't finite"
    text += (
        f"; predicting zero costs {number(null_loss)}, and within {number(margins.ceiling)} times that is the ceiling"
    )
    elsewhere = [run for run in ended if not _is_near(_finite_end(run), null_loss, margins.ceiling)]
    if elsewhere:
        text += f"; elsewhere ended {listed(named(elsewhere))}"
    return _by_seed(
        text, failed, against=elsewhere, unknown=[run for run in failed if run not in ended], margins=margins
    )


def _is_near(end: float | None, null_loss: float, ceiling: float) -> bool:
    return end is not None and abs(math.log(end / null_loss)) <= math.log(ceiling)


def _by_seed(text: str, runs: list[Run], *, against: list[Run], unknown: list[Run], margins: Margins) -> Part:
    """Whether something is so in most seeds: not where one of a seed's runs is against it, nor known where one is unknown."""
    seeds = {run.seed for run in runs}
    against_it = {run.seed for run in against}
    unknown_in = {run.seed for run in unknown} - against_it
    num_so, num_not = len(seeds - against_it - unknown_in), len(against_it)
    evidence = Evidence(
        shares.p_above(num_so, len(seeds), margins.mostly), shares.p_above(num_not, len(seeds), margins.mostly)
    )
    leans = (2 * num_so > len(seeds)) - (2 * num_not > len(seeds))
    return Part(f"{text}. So in {num_so}, not so in {num_not} of {len(seeds)} seeds", evidence, leans=leans)


def _finite_end(run: Run) -> float | None:
    """The loss at which a run ends; none where it, or that of training, is no longer finite."""
    return None if run.result.diverged_because == "not finite" else run.result.final_validation_loss


def _becomes_infinite(runs: list[Run], margins: Margins) -> Part:
    if not runs:
        return Part("No warm-up at 32 workers was run")
    finite = [run for run in runs if run.result.diverged_because != "not finite"]
    text = f"At {counts(runs)} workers the loss is no longer finite in {len(runs) - len(finite)} of {len(runs)} runs"
    if finite:
        text += f"; not so {listed(named(finite))}"
    stopped = [run for run in finite if _was_stopped(run)]
    return _by_seed(text, runs, against=[run for run in finite if run not in stopped], unknown=stopped, margins=margins)


def _was_stopped(run: Run) -> bool:
    """Whether a run might have gone on to become infinite: at the end of its epochs, or ended for having collapsed."""
    return run.result.status == EXHAUSTED or (run.result.status == DIVERGED and run.settings.training.collapse.stop)


def strong_is_fastest(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 7. With the same T(1), the least time to target at n is also the highest efficiency."""
    spread, parts, seen = spread_of(runs), [], []
    rivals = [name for kind in RIVALS for name in runs.entries(kind)]
    for own in runs.entries("strong"):
        for rival in rivals:
            for workers in sorted({*runs.workers(own)} & {*runs.workers(rival)} - {1}):
                mine, theirs = runs.of(own, workers), runs.of(rival, workers)
                parts.append(slower(contrast(mine, theirs, spread), f"{rival} at {workers} workers", own, margins))
                seen += [*mine, *theirs]
    if not parts:
        return Verdict((Part("No number of workers has strong scaling and another strategy"),), "no runs")
    return Verdict(tuple(parts), looked_at(list(dict.fromkeys(seen))))


def warmup_beats_weak(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 8: warm-up converges at 4 workers, and where it does it is faster."""
    limit = paper.WARMUP_LIMIT_WORKERS
    parts, seen = [], []
    for line in _warmup_lines(runs, paper.WARMUP_EPOCHS):
        for rival in runs.entries("weak"):
            mine, theirs = runs.of(line, limit), runs.of(rival, limit)
            converged = [run for run in mine if run.result.converged]
            arriving = [run for run in mine if run.result.status != DIVERGED]
            if not mine or not theirs:
                continue
            seen += [*mine, *theirs]
            found = contrast(arriving, theirs, spread_of(runs))
            parts.append(slower(found, f"{rival} at {limit} workers", line, margins))
            if len(converged) < len(mine):
                others = listed(named(run for run in mine if not run.result.converged))
                parts.append(
                    Part(f"Warm-up at {limit} workers doesn't converge: {others}", _all_the_same(mine, margins))
                )
    if not parts:
        return Verdict((Part(f"Warm-up and weak scaling at {limit} workers aren't both in this study"),), "no runs")
    return Verdict(tuple(parts), looked_at(list(dict.fromkeys(seen))))


def _all_the_same(runs: list[Run], margins: Margins) -> Evidence:
    """A claim about where warm-up converges isn't contradicted by runs that don't; it is left open by too many."""
    arrived = sum(run.result.converged for run in runs)
    return Evidence(supports=shares.p_above(arrived, len(runs), margins.mostly), contradicts=outcome.NONE.contradicts)
