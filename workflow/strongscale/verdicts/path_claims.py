"""The claims about the path of the loss: the same for strong scaling, lost at a higher rate, sharp and then slow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from strongscale.analysis import edge, rates
from strongscale.analysis.remarks import as_rates_reads, edge_not_found
from strongscale.analysis.runs import DIVERGED, Run, StudyRuns, in_words
from strongscale.common.errors import UserError
from strongscale.common.output import number, percent
from strongscale.inference import outcome, shares
from strongscale.inference.contrast import of_numbers
from strongscale.inference.outcome import Evidence
from strongscale.settings.cells import seeks_edge
from strongscale.settings.margins import Margins
from strongscale.verdicts.verdict import DISPROVED, PROVED, Part, Verdict, by_entry, looked_at, majority

PROOF = Path("exactness", "tables", "exactness.csv")
EARLY_EPOCHS = 5
SHARP_EPOCHS_SHARE = 0.1
SHARP_MIN_EPOCHS = 10


@dataclass(frozen=True, kw_only=True)
class PathDifference:
    """How far the losses of a run are from those of the sequential run, relative to the latter."""

    num_epochs: int
    early_max: float
    max: float
    median: float
    sequential_change: float

    def is_same_path(self, margins: Margins) -> bool:
        """Whether the first epochs agree closely, and all as well as the sequential run with itself an epoch later.

        Float32 sums differ in their last digits with the number of workers, and training amplifies that.
        """
        late = max(margins.same_path_early, margins.same_path_late * self.sequential_change)
        return self.early_max <= margins.same_path_early and self.median <= late


def path_difference(runs: StudyRuns, run: Run, sequential: Run) -> PathDifference:
    """Compare training and validation losses over the epochs that both runs have."""
    columns = ["training_loss", "validation_loss"]
    num_epochs = min(run.result.epochs, sequential.result.epochs)
    own = runs.epochs_of(run)[columns].to_numpy(dtype=float)[:num_epochs]
    base = runs.epochs_of(sequential)[columns].to_numpy(dtype=float)[:num_epochs]
    same = (own == base) | (np.isnan(own) & np.isnan(base))
    with np.errstate(all="ignore"):
        difference = np.where(same, 0.0, np.abs(own - base) / np.abs(base))
        change = np.abs(np.diff(base, axis=0)) / np.abs(base[:-1])
    difference = np.where(np.isnan(difference), np.inf, difference)
    finite_change = change[np.isfinite(change)]
    return PathDifference(
        num_epochs=num_epochs,
        early_max=float(difference[:EARLY_EPOCHS].max(initial=0.0)),
        max=float(difference.max(initial=0.0)),
        median=float(np.median(difference)) if num_epochs else 0.0,
        sequential_change=float(np.median(finite_change)) if len(finite_change) else 0.0,
    )


def strong_follows_sequential(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 2: by proof where the sums are exact, by measurement where they are fast; each says which it is."""
    sequential = {run.seed: run for run in runs.sequential}
    found = runs.scaled_of_kind("strong")
    shared = [run for run in found if run.cell == sequential[run.seed].cell]
    own = [run for run in found if run.cell != sequential[run.seed].cell and run.result.epochs]
    parts = [_proof(runs)] if shared else []
    if own:
        parts.append(_measured({run: path_difference(runs, run, sequential[run.seed]) for run in own}, margins))
    if not parts:
        return Verdict((Part("Strong scaling with more than one worker: no such runs"),), "no runs")
    return Verdict(tuple(parts), looked_at(found))


def _measured(paths: dict[Run, PathDifference], margins: Margins) -> Part:
    """How far the losses of runs that were trained are from the sequential run's: how many are within the margins."""
    worst_run = max(paths, key=lambda run: paths[run].max)
    worst, off = paths[worst_run], [run for run, path in paths.items() if not path.is_same_path(margins)]
    if worst.max == 0:
        text = f"By measurement: all losses of all {len(paths)} runs are those of the sequential run, to the last digit"
    else:
        early = max(path.early_max for path in paths.values())
        text = (
            f"By measurement: losses differ from the sequential run's by at most {early:.2g} (relative) in the first "
            f"{EARLY_EPOCHS} epochs and {worst.max:.2g} in all ({worst_run.workers} workers, seed {worst_run.seed}, "
            f"{worst.num_epochs} epochs); allowed: {margins.same_path_early:g} in the first {EARLY_EPOCHS}, then in the "
            f"median {margins.same_path_late:g} times the sequential run's own change from epoch to epoch"
        )
    if off:
        text += f"; outside: {in_words(f'{run.workers} workers seed {run.seed}' for run in off)}"
    evidence = []
    for same in by_entry(list(paths)):
        num_off = sum(run in off for run in same)
        evidence.append(
            Evidence(
                shares.p_above(len(same) - num_off, len(same), margins.mostly),
                shares.p_above(num_off, len(same), margins.mostly),
            )
        )
    return Part(text, outcome.together(evidence), leans=majority(len(paths) - len(off), len(paths)))


def _proof(runs: StudyRuns) -> Part:
    """Where strong scaling shares the sequential trajectory: by proof, which lies beside the study, or not at all."""
    text = (
        "By proof, not by measurement: in exact mode strong scaling takes the sequential run's path to the bit, so one "
        "trajectory stands for both (share_trajectories: false trains each)"
    )
    proof = runs.folder.parent / PROOF
    if not proof.exists():
        return Part(
            f"{text}. The proof wasn't run beside this study: snakemake --profile local exactness", is_proof=True
        )
    try:
        table = pd.read_csv(proof).query("strategy == 'strong'")
        digests, devices = table["weights_hash"].nunique(), set(table["device"])
    except (ValueError, KeyError, pd.errors.UndefinedVariableError) as error:
        raise UserError(f"{proof}: not a table of digests ({error}); remove it and prove again") from None
    if not digests:
        return Part(f"{text}. The proof beside this study is of other strategies", is_proof=True)
    own = {device for run in runs.runs for device in run.result.devices}
    if not own <= devices:
        return Part(
            f"{text}. The proof beside this study is of another device ({in_words(sorted(devices))})", is_proof=True
        )
    cases = f"{len(table)} runs on {in_words(sorted(set(table['workers'])))} workers and {in_words(sorted(set(table['ranks'])))} ranks"
    return Part(
        f"{text}. The proof, {PROOF}: {cases}, {digests} digest{'s' if digests > 1 else ''} of the weights, of its own model",
        PROVED if digests == 1 else DISPROVED,
        is_proof=True,
    )


def higher_rate_diverges(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 9, at every tried rate above the base rate, by the edge's own criterion; and only if the base rate itself trains."""
    outcomes = _by_rate(runs)
    base = max(run.base_rate for run in runs.sequential)
    higher = {rate: each for rate, each in outcomes.items() if rate > base}
    if not higher and seeks_edge(runs.study):
        return _above_the_edge(runs)
    if not higher:
        text = f"No sequential run at a rate above the base rate {base:g}"
        if not_found := edge_not_found(runs):
            text += f". {not_found.rstrip('.')}"
        return Verdict((Part(text),), "no runs")
    fails = [_fails(rate, each, margins) for rate, each in higher.items()]
    own = outcomes.get(base, [])
    trained = sum(reason is None for reason in own)
    trains = Evidence(supports=shares.p_above(trained, len(own), margins.mostly))
    data = f"sequential runs at the rates {in_words(f'{rate:g}' for rate in [base, *higher])}: {len(own) + sum(map(len, higher.values()))} runs"
    text = f"At the base rate {base:g} {trained} of {len(own)} sequential runs train"
    return Verdict((Part(text, trains, leans=max(0, majority(trained, len(own)))), *fails), data)


def _by_rate(runs: StudyRuns) -> dict[float, list[str | None]]:
    """For each rate, why each of its sequential runs doesn't train; None for one that does."""
    read = [as_rates_reads(run) for run in [*runs.edge, *runs.sequential]]
    found: dict[float, list[str | None]] = {}
    for one in sorted(read, key=lambda one: (one["learning_rate"], one["seed"])):
        found.setdefault(one["learning_rate"], []).append(rates.why_not(one, read))
    return found


def _fails(rate: float, each: Sequence[str | None], margins: Margins) -> Part:
    failed = [reason for reason in each if reason is not None]
    return _share_that_fails(rate, len(failed), len(each), f", the first: {failed[0]}" if failed else "", margins)


def _share_that_fails(rate: float, failed: int, of: int, why: str, margins: Margins) -> Part:
    low, high = shares.interval(failed, of)
    evidence = Evidence(shares.p_above(failed, of, margins.mostly), shares.p_below(failed, of, margins.mostly))
    text = f"At {rate:g} {failed} of {of} don't train [{low:.2f}, {high:.2f}]{why}"
    return Part(text, evidence, leans=majority(failed, of))


def _above_the_edge(runs: StudyRuns) -> Verdict:
    """Claim 9 by what the search for the edge saw, which is no evidence: it ends at a rate that fails, and as soon as it does."""
    found = edge.read(runs.owner)
    tries = found.tries
    higher = [one for one in tries if one.rate > found.bracket[0]]
    if not higher:
        return Verdict((Part(found.in_words.rstrip(".")),), "the search for the edge")
    base = next(one for one in tries if one.rate == found.bracket[0])
    text = (
        f"At the edge, {base.rate:g}, {base.reached} of {base.seeds} short sequential runs reach a validation loss of "
        f"{number(found.reference_loss)} in {found.epochs} epochs"
    )
    each = in_words(f"{one.seeds - one.reached} of {one.seeds} at {one.rate:g}" for one in higher)
    why = "the search ends at a rate that fails, so that is no evidence; rates to be judged by: edge.rates"
    parts = [
        Part(text, leans=max(0, majority(base.reached, base.seeds))),
        Part(
            f"Above it don't {each}: {why}", leans=min(majority(one.seeds - one.reached, one.seeds) for one in higher)
        ),
    ]
    data = f"the search for the edge: {sum(one.seeds for one in tries)} short runs at {len(tries)} rates"
    return Verdict(tuple(parts), data)


def sharp_share(runs: StudyRuns, run: Run) -> float:
    """The share of the fall from the start to the best loss that lies in the first tenth of the epochs."""
    losses = runs.epochs_of(run)["validation_loss"].to_numpy(dtype=float)
    start = run.result.null_loss or run.result.constant_loss or math.nan
    num_first = math.ceil(SHARP_EPOCHS_SHARE * len(losses))
    best = float(np.nanmin(losses))
    if not start > best:
        return math.nan
    return (start - float(np.nanmin(losses[:num_first], initial=start))) / (start - best)


def sharp_then_slow(runs: StudyRuns, margins: Margins) -> Verdict:
    """Claim 10, on the pilots, which all run to their end; without them on the sequential run of each seed, if it is long enough.

    A strong-scaling one may stand in its place. They take the same path, or nearly: one observation a seed, not several.
    """
    found: dict[int, tuple[Run, float]] = {}
    pilots = [run for run in runs.runs if run.line == "pilot"]
    for run in pilots or [*runs.sequential, *runs.scaled_of_kind("strong")]:
        if run.result.status != DIVERGED and run.result.epochs >= SHARP_MIN_EPOCHS:
            share = sharp_share(runs, run)
            if math.isfinite(share):
                found.setdefault(run.seed, (run, share))
    if not found:
        return Verdict(
            (Part(f"No pilot, sequential or strong-scaling run of {SHARP_MIN_EPOCHS} or more epochs trains"),),
            "no runs",
        )
    result = next(iter(found.values()))[0].result
    null, constant = (("predicting zero", result.null_loss), ("the best constant output", result.constant_loss))
    start, loss = null if result.null_loss else constant
    each = of_numbers([share for _, share in found.values()])
    low, high = each.interval(1 - margins.level)
    interval = "one run: no interval" if math.isnan(low) else f"[{percent(low)}, {percent(high)}]"
    text = (
        f"The first tenth of the epochs brings {percent(each.mean)} {interval} of the fall from the loss of {start} "
        f"({number(loss)}) to the best loss; at least {percent(margins.sharp)} counts as sharp"
    )
    evidence = Evidence(each.p_above(margins.sharp), each.p_below(margins.sharp))
    leans = (each.mean > margins.sharp) - (each.mean < margins.sharp)
    return Verdict((Part(text, evidence, leans=leans),), looked_at([run for run, _ in found.values()]))
