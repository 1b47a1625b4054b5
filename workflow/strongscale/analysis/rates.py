"""Sequential runs at rates that were given: which of them train, each beside the smaller rates of its seed.

A rate trains if its run doesn't diverge, beats the best constant output, and ends no worse, within a tolerance, than any
smaller rate's. The largest counts only if all smaller rates that were tried train too, for every seed, but for those that are
so small that they don't get anywhere.
"""

import itertools
from typing import Any

TOLERANCE = 0.15
"""A run's best loss is at most this share above a smaller rate's, or it didn't train."""


def beats_constant(result: dict[str, Any]) -> bool:
    """Whether a run was ever better than the best output that ignores its input."""
    best = result["best_validation_loss"]
    return best is not None and bool(best < result["constant_loss"])


def why_not(result: dict[str, Any], results: list[dict[str, Any]]) -> str | None:
    """Why a run didn't train, beside the runs of the same seed at smaller rates, in words; None if it did."""
    if result["status"] == "diverged":
        return f"diverged ({result['diverged_because']}) after {result['epochs']} epochs"
    best = result["best_validation_loss"]
    if not beats_constant(result):
        return f"never beat the best constant output: {best:.4g} against {result['constant_loss']:.4g}"
    smaller = [
        other["best_validation_loss"]
        for other in results
        if other["seed"] == result["seed"]
        and other["learning_rate"] < result["learning_rate"]
        and other["status"] != "diverged"
    ]
    least = min(smaller, default=best)
    if best > (1 + TOLERANCE) * least:
        return f"ended at {best:.4g}, {100 * (best / least - 1):.0f} % above a smaller rate's {least:.4g}"
    return None


def failures(results: list[dict[str, Any]]) -> dict[float, str | None]:
    """Each rate in rising order, and why it doesn't train in the first seed of those in which it doesn't, or None."""
    found: dict[float, str | None] = {}
    for result in sorted(results, key=lambda one: (one["learning_rate"], one["seed"])):
        rate = float(result["learning_rate"])
        found[rate] = found.get(rate) or why_not(result, results)
    return found


def largest(results: list[dict[str, Any]]) -> float | None:
    """The largest rate up to which every run trained; None where no rate does."""
    outcomes = failures(results)
    rates = itertools.dropwhile(lambda rate: _is_slow(rate, results), outcomes)
    trained = list(itertools.takewhile(lambda rate: outcomes[rate] is None, rates))
    return trained[-1] if trained else None


def _is_slow(rate: float, results: list[dict[str, Any]]) -> bool:
    """Whether runs at this rate survive, but one of them isn't better than a constant."""
    own = [result for result in results if result["learning_rate"] == rate]
    return all(result["status"] != "diverged" for result in own) and not all(map(beats_constant, own))
