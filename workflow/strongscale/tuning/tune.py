"""Find the learning rate and the warm-up of one batch size, or of one line of the matrix: tuned.json.

Every one, the sequential batch size included, is searched in the same way (halving.py) at the same points (sequence.py) and
with the same budget (budget.py): the answer to whether one strategy's rate was chosen with more care than another's. A batch
size's trials are runs of one worker with the whole minibatch: the path of weak scaling, at any number of workers. A line's are
its own runs. Their seeds are not the study's, so that the study's own runs
are fresh ones. Killed and started again, it goes on from its trials.
"""

import argparse
import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import build
from strongscale.settings.cells import Cell, CellSettings
from strongscale.settings.config import SEQUENTIAL, Study
from strongscale.settings.tuned import Search
from strongscale.strategies.base import Plan, Strategy
from strongscale.training import prepare
from strongscale.tuning import budget, halving
from strongscale.tuning.halving import Outcome
from strongscale.tuning.sequence import Point, points
from strongscale.tuning.trials import on_own_gpu, run_part

log = logging.getLogger(__name__)


class Trials:
    """The runs of one search, each point and seed in a folder of its own."""

    def __init__(self, study: Study, search: Search, dataset: Path, folder: Path) -> None:
        self.study, self.of, self.dataset, self.folder = study, search, dataset, folder
        self.num_training: int = read_json(dataset)["num_training"]
        tuning, batch = study.tuning, study.training.batch_size
        sequential = budget.steps_each(Strategy(), Plan(batch, 1.0), 1, self.num_training)
        steps = budget.steps_in(tuning.epochs, sequential)
        self.epochs = budget.full_epochs(tuning.budget, tuning.epochs, steps, self._steps_each())
        self.steps = budget.steps_in(self.epochs, self._steps_each())

    def _steps_each(self) -> Iterator[int]:
        """The steps of one epoch after the other."""
        if self.of.is_own:
            base = Plan(self.study.training.batch_size, 1.0)
            return budget.steps_each(self.study.strategy(self.of.line), base, self.of.workers, self.num_training)
        return budget.steps_each(Strategy(), Plan(self.of.batch, 1.0), 1, self.num_training)

    def warmup_steps(self, point: Point) -> int:
        """Of a point's runs."""
        return round(point.warmup * self.steps)

    def settings(self, point: Point, seed: int) -> CellSettings:
        """Those of a full run."""
        training = replace(
            self.study.training,
            learning_rate=point.learning_rate,
            warmup_steps=self.warmup_steps(point),
            target=None,
            max_epochs=self.epochs,
        )
        if not self.of.is_own:
            training = replace(training, batch_size=self.of.batch, microbatch=self.study.training.batch_size)
        study = replace(self.study, training=training, clock="emulated", share_trajectories=False)
        cell = Cell(self.folder.parents[1].name, self.of.line, self.of.workers, seed)
        return prepare.resolve(study, cell, folder=self.place(point, seed), dataset=self.dataset.parent)

    def place(self, point: Point, seed: int) -> Path:
        """Where a trial lies."""
        return self.folder / point.name / f"seed{seed}"

    def train(self, point: Point, epochs: int) -> Outcome:
        """Train a point on to the end of this epoch, with every seed."""
        losses, trained = [], 0
        for seed in self.study.tuning.seeds:
            found, diverged = run_part(self.settings(point, seed), self.place(point, seed), epochs)
            by_then = diverged and len(found) <= epochs  # started again, a search comes across what happened later
            losses.append(halving.objective(found[:epochs], diverged=by_then))
            trained += len(found)
        outcome = Outcome(point, sum(losses) / len(losses), trained)
        log.info("%s, %d epochs: best loss %.6g", point.name, epochs, outcome.loss)
        return outcome


def tune(study: Study, search: Search, dataset: Path, folder: Path) -> dict[str, Any]:
    """What tuned.json says of a search whose trials lie in this folder."""
    tuning = study.tuning
    assert tuning.around is not None, "checked with the settings"
    trials = Trials(study, search, dataset, folder)
    tried = points(tuning.trials, tuning.around, search.batch / study.training.batch_size)
    with on_own_gpu(trials.settings(tried[0], tuning.seeds[0])):
        outcomes = halving.search(tried, halving.rungs(tuning.trials, trials.epochs), tuning.extensions, trials.train)
    return describe(trials, outcomes)


def describe(trials: Trials, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The point that is taken, what it cost to find it, and all others."""
    search, best = trials.study.tuning, halving.best_of(outcomes)
    if math.isinf(best.loss):
        rates = sorted(outcome.point.learning_rate for outcome in outcomes)
        raise UserError(
            f"tuning.around: {trials.of}: every run diverged, at rates from {rates[0]:g} to {rates[-1]:g}; "
            "allowed: a lower rate"
        )
    told = {
        "of": str(trials.of),
        "batch": trials.of.batch,
        "learning_rate": best.point.learning_rate,
        "warmup_steps": trials.warmup_steps(best.point),
        "warmup": best.point.warmup,
        "best_validation_loss": best.loss,
        "around": search.around,
        "budget": search.budget,
        "epochs": trials.epochs,
        "steps": trials.steps,
        "seeds": list(search.seeds),
        "num_tried": len(outcomes),
        "num_extensions": sum(outcome.is_extension for outcome in outcomes),
        "is_at_border": halving.beyond(outcomes) is not None,
        "cost_full_runs": sum(outcome.epochs for outcome in outcomes) / trials.epochs,
        "cost_epochs": sum(outcome.epochs for outcome in outcomes),
        "tried": [_row(outcome) for outcome in outcomes],
    }
    return told | {"in_words": in_words(told)}


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "learning_rate": outcome.point.learning_rate,
        "warmup": outcome.point.warmup,
        "best_validation_loss": outcome.loss if math.isfinite(outcome.loss) else None,
        "epochs": outcome.epochs,
        "is_finalist": outcome.is_finalist,
        "is_extension": outcome.is_extension,
    }


def in_words(told: dict[str, Any]) -> str:
    """What was found, in a sentence or two."""
    border = (
        " It is still the most extreme rate that was tried: a better one may lie beyond."
        if told["is_at_border"]
        else ""
    )
    return (
        f"{told['of'].capitalize()}: learning rate {told['learning_rate']:g} after a warm-up of {told['warmup_steps']} steps reaches "
        f"{told['best_validation_loss']:.4g} in {told['epochs']} epochs, the best of {told['num_tried']} that were tried, "
        f"{told['num_extensions']} of them beyond the border; it cost {told['cost_full_runs']:.1f} full runs.{border}"
    )


def main(arguments: list[str]) -> None:
    """Find the learning rate and the warm-up of one batch size or of one line, by runs outside the comparison."""
    parser = argparse.ArgumentParser(prog="strongscale.tuning.tune", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="what the search depends on of the study's settings, as JSON")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--batch", type=int, required=True, help="samples of a minibatch")
    parser.add_argument("--line", default=SEQUENTIAL, help="the line of the matrix that is tuned by itself")
    parser.add_argument("--workers", type=int, default=1, help="its number of workers")
    parser.add_argument("--output", type=Path, required=True, help="tuned.json; the trials lie beside it")
    options = parser.parse_args(arguments)
    study = build(Study, json.loads(options.settings), "study")
    search = Search(options.batch, options.line, options.workers)
    told = tune(study, search, options.dataset, options.output.parent)
    log.info("%s", told["in_words"])
    sys.stdout.write(f"{told['in_words']}\n")  # the log goes into a file; whoever watches should know too
    write_json(options.output, told)


if __name__ == "__main__":
    run(main)
