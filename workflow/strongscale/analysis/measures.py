"""Show what a task tells of its trained models, as the Dice of nodules: measures.csv, and a figure over the number of workers.

A measure is that of the model at the end of its run: when the loss reached the target, after the last epoch, or where the run
diverged. So a strategy that never arrives isn't spared, and one that arrives is judged at the same loss as all others.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strongscale.analysis.load import load
from strongscale.analysis.runs import Distribution, Run, StudyRuns
from strongscale.common.command import run as run_command
from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.output import number, write_csv, write_readable
from strongscale.common.style import looks, new_figure, save, theme, worker_axis

NAME = "measures"
SPREAD = ("lower_quartile", "median", "upper_quartile")


def names(runs: StudyRuns) -> list[str]:
    """The measures that the study's runs tell."""
    return list(dict.fromkeys(name for run in runs.matrix for name in run.result.measures))


def baselines(runs: StudyRuns) -> dict[str, float]:
    """What each measure is of the best output that ignores its input, where the task tells it."""
    path = runs.owner / "samples" / "dataset.json"
    found: dict[str, float] = read_json(path).get("constant_measures", {}) if path.exists() else {}
    return found


def rows(runs: StudyRuns) -> list[dict[str, Any]]:
    """A row a measure, line of the matrix and number of workers: its mean over seeds, the smallest and the largest."""
    return [
        {"measure": name, "strategy": strategy, "workers": workers} | _numbers(name, found)
        for name in names(runs)
        for strategy in runs.study.strategies
        for workers in runs.workers(strategy)
        if (found := runs.of(strategy, workers))
    ]


def _numbers(name: str, found: Sequence[Run]) -> dict[str, Any]:
    values = [value for run in found if (value := run.result.measures.get(name)) is not None]
    told: dict[str, Any] = {
        "num_runs": len(values),
        "mean": statistics.fmean(values) if values else math.nan,
        "smallest": min(values, default=math.nan),
        "largest": max(values, default=math.nan),
    }
    return told | _spread([run.result.distributions[name] for run in found if name in run.result.distributions])


def _spread(found: Sequence[Distribution]) -> dict[str, Any]:
    """How a measure of groups is spread over these, in the mean over seeds."""
    if not found:
        return {}
    each = {key: [value for one in found if (value := getattr(one, key)) is not None] for key in SPREAD}
    return {"groups": found[0].count} | {
        key: statistics.fmean(values) if values else math.nan for key, values in each.items()
    }


def readable(told: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A row a measure and number of workers, a column a line of the matrix."""
    table: dict[tuple[str, int], dict[str, Any]] = {}
    for row in told:
        key = row["measure"], row["workers"]
        table.setdefault(key, {"measure": key[0], "workers": key[1]})[row["strategy"]] = _text(row)
    ordered = sorted(table, key=lambda key: ([row["measure"] for row in told].index(key[0]), key[1]))
    return pd.DataFrame([table[key] for key in ordered]).fillna("not run")


def _text(row: dict[str, Any]) -> str:
    ends = f" [{number(row['smallest'])}, {number(row['largest'])}]" if row["num_runs"] > 1 else ""
    told = f"{number(row['mean'])}{ends}"
    if "groups" not in row:
        return told
    return (
        f"{told}; half of {row['groups']} lie from {number(row['lower_quartile'])} to {number(row['upper_quartile'])}"
    )


def figure(runs: StudyRuns, told: Sequence[dict[str, Any]]) -> Figure:
    """A panel a measure: over the number of workers, a line a strategy, its bars from the smallest to the largest seed.

    A dotted line shows what an output comes to that ignores its input.
    """
    shown, baseline = names(runs), baselines(runs)
    drawn = new_figure(0.8 + 3.2 * len(shown))
    panels = drawn.subplots(len(shown), 1, squeeze=False)[:, 0]
    for panel, name in zip(panels, shown, strict=True):
        _draw(panel, runs, [row for row in told if row["measure"] == name])
        if name in baseline:
            panel.axhline(baseline[name], color="0.4", linestyle=":", label="best constant output")
        panel.set_ylabel(name)
        panel.set_title(f"Final {name} against the number of workers")
        worker_axis(panel, runs.all_workers)
        panel.legend(title="strategy")
    return drawn


def _draw(axes: Axes, runs: StudyRuns, told: Sequence[dict[str, Any]]) -> None:
    for strategy, look in looks(list(runs.study.strategies)).items():
        own = [row for row in told if row["strategy"] == strategy and math.isfinite(row["mean"])]
        means = [row["mean"] for row in own]
        below, above = [row["mean"] - row["smallest"] for row in own], [row["largest"] - row["mean"] for row in own]
        bars = [[max(0.0, end) for end in ends] for ends in (below, above)]
        axes.errorbar(
            [row["workers"] for row in own], means, yerr=bars, label=strategy, capsize=3, elinewidth=1, **look.line()
        )


def write(runs: StudyRuns, folder: Path) -> None:
    """The table and the figure, in the folders `tables` and `figures`."""
    if not names(runs):
        raise UserError(f"{folder}: task {runs.study.task.kind} has no measures; allowed: a study whose task has")
    told = rows(runs)
    write_csv(folder / "tables" / f"{NAME}.csv", told, runs.clock)
    seeds = f"mean of {runs.num_seeds}" + ("" if runs.num_seeds == "one seed" else " [smallest, largest]")
    caption = (
        f"What is told of the trained models, over the validation samples. Study {runs.name}: {seeds}. Clock, device and data: "
        f"{runs.label}."
    )
    if found := baselines(runs):
        caption += (
            f" The best constant output: {', '.join(f'{name} {number(value)}' for name, value in found.items())}."
        )
    write_readable(folder / "tables" / NAME, readable(told), caption)
    with theme():
        save(figure(runs, told), folder / "figures", NAME, f"Study {runs.name}: {runs.label}")


def main(arguments: list[str]) -> None:
    """Read a study's folder and write what its task tells of the trained models, as a table and a figure."""
    parser = argparse.ArgumentParser(prog="strongscale.analysis.measures", description=main.__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    options = parser.parse_args(arguments)
    write(load(options.study), options.study)


if __name__ == "__main__":
    run_command(main)
