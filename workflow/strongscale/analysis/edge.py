"""The edge: the largest learning rate at which the sequential run trains, and the outcome of each.

The paper's premise is that eta is the largest rate that still converges. A rate trains if its run doesn't diverge, beats
the best constant output, and ends no worse, within a tolerance, than any smaller rate's: past the edge, runs get stuck
long before they collapse. A rate counts only if it trains for every seed, and if all smaller rates that were tried do
too, but for those that are so small that they don't get anywhere. Each try is as long as the sequential run, so that a
rate that fails late fails here, and the next smaller one is taken.
"""

import argparse
import itertools
import logging
import sys
from pathlib import Path
from typing import Any

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json

log = logging.getLogger(__name__)


def beats_constant(result: dict[str, Any]) -> bool:
    """Whether a run was ever better than the best output that ignores its input."""
    best = result["best_validation_loss"]
    return best is not None and bool(best < result["constant_loss"])


def why_not(result: dict[str, Any], results: list[dict[str, Any]], tolerance: float) -> str | None:
    """Why a run didn't train, beside the runs of the same seed at smaller rates, in words; None if it did."""
    if result["status"] == "diverged":
        return f"diverged ({result['diverged_because']}) after {result['epochs']} epochs"
    best = result["best_validation_loss"]
    if not beats_constant(result):
        return f"never beat the best constant output: {best:.4g} against {result['constant_loss']:.4g}"
    smaller = [
        other
        for other in results
        if other["seed"] == result["seed"]
        and other["learning_rate"] < result["learning_rate"]
        and other["status"] != "diverged"
    ]
    has_target = result["target_loss"] is not None
    if has_target and result["status"] != "converged" and any(other["status"] == "converged" for other in smaller):
        return "didn't reach the target, as a smaller rate did"
    least = min((other["best_validation_loss"] for other in smaller), default=best)
    if best > (1 + tolerance) * least:
        return f"ended at {best:.4g}, {100 * (best / least - 1):.0f} % above a smaller rate's {least:.4g}"
    return None


def failures(results: list[dict[str, Any]], tolerance: float) -> dict[float, str | None]:
    """Each rate in rising order, and why it doesn't train in the first seed of those in which it doesn't, or None."""
    found: dict[float, str | None] = {}
    for result in sorted(results, key=lambda one: (one["learning_rate"], one["seed"])):
        rate = float(result["learning_rate"])
        found[rate] = found.get(rate) or why_not(result, results, tolerance)
    return found


def choose(results: list[dict[str, Any]], tolerance: float) -> float:
    """The largest rate up to which every run trained."""
    outcomes = failures(results, tolerance)
    rates = itertools.dropwhile(lambda rate: _is_slow(rate, results), outcomes)
    trained = list(itertools.takewhile(lambda rate: outcomes[rate] is None, rates))
    if not trained:
        each = "; ".join(f"{rate:g} {reason or 'trains, but no smaller one does'}" for rate, reason in outcomes.items())
        raise UserError(
            f"edge.rates: no rate trains: {each}; allowed: a list that starts lower where rates diverged, and more "
            "epochs (edge.epochs, training.target) or more data where no run beats a constant"
        )
    return trained[-1]


def _is_slow(rate: float, results: list[dict[str, Any]]) -> bool:
    """Whether runs at this rate survive, but one of them isn't better than a constant."""
    own = [result for result in results if result["learning_rate"] == rate]
    return all(result["status"] != "diverged" for result in own) and not all(map(beats_constant, own))


def in_words(rate: float, outcomes: dict[float, str | None]) -> str:
    """Which rate is taken, and why no larger one."""
    larger = {other: reason for other, reason in outcomes.items() if other > rate}
    if not larger:
        return (
            f"Learning rate {rate:g}: all rates train, up to the largest of edge.rates. The edge wasn't found, it lies "
            "above: try larger ones."
        )
    reasons = "; ".join(
        f"{other:g} {reason or 'trains, but a smaller one does not'}" for other, reason in larger.items()
    )
    return f"Learning rate {rate:g}, the largest that trains: {reasons}."


def main(arguments: list[str]) -> None:
    """Choose the learning rate from the results of sequential runs at several rates."""
    parser = argparse.ArgumentParser(prog="strongscale.analysis.edge", description=main.__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="result.json of each run")
    parser.add_argument("--output", type=Path, required=True, help="learning_rate.json")
    parser.add_argument("--tolerance", type=float, required=True, help="edge.tolerance")
    options = parser.parse_args(arguments)
    results = [read_json(path) for path in options.results]
    rate = choose(results, options.tolerance)
    outcomes = failures(results, options.tolerance)
    words = in_words(rate, outcomes)
    is_largest = rate == max(outcomes)
    log.log(logging.WARNING if is_largest else logging.INFO, "%s", words)
    sys.stdout.write(f"{words}\n")  # the log goes into a file; whoever watches should know too
    kept = ("learning_rate", "seed", "status", "diverged_because", "epochs", "best_validation_loss", "constant_loss")
    write_json(
        options.output,
        {
            "learning_rate": rate,
            "is_the_largest_tried": is_largest,
            "in_words": words,
            "outcomes": [
                {key: result[key] for key in kept} | {"why_not": why_not(result, results, options.tolerance)}
                for result in results
            ],
        },
    )


if __name__ == "__main__":
    run(main)
