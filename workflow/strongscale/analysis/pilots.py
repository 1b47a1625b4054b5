"""One target for all cells, set by pilots: sequential runs at the study's rate, with seeds outside the comparison.

It is the loss that every pilot reached in the epochs it was given. A target that a constant output comes near would
measure a race to nothing: it has to lie below a share of that one's loss.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.settings.config import CONSTANT_SHARE


def best_loss(folder: Path, epochs: int) -> float:
    """The best validation loss of a run in its first epochs."""
    return float(pd.read_csv(folder / "epochs.csv")["validation_loss"].head(epochs).min())


def set_target(results: Sequence[Path], epochs: int) -> dict[str, Any]:
    """What target.json says, from the pilots' results."""
    own = {path: read_json(path) for path in results}
    rate = next(iter(own.values()))["learning_rate"]  # the same for all
    for path, result in own.items():
        if result["status"] == "diverged":
            raise UserError(
                f"{path}: this pilot diverged ({result['diverged_because']}) at learning rate {rate:g}, so it sets no "
                "target; allowed: a lower training.learning_rate"
            )
    pilots = [
        {"seed": result["seed"], "best_validation_loss": best_loss(path.parent, epochs)} for path, result in own.items()
    ]
    target = max(pilot["best_validation_loss"] for pilot in pilots)
    constant = max(result["constant_loss"] for result in own.values())  # the same for all
    if target > CONSTANT_SHARE * constant:
        raise UserError(
            f"training.target: in {epochs} epochs the pilots reach {target:.6g}, which is {target / constant:.2f} of the "
            f"best constant output's loss, {constant:.6g}; allowed: at most {CONSTANT_SHARE:g} of it: give them more epochs "
            "(sequential_epochs), or more data"
        )
    words = (
        f"Target {target:.6g}: all {len(pilots)} pilots reach it in {epochs} epochs; it is {target / constant:.2f} of the "
        "best constant output's loss."
    )
    return {
        "target_loss": target,
        "learning_rate": rate,
        "epochs": epochs,
        "constant_loss": constant,
        "pilots": pilots,
        "in_words": words,
    }


def main(arguments: list[str]) -> None:
    """Set a study's target from its pilots' results."""
    parser = argparse.ArgumentParser(prog="strongscale.analysis.pilots", description=main.__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="result.json of each pilot")
    parser.add_argument("--epochs", type=int, required=True, help="epochs that pilots are given")
    parser.add_argument("--output", type=Path, required=True, help="target.json")
    options = parser.parse_args(arguments)
    told = set_target(options.results, options.epochs)
    sys.stdout.write(f"{told['in_words']}\n")  # the log goes into a file; whoever watches should know too
    write_json(options.output, told)


if __name__ == "__main__":
    run(main)
