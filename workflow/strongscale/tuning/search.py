"""The edge: the largest learning rate at which the sequential run still trains, looked for by bisection.

The paper's premise is that eta is the largest rate that still converges. Some seeds outside the comparison make short runs.
The reference is, but for a tolerance, the least loss that all of them reach at one rate; a rate trains if a share of the seeds
reaches it within the same epochs and doesn't collapse. Rates for the reference are a ladder of steps of two that doesn't depend
on where the search begins; the bracket is then halved on the logarithmic scale. So other starts move the edge by no more than
its resolution.
"""

import itertools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from strongscale.common.errors import UserError
from strongscale.inference.shares import CONFIDENCE
from strongscale.settings.config import CONSTANT_SHARE, Edge
from strongscale.tuning import bisection
from strongscale.tuning.bisection import Bracket
from strongscale.tuning.seeds import Outcome, Try, is_certain, num_needed

log = logging.getLogger(__name__)

RUNG = 0.001
"""The ladder's rates are this one's doubles and halves."""
MOST_RUNGS = 8
"""That are climbed or descended."""
PATIENCE = 2
"""Rungs in a row that are no better, before the ladder is left: one may be so by chance."""

RunSeed = Callable[[float, int], Outcome]


@dataclass
class Search:
    """The search: which rates were tried, and what became of each. `run_seed` makes a short run at a rate, with a seed."""

    edge: Edge
    run_seed: RunSeed
    tries: dict[float, Try] = field(default_factory=dict)
    rungs: dict[float, float] = field(default_factory=dict)
    """The ladder's rates, each with the loss that all seeds reach there; of a rate that isn't the best, perhaps less."""

    @property
    def best(self) -> float:
        """The rung at which the loss that all seeds reach is least."""
        return min(self.rungs, key=lambda rate: self.rungs[rate])

    @property
    def loss(self) -> float:
        """The reference."""
        return (1 + self.edge.tolerance) * self.rungs[self.best]

    def run(self) -> Bracket:
        """Find the bracket of the edge."""
        self._climb()
        above = [rate for rate in sorted(self.rungs) if rate >= self.best]
        passing = list(itertools.takewhile(self.passes, above))
        lower, rest = passing[-1], above[len(passing) :]
        assert self.edge.between is not None
        upper = rest[0] if rest else max(self.edge.between[1], 2 * lower)
        return bisection.search(lower, upper, self.passes, resolution=self.edge.resolution)

    def _climb(self) -> None:
        """From rung to rung, up and down, until the loss that all seeds reach gets no less: the reference is known."""
        assert self.edge.between is not None
        first = math.floor(math.log2(self.edge.between[0] / RUNG) + 1e-9)
        self._step_on(first)
        for direction in (1, -1):
            worse = 0
            for rung in range(first + direction, first + direction * (1 + MOST_RUNGS), direction):
                worse = 0 if self._step_on(rung) else worse + 1
                if worse >= PATIENCE and math.isfinite(self.rungs[self.best]):
                    break
        if not math.isfinite(self.rungs[self.best]):
            tried = ", ".join(f"{rate:g}" for rate in sorted(self.rungs))
            raise UserError(
                f"edge: at none of the rates {tried} do all seeds come below {CONSTANT_SHARE:g} of the best constant output's "
                f"loss in {self.edge.epochs} epochs and stay there; allowed: more epochs (edge.epochs), or another start "
                "(edge.between)"
            )

    def _step_on(self, rung: int) -> bool:
        """Run the seeds at this rung until one reaches no less than all do at the best so far; whether it is the best now."""
        rate, least = bisection.tidy(RUNG * 2.0**rung), min(self.rungs.values(), default=math.inf)
        worst = 0.0
        for seed in self.edge.seeds:
            outcome = self.run_seed(rate, seed)
            worst = max(worst, outcome.best if outcome.survives else math.inf)
            if worst >= least:
                break
        self.rungs[rate] = worst
        log.info("rate %g: the loss that all seeds reach is %s%.6g", rate, "at least " if worst >= least else "", worst)
        return worst < least

    def passes(self, rate: float) -> bool:
        """Whether enough seeds reach the reference; none is run once that is certain."""
        if rate not in self.tries:
            self.tries[rate] = self._try(rate)
        return self.tries[rate].passes

    def _try(self, rate: float) -> Try:
        outcomes: list[Outcome] = []
        reached = 0
        for seed in self.edge.seeds:
            outcomes.append(self.run_seed(rate, seed))
            reached += outcomes[-1].reaches(self.loss)
            if is_certain(reached, len(outcomes), len(self.edge.seeds), self.edge.share):
                break
        passes = reached >= num_needed(self.edge.share, len(self.edge.seeds))
        found = Try(rate=rate, outcomes=tuple(outcomes), loss=self.loss, passes=passes)
        log.info("rate %g %s: %s", rate, "trains" if passes else "doesn't train", found.in_words)
        return found


def in_words(found: Bracket, search: Search) -> str:
    """Where the edge lies, by which runs."""
    edge, tries = search.edge, search.tries
    lower = f"{found.lower:g} ({tries[found.lower].in_words})"
    race = (
        f"The reference is a validation loss of {search.loss:.6g} within {edge.epochs} epochs, {100 * edge.tolerance:g} % above "
        f"what all seeds reach at {search.best:g}."
    )
    if found.upper is None:
        return (
            f"Learning rate {lower}: every rate trains, up to the largest that was tried. The edge wasn't found, it lies "
            f"above: try larger ones (edge.between). {race}"
        )
    upper = f"{found.upper:g} ({tries[found.upper].in_words})"
    return f"Learning rate {found.lower:g}: the edge lies between {lower} and {upper}. {race}"


def table(found: Bracket, search: Search) -> dict[str, Any]:
    """What learning_rate.json says."""
    tries = sorted(search.tries.values(), key=lambda one: one.rate)
    return {
        "learning_rate": found.lower,
        "bracket": [found.lower, found.upper],
        "in_words": in_words(found, search),
        "reference_loss": search.loss,
        "reference_rate": search.best,
        "constant_loss": tries[0].outcomes[0].constant_loss,
        "epochs": search.edge.epochs,
        "needed_share": search.edge.share,
        "interval_coverage": CONFIDENCE,
        "ladder": {
            f"{rate:g}": least if math.isfinite(least) else None for rate, least in sorted(search.rungs.items())
        },
        "tries": [one.table() for one in tries],
    }
