"""The table of what was found for each batch size and line: rate, warm-up, loss, and what finding them cost."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.common.command import run
from strongscale.common.files import read_json
from strongscale.common.output import number, write_csv, write_readable
from strongscale.common.schema import build
from strongscale.settings.config import Study
from strongscale.settings.tuned import searches

COLUMNS = (
    "of",
    "batch",
    "learning_rate",
    "warmup_steps",
    "warmup",
    "best_validation_loss",
    "epochs",
    "steps",
    "num_tried",
    "num_extensions",
    "is_at_border",
    "cost_full_runs",
    "cost_epochs",
)
BUDGETS = {"epochs": "as many samples", "steps": "as many updates"}


def found_in(folder: Path) -> tuple[Study, list[dict[str, Any]]]:
    """A study's settings, and what tuned.json says of each search; one of another's trajectories has the other's."""
    raw = read_json(folder / "study.json")
    told = {"name", "dataset_provenance"}  # which a study's settings don't have
    study = build(Study, {key: value for key, value in raw.items() if key not in told}, str(folder / "study.json"))
    owner = folder.parent / (study.trajectories or folder.name)
    return study, [read_json(owner / search.file) for search in searches(study)]


def readable(found: list[dict[str, Any]]) -> pd.DataFrame:
    """For people."""
    return pd.DataFrame(
        {
            "tuned": one["of"],
            "learning rate": number(one["learning_rate"]),
            "warm-up": f"{one['warmup_steps']} steps ({100 * one['warmup']:.0f} %)",
            "best validation loss": number(one["best_validation_loss"]),
            "a full run": f"{one['epochs']} epochs, {one['steps']} steps",
            "tried": one["num_tried"],
            "beyond the border": one["num_extensions"],
            "inside what was tried": "no" if one["is_at_border"] else "yes",
            "cost, in full runs": number(one["cost_full_runs"]),
        }
        for one in found
    )


def _around(found: list[dict[str, Any]], usual: float | None) -> str:
    """About which rate was searched, and where about another; files of earlier versions tell no rate of their own."""
    others = {one["of"]: one["around"] for one in found if one.get("around", usual) != usual}
    told = "; ".join(f"{around:g} for {name}" for name, around in others.items())
    return f"{usual:g}" + (f" (about {told})" if told else "")


def caption(name: str, study: Study, found: list[dict[str, Any]]) -> str:
    """What is shown, and what it cost."""
    search = study.tuning
    cost = sum(one["cost_epochs"] for one in found)
    return (
        f"The learning rate and the warm-up of each batch size in study {name}, and of each line that differs by more, each found in "
        f"the same way: {search.trials} pairs "
        f"from one sequence, on rates from eta/4 to 4·n·eta about {_around(found, search.around)} for n times the sequential minibatch, by "
        "successive halving, and beyond the border where the best lies there; the range of a larger one is wider, so that its "
        "points lie further apart. A full run has "
        f"{BUDGETS[search.budget]} at each batch size. Seeds of the search: {', '.join(map(str, search.seeds))}; the study's own "
        f"are others. All of it cost {cost} epochs of training, besides the study's runs."
    )


def main(arguments: list[str]) -> None:
    """Read a study's folder and write tables/tuning.csv and the like."""
    parser = argparse.ArgumentParser(prog="strongscale.tuning.table", description=main.__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    folder = parser.parse_args(arguments).study
    study, found = found_in(folder)
    write_csv(folder / "tables" / "tuning.csv", [{name: one[name] for name in COLUMNS} for one in found], study.clock)
    write_readable(folder / "tables" / "tuning", readable(found), caption(folder.name, study, found))


if __name__ == "__main__":
    run(main)
