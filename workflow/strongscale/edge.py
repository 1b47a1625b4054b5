"""The edge: the largest learning rate at which the sequential run trains, and the outcome of each.

The paper's premise is that eta is the largest rate that still converges. A rate trains if its run doesn't diverge and
ends no worse, within a tolerance, than any smaller rate's: past the edge, runs get stuck long before they collapse.
A rate counts only if it trains for every seed, and if all smaller rates that were tried do too.
"""

import argparse
import itertools
import logging
from pathlib import Path
from typing import Any

from strongscale.command import run
from strongscale.errors import UserError
from strongscale.files import read_json, write_json

log = logging.getLogger(__name__)


def trains(result: dict[str, Any], results: list[dict[str, Any]], tolerance: float) -> bool:
    """Whether a run trained, beside the runs of the same seed at smaller rates."""
    if result["status"] == "diverged":
        return False
    smaller = [
        other["best_validation_loss"]
        for other in results
        if other["seed"] == result["seed"]
        and other["learning_rate"] < result["learning_rate"]
        and other["status"] != "diverged"
    ]
    best: float = result["best_validation_loss"]
    return best <= (1 + tolerance) * min(smaller, default=best)


def choose(results: list[dict[str, Any]], tolerance: float) -> float:
    """The largest rate up to which every run trained."""
    rates = sorted({float(result["learning_rate"]) for result in results})
    trained = list(
        itertools.takewhile(
            lambda rate: all(trains(one, results, tolerance) for one in results if one["learning_rate"] == rate), rates
        )
    )
    if not trained:
        raise UserError(f"edge.rates: the smallest, {rates[0]:g}, diverged too; allowed: a list that starts lower")
    return trained[-1]


def main(arguments: list[str]) -> None:
    """Choose the learning rate from the results of sequential runs at several rates."""
    parser = argparse.ArgumentParser(prog="strongscale.edge", description=main.__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="result.json of each run")
    parser.add_argument("--output", type=Path, required=True, help="learning_rate.json")
    parser.add_argument("--tolerance", type=float, required=True, help="edge.tolerance")
    options = parser.parse_args(arguments)
    results = [read_json(path) for path in options.results]
    largest = max(result["learning_rate"] for result in results)
    rate = choose(results, options.tolerance)
    if rate == largest:
        log.warning("edge.rates: all rates train, up to %g; the edge lies above: try larger ones", largest)
    write_json(
        options.output,
        {
            "learning_rate": rate,
            "is_the_largest_tried": rate == largest,
            "outcomes": [
                {key: result[key] for key in ("learning_rate", "seed", "status", "best_validation_loss")}
                | {"trains": trains(result, results, options.tolerance)}
                for result in results
            ],
        },
    )


if __name__ == "__main__":
    run(main)
