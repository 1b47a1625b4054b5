"""Readings of the paper judged by what it states, from sequential runs at several rates: which one behaves as it says?

A reading is a model with its settings; a study of sequential runs tries it on one data set at several learning rates and
seeds. The paper states how low the loss comes in about 100 epochs, which rate is the largest that trains, and how runs
fail. None of it says which strategy wins.
"""

import argparse
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from strongscale import edge
from strongscale.analysis.output import write_csv
from strongscale.analysis.paper import ETA
from strongscale.command import run
from strongscale.errors import UserError
from strongscale.files import read_json, write_text

log = logging.getLogger(__name__)

WORKERS = 32  # at which the linear rule's rate is the largest
NEAR_CEILING = 0.02  # of the loss of predicting zero
LEARNT = "trains"


@dataclass(frozen=True)
class Tried:
    """One reading on one data set: its runs."""

    name: str
    dataset: str
    model: dict[str, Any]
    runs: list[dict[str, Any]]
    tolerance: float

    @property
    def rates(self) -> list[float]:
        """The rates it was tried at, rising."""
        return sorted({run["learning_rate"] for run in self.runs})

    @property
    def reading(self) -> str:
        """What is read into the paper, in words."""
        start = {"mean": "start at the mean brightness", "zero": "zero biases"}[self.model["start"]]
        return f"mass {self.model['mass']}, sigma at least {self.model['smallest_sigma']:g} voxel, {start}"

    def at(self, rate: float) -> list[dict[str, Any]]:
        """The runs at one rate, a seed each."""
        return [run for run in self.runs if run["learning_rate"] == rate]

    def end(self, run: dict[str, Any]) -> str:
        """How a run ended: it trains, or else where it ended."""
        why_not = edge.why_not(run, self.runs, self.tolerance)
        if why_not is None:
            return LEARNT
        final = run["final_validation_loss"]
        if final is None:
            return "not finite"
        if abs(final / run["null_loss"] - 1) <= NEAR_CEILING:
            return "predicts zero"
        if run["status"] == "diverged":
            return "another constant"
        return "worse"

    def largest_rate(self) -> float | None:
        """The largest rate up to which every seed trains."""
        try:
            return edge.choose(self.runs, self.tolerance)
        except UserError:
            return None


def read(study: Path) -> Tried:
    """A study's sequential runs, those at other rates among them."""
    settings = read_json(study / "study.json")
    paths = sorted(study.glob("cells/*/01workers/seed*/result.json"))
    if not paths:
        raise UserError(f"{study}: no results; make them with `snakemake readings`")
    runs = [read_json(path) for path in paths]
    return Tried(study.name, settings["dataset"], settings["model"], runs, settings["edge"]["tolerance"])


def loss_shares(runs: Sequence[dict[str, Any]]) -> list[float]:
    """Each run's best validation loss as a share of what predicting zero costs, rising."""
    bests = (run["best_validation_loss"] for run in runs)
    return sorted(math.inf if best is None else best / run["null_loss"] for best, run in zip(bests, runs, strict=True))


def rows_of(tried: Tried) -> list[dict[str, Any]]:
    """A row a rate: where the runs of all seeds came to, and how they ended."""
    rows = []
    for rate in tried.rates:
        runs = tried.at(rate)
        shares, ends = loss_shares(runs), [tried.end(run) for run in runs]
        rows.append(
            {
                "data": tried.dataset,
                "reading": tried.reading,
                "learning rate": rate,
                "runs": len(runs),
                "trains": ends.count(LEARNT),
                "median share of zero's loss": median(shares),
                "from": shares[0],
                "to": shares[-1],
                "constant's share": median(run["constant_loss"] / run["null_loss"] for run in runs),
                "epochs": max(run["epochs"] for run in runs),
                "others end": ", ".join(sorted({end for end in ends if end != LEARNT})),
            }
        )
    return rows


def verdict_of(tried: Tried) -> dict[str, Any]:
    """A reading beside what the paper states, on one data set."""
    failures = [tried.end(run) for run in tried.runs if run["learning_rate"] > ETA]
    failures = [end for end in failures if end != LEARNT]
    at_eta = tried.at(ETA)
    large = [tried.end(run) for run in tried.at(WORKERS * ETA)]
    return {
        "data": tried.dataset,
        "reading": tried.reading,
        f"share of zero's loss at {ETA:g}": _share(at_eta),
        "epochs": max((run["epochs"] for run in at_eta), default=None),
        "seeds that train at that rate": f"{sum(tried.end(run) == LEARNT for run in at_eta)} of {len(at_eta)}",
        "largest rate that trains": _number(tried.largest_rate()),
        "failures above it that predict zero": f"{failures.count('predicts zero')} of {len(failures)}",
        f"not finite at {WORKERS * ETA:g}": f"{large.count('not finite')} of {len(large)}" if large else "not tried",
    }


def _share(runs: Sequence[dict[str, Any]]) -> str:
    shares = loss_shares(runs)
    return f"{100 * median(shares):.1f} % ({100 * shares[0]:.1f} to {100 * shares[-1]:.1f})" if shares else "not tried"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


STATED = {
    "data": "LUNA16",
    "reading": "the paper",
    f"share of zero's loss at {ETA:g}": "4 %",
    "epochs": "about 100",
    "seeds that train at that rate": "all",
    "largest rate that trains": f"{ETA:g}",
    "failures above it that predict zero": "all, if its ceiling is that",
    f"not finite at {WORKERS * ETA:g}": "1 of 1",
}


def page(all_tried: Sequence[Tried], command: str) -> str:
    """The tables, with what made them."""
    verdicts = pd.DataFrame([STATED, *(verdict_of(tried) for tried in all_tried)])
    parts = [
        "# Readings of the paper, tried",
        f"Made by `{command}`. Sequential runs, one model each, at several learning rates and seeds. Losses are best "
        "validation losses as shares of what predicting zero costs: median, and from the least to the largest of the "
        "seeds. A rate trains as in `strongscale.edge`: better than the best constant output, and not much worse than a "
        "smaller rate of the same seed. The last two columns count runs above the paper's rate.",
        verdicts.to_markdown(index=False, disable_numparse=True),
    ]
    for dataset in dict.fromkeys(tried.dataset for tried in all_tried):
        own = [tried for tried in all_tried if tried.dataset == dataset]
        rates = sorted({rate for tried in own for rate in tried.rates})
        constant = median(run["constant_loss"] / run["null_loss"] for tried in own for run in tried.runs)
        table = pd.DataFrame(
            [
                {"reading": tried.reading}
                | {f"{rate:g}": _cell(tried, rate) if tried.at(rate) else "" for rate in rates}
                for tried in own
            ]
        )
        parts += [
            f"## {dataset}",
            f"By learning rate: median share of zero's loss, and how many seeds train. The best constant output has "
            f"{100 * constant:.1f} %.",
            table.to_markdown(index=False, disable_numparse=True),
        ]
    return "\n\n".join(parts) + "\n"


def _cell(tried: Tried, rate: float) -> str:
    runs = tried.at(rate)
    ends = [tried.end(run) for run in runs]
    others = sorted({end for end in ends if end != LEARNT})
    words = f"{100 * median(loss_shares(runs)):.1f} %, {ends.count(LEARNT)} of {len(ends)}"
    return words + (f" ({', '.join(others)})" if others else "")


def main(arguments: list[str]) -> None:
    """Judge readings of the paper by the sequential runs of studies, one a reading and data set."""
    parser = argparse.ArgumentParser(prog="strongscale.analysis.readings", description=main.__doc__)
    parser.add_argument("studies", nargs="+", type=Path, help="folders of studies")
    parser.add_argument("--output", type=Path, required=True, help="folder for readings.md and readings.csv")
    parser.add_argument("--command", required=True, help="what to type for all of it, for the page")
    options = parser.parse_args(arguments)
    all_tried = sorted(map(read, options.studies), key=lambda tried: (tried.dataset, tried.name))
    write_csv(options.output / "readings.csv", [row for tried in all_tried for row in rows_of(tried)])
    write_text(options.output / "readings.md", page(all_tried, options.command))


if __name__ == "__main__":
    run(main)
