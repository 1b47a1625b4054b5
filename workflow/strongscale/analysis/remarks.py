"""What a reader of a study's numbers must be told before they believe them."""

from typing import Any

from strongscale.analysis import edge, rates
from strongscale.analysis.runs import EXHAUSTED, Run, StudyRuns, in_words, seeds_in_words
from strongscale.common.output import number
from strongscale.settings.cells import seeks_edge


def remarks(runs: StudyRuns) -> list[str]:
    """The warnings of a study, a sentence each; none where all is well."""
    return [text for text in (_learnt_nothing(runs), edge_not_found(runs), *_large_minibatches(runs)) if text]


def _learnt_nothing(runs: StudyRuns) -> str | None:
    """The runs of the matrix that used all their epochs and are no better than one output for every input."""
    found = {run.cell: run for run in runs.matrix if run.result.status == EXHAUSTED and not run.result.beats_constant}
    if not found:
        return None
    entries: dict[tuple[str, int], list[int]] = {}
    for cell in found:
        entries.setdefault((cell.strategy, cell.workers), []).append(cell.seed)
    which = "; ".join(f"{line}, {n} workers, {seeds_in_words(seeds)}" for (line, n), seeds in entries.items())
    losses = sorted({run.result.constant_loss for run in found.values() if run.result.constant_loss is not None})
    return (
        f"Learnt less than the best constant output, whose validation loss is {in_words(map(number, losses))}: {which}."
    )


def edge_not_found(runs: StudyRuns) -> str | None:
    """Where every rate that was tried trains, the largest among them: the rate that is too large was not tried."""
    if seeks_edge(runs.study):
        found = edge.read(runs.owner)
        return found.in_words if found.bracket[1] is None else None
    tried = [*runs.edge, *runs.sequential]
    known = [run for run in tried if run.result.constant_loss is not None]
    if not runs.edge or len(known) < len(tried):
        return None
    outcomes = rates.failures([as_rates_reads(run) for run in tried])
    largest = max(outcomes)
    if outcomes[largest] is not None:
        return None
    return (
        f"The edge of the learning rate wasn't found: {largest:g}, the largest tried, trains too, so it lies above; "
        "try larger ones (edge.rates)."
    )


def as_rates_reads(run: Run) -> dict[str, Any]:
    """A run as rates.py reads it."""
    names = ("status", "diverged_because", "epochs", "best_validation_loss", "constant_loss")
    return {"learning_rate": run.base_rate, "seed": run.seed} | {name: getattr(run.result, name) for name in names}


def _large_minibatches(runs: StudyRuns) -> list[str]:
    found = {(run.stands_as, run.workers): run.result.remark for run in runs.matrix if run.result.remark}
    return [
        f"{strategy}, {workers} worker{'s' if workers > 1 else ''}: {remark}."
        for (strategy, workers), remark in found.items()
    ]
