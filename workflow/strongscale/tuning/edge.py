"""Look for a study's edge, the largest learning rate at which the sequential run still trains: search.py says how.

Every short run is a trial in a folder of its own: killed, the search goes on.
"""

import argparse
import json
import logging
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.common.schema import build
from strongscale.settings.cells import EDGE_TRIALS, Cell, CellSettings, rate_name
from strongscale.settings.config import Study
from strongscale.training.prepare import resolve
from strongscale.tuning.search import Search, table
from strongscale.tuning.seeds import Outcome
from strongscale.tuning.trials import on_own_gpu, run_trial

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trials:
    """Short sequential runs of one study, each in its own folder."""

    study: Study
    dataset: Path
    folder: Path
    """The study's."""

    def run_seed(self, rate: float, seed: int) -> Outcome:
        """Train one of them, or look it up."""
        result = run_trial(self.settings(rate, seed), self.place(rate, seed))
        losses = pd.read_csv(result["epochs_table"])["validation_loss"].fillna(math.inf)
        kept = ("seed", "status", "diverged_because", "constant_loss")
        return Outcome(**{name: result[name] for name in kept}, losses=losses.tolist())

    def place(self, rate: float, seed: int) -> Path:
        """Where it lies."""
        return self.folder / EDGE_TRIALS / str(rate) / f"seed{seed}"

    def settings(self, rate: float, seed: int) -> CellSettings:
        """What it is trained with; it takes nobody's path, and nobody takes its."""
        cell = Cell(self.folder.name, rate_name(rate), 1, seed)
        own = resolve(self.study, cell, folder=self.place(rate, seed), dataset=self.dataset)
        return replace(own, trajectories=None)


def main(arguments: list[str]) -> None:
    """Find the largest learning rate at which the sequential run still trains, by short runs of several seeds."""
    parser = argparse.ArgumentParser(prog="strongscale.tuning.edge", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the study's settings as JSON")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--output", type=Path, required=True, help="learning_rate.json, in the study's folder")
    options = parser.parse_args(arguments)
    study = build(Study, json.loads(options.settings), "study")
    if study.edge.between is None:
        raise UserError("study.edge.between: null is not allowed; allowed: two rates [LOW, HIGH]")
    trials = Trials(study, options.dataset.parent, options.output.parent)
    search = Search(study.edge, trials.run_seed)
    with on_own_gpu(trials.settings(study.edge.between[0], study.edge.seeds[0])):
        found = search.run()
    told = table(found, search)
    log.log(logging.INFO if found.upper else logging.WARNING, "%s", told["in_words"])
    sys.stdout.write(f"{told['in_words']}\n")  # the log goes into a file; whoever watches should know too
    write_json(options.output, told)


if __name__ == "__main__":
    run(main)
