"""The claims about who reaches the target, how fast, and at which loss the others end."""

from strongscale.analysis import paper
from strongscale.analysis.runs import EXHAUSTED, Run, StudyRuns, in_words
from strongscale.analysis.verdict import Part, Verdict, all_converge, counts, looked_at, named, none_converges
from strongscale.common.output import number
from strongscale.strategies.warmup import Warmup

# Claim 3: with four or more times two workers, the time is still more than half of that of two workers.
HARDLY_HELPS_GAIN = 2.0
HARDLY_HELPS_WORKERS = 8

CEILING_SHARE = 0.8  # Claim 6: of the loss of predicting zero


def strong_reaches_target(runs: StudyRuns) -> Verdict:
    """Claim 1."""
    found = runs.scaled_of_kind("strong")
    return Verdict((all_converge(found, "Strong scaling"),), looked_at(found))


def weak_hardly_helps(runs: StudyRuns) -> Verdict:
    """Claim 3."""
    found = runs.scaled_of_kind("weak")
    return Verdict((all_converge(found, "Weak scaling"), _gain_beyond_two(runs)), looked_at(found))


def _gain_beyond_two(runs: StudyRuns) -> Part:
    """From 2 to 8 and more workers a perfect gain is 4 and more; `hardly` means below 2, in every seed."""
    times_s = {
        (run.strategy, run.seed, run.workers): run.result.time_to_target_s
        for run in runs.scaled_of_kind("weak")
        if run.result.time_to_target_s
    }
    gains = {
        (workers, seed): times_s[strategy, seed, 2] / time_s
        for (strategy, seed, workers), time_s in times_s.items()
        if workers > 2 and (strategy, seed, 2) in times_s
    }
    if not any(workers >= HARDLY_HELPS_WORKERS for workers, _ in gains):
        return Part(
            None, f"The gain beyond 2 workers needs converged runs at 2 and at {HARDLY_HELPS_WORKERS} or more workers"
        )
    (workers, seed), gain = max(gains.items(), key=lambda item: item[1])
    text = (
        f"The greatest gain over 2 workers is {number(gain)} times, at {workers} workers (seed {seed}); "
        f"below {number(HARDLY_HELPS_GAIN)} counts as hardly helping"
    )
    return Part(gain < HARDLY_HELPS_GAIN, text)


def linear_fails(runs: StudyRuns) -> Verdict:
    """Claim 4."""
    found = runs.scaled_of_kind("linear")
    return Verdict((none_converges(found, "The linear rule"),), looked_at(found))


def warmup_limit(runs: StudyRuns) -> Verdict:
    """Claim 5."""
    short = _warmups(runs, paper.WARMUP_EPOCHS)
    long = _warmups(runs, paper.LONG_WARMUP_EPOCHS)
    limit = paper.WARMUP_LIMIT_WORKERS
    few = [run for run in short if run.workers <= limit]
    many = [run for run in short if run.workers >= 2 * limit]
    many_long = [run for run in long if run.workers >= 2 * limit]
    parts = (
        all_converge(few, f"{paper.WARMUP_EPOCHS} epochs of warm-up, up to {limit} workers"),
        none_converges(many, f"{paper.WARMUP_EPOCHS} epochs of warm-up, from {2 * limit} workers"),
        none_converges(many_long, f"{paper.LONG_WARMUP_EPOCHS} epochs of warm-up, from {2 * limit} workers"),
    )
    return Verdict(parts, looked_at([*few, *many, *many_long]))


def _warmups(runs: StudyRuns, epochs: float) -> list[Run]:
    """The scaled runs of warm-up strategies of so many epochs, whatever the line of the matrix is called."""
    names = [name for name in runs.entries("warmup") if _warmup_epochs(runs, name) == epochs]
    return [run for name in names for run in runs.scaled(name)]


def _warmup_epochs(runs: StudyRuns, name: str) -> float:
    strategy = runs.study.strategy(name)
    assert isinstance(strategy, Warmup)
    return strategy.epochs


def warmup_ceiling(runs: StudyRuns) -> Verdict:
    """Claim 6."""
    failed = [run for run in _warmups(runs, paper.WARMUP_EPOCHS) if not run.result.converged]
    few = [run for run in failed if run.workers < 32]
    many = [run for run in _warmups(runs, paper.WARMUP_EPOCHS) if run.workers >= 32]
    return Verdict((_ends_at_ceiling(runs, few), _becomes_infinite(many)), looked_at([*few, *many]))


def _ends_at_ceiling(runs: StudyRuns, failed: list[Run]) -> Part:
    """A ceiling: the final loss is near the null loss, and no more than that loss itself."""
    if not failed:
        return Part(None, "No warm-up below 32 workers failed")
    null_loss = runs.null_loss
    if not null_loss:
        return Part(None, "The loss of predicting zero isn't known")
    low, high = CEILING_SHARE * null_loss, 1.05 * null_loss
    ends = [_finite_end(run) for run in failed]
    elsewhere = [run for run, end in zip(failed, ends, strict=True) if end is None or not low <= end <= high]
    finite = sorted(end for end in ends if end is not None)
    text = f"Failing warm-up at {counts(failed)} workers ends at validation losses "
    text += f"from {number(finite[0])} to {number(finite[-1])}" if finite else "that aren't finite"
    text += (
        f"; predicting zero costs {number(null_loss)}, and from {number(low)} to {number(high)} counts as the ceiling"
    )
    if elsewhere:
        text += f"; elsewhere ended {in_words(named(elsewhere))}"
    return Part(not elsewhere, text)


def _finite_end(run: Run) -> float | None:
    """The loss at which a run ends; none where it, or that of training, is no longer finite."""
    return None if run.result.diverged_because == "not finite" else run.result.final_validation_loss


def _becomes_infinite(runs: list[Run]) -> Part:
    if not runs:
        return Part(None, "No warm-up at 32 workers was run")
    finite = [run for run in runs if run.result.diverged_because != "not finite"]
    text = f"At {counts(runs)} workers the loss is no longer finite in {len(runs) - len(finite)} of {len(runs)} runs"
    if finite:
        text += f"; not so {in_words(named(finite))}"
    return Part(not finite, text)


def strong_is_fastest(runs: StudyRuns) -> Verdict:
    """Claim 7. With the same T(1), the least time to target at n is also the highest efficiency."""
    others = [name for kind in ("weak", "linear", "warmup") for name in runs.entries(kind)]
    strong = runs.scaled_of_kind("strong")
    rivals: dict[tuple[int, int], list[Run]] = {(run.workers, run.seed): [] for run in strong}
    for run in (run for name in others for run in runs.scaled(name)):
        if (run.workers, run.seed) in rivals:
            rivals[run.workers, run.seed].append(run)
    compared = [run for run in strong if rivals[run.workers, run.seed]]
    if not compared:
        return Verdict((Part(None, "No number of workers has strong scaling and another strategy"),), "no runs")
    pairs = [(run, rival) for run in compared for rival in rivals[run.workers, run.seed]]
    faster = [rival for run, rival in pairs if _is_faster(run, rival) is False]
    unknown = [rival for run, rival in pairs if _is_faster(run, rival) is None]
    lead = [
        rival.result.time_to_target_s / run.result.time_to_target_s
        for run, rival in pairs
        if rival.result.time_to_target_s and run.result.time_to_target_s
    ]
    text = f"Strong scaling against {in_words(others)} at {counts(compared)} workers, seed by seed"
    if lead:
        text += f": the others that reach the target take from {number(min(lead))} to {number(max(lead))} times as long"
    if faster:
        text += f"; strong scaling isn't faster than {_places(faster)}"
    if unknown:
        text += f"; open against {_places(unknown)}, as neither reached the target, or one was stopped sooner"
    everyone = [*compared, *(run for run in compared for run in rivals[run.workers, run.seed])]
    return Verdict((Part(False if faster else None if unknown else True, text),), looked_at(everyone))


def _places(runs: list[Run]) -> str:
    return in_words(f"{run.strategy} at {run.workers} workers (seed {run.seed})" for run in runs)


def _is_faster(run: Run, rival: Run) -> bool | None:
    """Whether the run reaches the target sooner; None where that can't be known: neither did, or one was stopped first."""
    own_s, rival_s = run.result.time_to_target_s, rival.result.time_to_target_s
    if own_s and rival_s:
        return own_s < rival_s
    if own_s:
        return None if _was_stopped_before(rival, own_s) else True
    if rival_s:
        return None if _was_stopped_before(run, rival_s) else False
    return None


def _was_stopped_before(run: Run, time_s: float) -> bool:
    """Whether a run ended undecided, so that it might have reached the target by that time."""
    return run.result.status == EXHAUSTED and run.result.time_s < time_s


def warmup_beats_weak(runs: StudyRuns) -> Verdict:
    """Claim 8: warm-up converges at 4 workers, and where it does it is faster."""
    limit = paper.WARMUP_LIMIT_WORKERS
    weak = {run.seed: run for run in runs.scaled_of_kind("weak") if run.workers == limit}
    tried = [run for run in _warmups(runs, paper.WARMUP_EPOCHS) if run.workers == limit and run.seed in weak]
    if not tried:
        return Verdict(
            (Part(None, f"Warm-up and weak scaling at {limit} workers aren't both in this study"),), "no runs"
        )
    data = looked_at([*tried, *weak.values()])
    converged = [run for run in tried if run.result.converged]
    others = [run for run in tried if not run.result.converged]
    parts = [Part(None, f"Warm-up at {limit} workers doesn't converge: {in_words(named(others))}")] if others else []
    if converged:
        parts.insert(0, _faster_than_weak(converged, weak))
    return Verdict(tuple(parts), data)


def _faster_than_weak(converged: list[Run], weak: dict[int, Run]) -> Part:
    """Each warm-up against weak scaling of the same seed."""
    times = [
        f"{number(run.result.time_to_target_s)} s against "
        f"{number(weak[run.seed].result.time_to_target_s) or weak[run.seed].result.outcome}"
        f"{' s' if weak[run.seed].result.converged else ''} (seed {run.seed})"
        for run in converged
    ]
    answers = [_is_faster(run, weak[run.seed]) for run in converged]
    holds = False if False in answers else None if None in answers else True
    text = f"At {counts(converged)} workers warm-up against weak scaling: {in_words(times)}"
    if None in answers:
        text += "; where weak scaling was stopped sooner, it might have been the faster"
    return Part(holds, text)
