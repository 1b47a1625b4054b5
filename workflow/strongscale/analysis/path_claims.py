"""The claims about the path of the loss: the same for strong scaling, lost at a higher rate, sharp and then slow."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from strongscale.analysis.remarks import edge_not_found
from strongscale.analysis.runs import DIVERGED, Run, StudyRuns, in_words
from strongscale.analysis.verdict import Part, Verdict, looked_at
from strongscale.common.errors import UserError
from strongscale.common.output import number, percent

# Claim 2: float32 sums differ in their last digits with the number of workers, and training amplifies that. So
# the first epochs must agree closely; later ones as well as the sequential run agrees with itself from one
# epoch to the next, within the factor below.
PROOF = Path("exactness", "tables", "exactness.csv")
EARLY_EPOCHS = 5
EARLY_TOLERANCE = 1e-3
LATE_FACTOR = 2.0

# Claim 10: half of the fall from the null loss to the best loss lies in the first tenth of the epochs.
SHARP_SHARE = 0.5
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

    @property
    def same_path(self) -> bool:
        """Within the tolerances of claim 2."""
        late = max(EARLY_TOLERANCE, LATE_FACTOR * self.sequential_change)
        return self.early_max <= EARLY_TOLERANCE and self.median <= late


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


def strong_follows_sequential(runs: StudyRuns) -> Verdict:
    """Claim 2."""
    sequential = {run.seed: run for run in runs.sequential}
    found = runs.scaled_of_kind("strong")
    if found and all(run.cell == sequential[run.seed].cell for run in found):
        return Verdict((_proof(runs),), looked_at(found))
    paths = [(run, path_difference(runs, run, sequential[run.seed])) for run in found]
    paths = [(run, path) for run, path in paths if path.num_epochs]
    if not paths:
        return Verdict((Part(None, "Strong scaling with more than one worker: no such runs"),), "no runs")
    worst_run, worst = max(paths, key=lambda pair: pair[1].max)
    off = [run for run, path in paths if not path.same_path]
    if worst.max == 0:
        text = f"All losses of all {len(paths)} runs are those of the sequential run, to the last digit written"
    else:
        early = max(path.early_max for _, path in paths)
        text = (
            f"Losses differ from the sequential run's by at most {early:.2g} (relative) in the first {EARLY_EPOCHS} "
            f"epochs and {worst.max:.2g} in all ({worst_run.workers} workers, seed {worst_run.seed}, "
            f"{worst.num_epochs} epochs); allowed: {EARLY_TOLERANCE:g} in the first {EARLY_EPOCHS}, then in the median "
            f"{LATE_FACTOR:g} times the sequential run's own change from epoch to epoch"
        )
    if off:
        text += f"; outside: {in_words(f'{run.workers} workers seed {run.seed}' for run in off)}"
    return Verdict((Part(not off, text),), looked_at(found))


def _proof(runs: StudyRuns) -> Part:
    """Where strong scaling shares the sequential trajectory: by proof, which lies beside the study, or not at all."""
    text = (
        "By proof, not by measurement: in exact mode strong scaling takes the sequential run's path to the bit, so one "
        "trajectory stands for both (share_trajectories: false trains each)"
    )
    proof = runs.folder.parent / PROOF
    if not proof.exists():
        return Part(None, f"{text}. The proof wasn't run beside this study: snakemake --profile local exactness")
    try:
        table = pd.read_csv(proof)
        digests, devices = table["weights_hash"].nunique(), set(table["device"])
    except (ValueError, KeyError) as error:
        raise UserError(f"{proof}: not a table of digests ({error}); remove it and prove again") from None
    own = {device for run in runs.runs for device in run.result.devices}
    if not own <= devices:
        return Part(None, f"{text}. The proof beside this study is of another device ({in_words(sorted(devices))})")
    cases = f"{len(table)} runs on {in_words(sorted(set(table['workers'])))} workers and {in_words(sorted(set(table['ranks'])))} ranks"
    return Part(
        digests == 1,
        f"{text}. The proof, {PROOF}: {cases}, {digests} digest{'s' if digests > 1 else ''} of the weights, of its own model",
    )


def higher_rate_diverges(runs: StudyRuns) -> Verdict:
    """Claim 9, on every tried rate above the base rate, and only if the base rate itself trains."""
    base_rates = {run.base_rate for run in runs.sequential}
    pilots = [run for run in runs.edge if run.base_rate in base_rates]
    base = {run.seed: run for run in [*pilots, *runs.sequential]}
    higher = [run for run in runs.edge if run.seed in base and run.base_rate > base[run.seed].base_rate]
    rates = in_words(sorted({f"{run.base_rate:g}" for run in base.values()}))
    if not higher:
        text = f"No sequential run at a rate above the base rate {rates}"
        if not_found := edge_not_found(runs):
            text += f". {not_found.rstrip('.')}"
        return Verdict((Part(None, text),), "no runs")
    trained = [run for run in higher if run.result.status != DIVERGED]
    fell = [run for run in base.values() if run.result.status == DIVERGED]
    tried = in_words(dict.fromkeys(f"{run.base_rate:g}" for run in higher))
    text = f"Above the base rate {rates}, at {tried}, {len(higher) - len(trained)} of {len(higher)} sequential runs diverged"
    if trained:
        text += f"; the highest rate that didn't is {max(run.base_rate for run in trained):g}"
    base_text = f"At the base rate {len(base) - len(fell)} of {len(base)} sequential runs train"
    data = f"sequential runs at the rates {rates} and {tried}: {len(base) + len(higher)} runs"
    return Verdict((Part(None if fell else True, base_text), Part(not trained, text)), data)


def sharp_share(runs: StudyRuns, run: Run) -> float:
    """The share of the fall from the start to the best loss that lies in the first tenth of the epochs."""
    losses = runs.epochs_of(run)["validation_loss"].to_numpy(dtype=float)
    start = run.result.null_loss or run.result.constant_loss or math.nan
    num_first = math.ceil(SHARP_EPOCHS_SHARE * len(losses))
    best = float(np.nanmin(losses))
    if not start > best:
        return math.nan
    return (start - float(np.nanmin(losses[:num_first], initial=start))) / (start - best)


def sharp_then_slow(runs: StudyRuns) -> Verdict:
    """Claim 10, on the sequential and the strong-scaling runs that train for long enough to show it."""
    candidates = [*runs.sequential, *runs.scaled_of_kind("strong")]
    found = [run for run in candidates if run.result.status != DIVERGED and run.result.epochs >= SHARP_MIN_EPOCHS]
    shares = {id(run): sharp_share(runs, run) for run in found}
    found = [run for run in found if math.isfinite(shares[id(run)])]
    if not found:
        return Verdict(
            (Part(None, f"No sequential or strong-scaling run of {SHARP_MIN_EPOCHS} or more epochs trains"),), "no runs"
        )
    low, high = (limit(shares[id(run)] for run in found) for limit in (min, max))
    result = found[0].result
    null, constant = (("predicting zero", result.null_loss), ("the best constant output", result.constant_loss))
    start, loss = null if result.null_loss else constant
    text = (
        f"The first tenth of the epochs brings from {percent(low)} to {percent(high)} of the fall from the loss of "
        f"{start} ({number(loss)}) to the best loss; at least {percent(SHARP_SHARE)} counts as sharp"
    )
    return Verdict((Part(low >= SHARP_SHARE, text),), looked_at(found))
