"""Readings of the paper judged by what it states, from sequential runs at several rates: which one behaves as it says?

A reading is a model with its settings; a study of sequential runs tries it on one data set at several learning rates and
seeds. The paper states how low the loss comes in about 100 epochs, which rate is the largest that trains, and how runs
fail. None of it says which strategy wins. Rates are compared over the same epochs, those of the shorter tries.

A study of many seeds at one rate counts dead starts: runs whose output ignores its input from the first epochs on.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from strongscale.analysis import rates
from strongscale.analysis.load import load
from strongscale.analysis.paper import ETA
from strongscale.analysis.remarks import as_rates_reads
from strongscale.analysis.runs import Run
from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import write_text
from strongscale.common.output import write_csv
from strongscale.models.deepdensity import DeepDensity

CURVE_EPOCHS = (1, 2, 5, 10, 20, 50, 100)
NEAR_CEILING = 0.02  # relative: a loss as near as that to predicting zero's is called so
TRAINS = "trains"


@dataclass(frozen=True)
class Tried:
    """One reading on one data set: its runs, with the best loss of the epochs that all rates were given."""

    name: str
    dataset: str
    model: DeepDensity
    runs: list[dict[str, Any]]
    epochs: int

    @property
    def rates(self) -> list[float]:
        """The rates it was tried at, rising."""
        return sorted({run["learning_rate"] for run in self.runs})

    @property
    def reading(self) -> str:
        """What is read into the paper, in words."""
        start = {"mean": "start at the mean brightness", "zero": "zero biases"}[self.model.start]
        least = self.model.smallest_sigma
        narrow = "" if least == 0.5 else f", sigma down to {least:g} voxel"
        return f"mass {self.model.mass}, {start}{narrow}"

    def at(self, rate: float) -> list[dict[str, Any]]:
        """The runs at one rate, a seed each."""
        return [run for run in self.runs if run["learning_rate"] == rate]

    def end(self, run: dict[str, Any]) -> str:
        """How a run ended: it trains, or else where it ended."""
        if rates.why_not(run, self.runs) is None:
            return TRAINS
        return "worse" if run["status"] != "diverged" else collapse_of(run)

    def largest_rate(self) -> float | None:
        """The largest rate up to which every seed trains."""
        return rates.largest(self.runs)


def collapse_of(run: dict[str, Any]) -> str:
    """What is left of a diverged run."""
    final = run["final_validation_loss"]
    if final is None:
        return "infinite"
    return "predicts zero" if abs(final / run["null_loss"] - 1) <= NEAR_CEILING else "another constant"


def read(folder: Path) -> Tried:
    """A study's sequential runs, those at other rates among them."""
    runs = load(folder, with_seconds=False)
    study, epochs = runs.study, runs.study.training.max_epochs
    if study.edge.rates:
        epochs = min(epochs, study.edge.epochs)
    found = [
        _plain(run, runs.epochs_of(run)["validation_loss"].fillna(math.inf).tolist(), epochs)
        for run in (*runs.edge, *runs.sequential)
    ]
    if not any(run["learning_rate"] == ETA for run in found):
        raise UserError(f"{folder}: no run at the learning rate {ETA:g}, which the paper states; try that too")
    assert study.dataset is not None
    assert isinstance(study.model, DeepDensity)
    return Tried(runs.name, study.dataset, study.model, found, epochs)


def _plain(run: Run, losses: list[float], epochs: int) -> dict[str, Any]:
    """A run as rates.py reads it, but by its first so many epochs; with all its losses."""
    best = min(losses[:epochs])
    names = ("null_loss", "final_validation_loss")
    return (
        as_rates_reads(run)
        | {name: getattr(run.result, name) for name in names}
        | {"losses": losses, "best_validation_loss": best if math.isfinite(best) else None}
    )


def loss_shares(runs: Sequence[dict[str, Any]], epochs: int | None = None) -> list[float]:
    """Each run's best loss in so many epochs, or in all, as a share of what predicting zero costs, rising."""
    return sorted(min(run["losses"][:epochs]) / run["null_loss"] for run in runs)


def rows_of(tried: Tried) -> list[dict[str, Any]]:
    """A row a run."""
    return [
        {
            "data": tried.dataset,
            "reading": tried.reading,
            "learning_rate": run["learning_rate"],
            "seed": run["seed"],
            "epochs": tried.epochs,
            "best_share_of_zero": loss_shares([run], tried.epochs)[0],
            "all_epochs": run["epochs"],
            "best_share_of_zero_in_all": loss_shares([run])[0],
            "constant_share_of_zero": run["constant_loss"] / run["null_loss"],
            "end": tried.end(run),
        }
        for run in tried.runs
    ]


def verdict_of(tried: Tried) -> dict[str, Any]:
    """A reading beside what the paper states, on one data set."""
    at_eta = tried.at(ETA)
    failures = [collapse_of(run) for run in tried.runs if run["status"] == "diverged"]
    ends = dict.fromkeys(sorted(failures))
    return {
        "data": tried.dataset,
        "reading": tried.reading,
        f"loss at {ETA:g}, of zero's": _share(at_eta),
        "in epochs": max(run["epochs"] for run in at_eta),
        "largest rate that trains": _number(tried.largest_rate()),
        "failing runs end": ", ".join(f"{failures.count(end)} {end}" for end in ends) or "none failed",
    }


STATED = {
    "data": "LUNA16",
    "reading": "the paper",
    f"loss at {ETA:g}, of zero's": "4 % of its ceiling",
    "in epochs": "about 100",
    "largest rate that trains": f"{ETA:g}",
    "failing runs end": "at a ceiling and stay; infinite at 32 workers",
}


def _share(runs: Sequence[dict[str, Any]]) -> str:
    shares = loss_shares(runs)
    return f"{100 * median(shares):.1f} % ({100 * shares[0]:.1f} to {100 * shares[-1]:.1f})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _table(rows: Sequence[dict[str, Any]]) -> str:
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def _by_rate(own: Sequence[Tried]) -> str:
    rates = sorted({rate for tried in own for rate in tried.rates})
    return _table(
        [
            {"reading": tried.reading} | {f"{rate:g}": _cell(tried, rate) if tried.at(rate) else "" for rate in rates}
            for tried in own
        ]
    )


def _cell(tried: Tried, rate: float) -> str:
    runs = tried.at(rate)
    ends = [tried.end(run) for run in runs]
    others = sorted({end for end in ends if end != TRAINS})
    words = f"{100 * median(loss_shares(runs, tried.epochs)):.1f} %, {ends.count(TRAINS)} of {len(ends)}"
    return words + (f" ({', '.join(others)})" if others else "")


def starts_of(tried: Tried) -> dict[str, Any]:
    """How many of a study's starts are dead."""
    dead = [collapse_of(run) for run in tried.runs if run["status"] == "diverged"]
    return {
        "data": tried.dataset,
        "reading": tried.reading,
        "learning rate": f"{tried.rates[0]:g}",
        "epochs": str(tried.epochs),
        "dead": f"{len(dead)} of {len(tried.runs)}",
        "loss, of zero's": _share(tried.runs),
    }


def curve_of(tried: Tried) -> dict[str, Any]:
    """The median loss at the paper's rate after some epochs, of the seeds' best so far."""
    runs = tried.at(ETA)
    shares = {
        epoch: median(loss_shares(runs, epoch)) for epoch in CURVE_EPOCHS if epoch <= max(run["epochs"] for run in runs)
    }
    return {"data": tried.dataset, "reading": tried.reading} | {
        f"{epoch}": f"{100 * shares[epoch]:.1f} %" if epoch in shares else "" for epoch in CURVE_EPOCHS
    }


def page(all_tried: Sequence[Tried], command: str) -> str:
    """The tables, with what made them."""
    starts = [tried for tried in all_tried if len(tried.rates) == 1]
    judged = [tried for tried in all_tried if len(tried.rates) > 1]
    parts = ["# Readings of the paper, tried", f"Made by `{command}`."]
    if judged:
        parts += [
            "Sequential runs at several learning rates and seeds. A loss is the best validation loss as a share of what "
            "predicting zero costs: the median, and the least to the largest of the seeds. A rate trains if, in the same "
            "epochs, it is better than the best constant output, and not much worse than a smaller rate of the same seed.",
            _table([STATED, *(verdict_of(tried) for tried in judged)]),
        ]
    for dataset in dict.fromkeys(tried.dataset for tried in judged):
        own = [tried for tried in judged if tried.dataset == dataset]
        constant = median(run["constant_loss"] / run["null_loss"] for tried in own for run in tried.runs)
        parts += [
            f"## {dataset}",
            f"By learning rate, in {own[0].epochs} epochs: the loss, how many seeds train, and what became of the others. "
            f"The best constant output has {100 * constant:.1f} %.",
            _by_rate(own),
        ]
    if judged:
        parts += [
            "## Learning curves",
            f"At {ETA:g}, after so many epochs: the median over seeds of the best loss so far, of zero's.",
            _table([curve_of(tried) for tried in judged]),
        ]
    if starts:
        parts += [
            "## Dead starts",
            "A start is dead if the output no longer depends on the input.",
            _table([starts_of(tried) for tried in starts]),
        ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> None:
    """Judge readings of the paper by the sequential runs of studies, one a reading and data set."""
    parser = argparse.ArgumentParser(prog="strongscale.analysis.readings", description=main.__doc__)
    parser.add_argument("studies", nargs="+", type=Path, help="folders of studies")
    parser.add_argument("--output", type=Path, required=True, help="folder for readings.md and readings.csv")
    parser.add_argument("--command", required=True, help="what to type for all of it, for the page")
    options = parser.parse_args(arguments)
    all_tried = sorted(map(read, options.studies), key=lambda tried: tried.dataset)  # else in the order given
    write_csv(options.output / "readings.csv", [row for tried in all_tried for row in rows_of(tried)])
    write_text(options.output / "readings.md", page(all_tried, options.command))


if __name__ == "__main__":
    run(main)
