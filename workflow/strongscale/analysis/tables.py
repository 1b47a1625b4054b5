"""Write the tables of a study: every run, what reaching the target took, and the paper's Tables I and II."""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.analysis import edge, paper
from strongscale.analysis.load import load
from strongscale.analysis.runs import PARTS, Result, Run, StudyRuns
from strongscale.analysis.seed_tables import write_seed_tables
from strongscale.analysis.statistics import (
    NOT_REACHED,
    Summary,
    coverage,
    efficiency,
    of_results,
)
from strongscale.analysis.timing_tables import write_timing_tables
from strongscale.common.command import run as run_command
from strongscale.common.output import number, write_csv, write_readable
from strongscale.settings.cells import seeks_edge

OF_THE_MOMENT = ("startup_s", "suspended_s", "started_at", "attempts", "trajectory")
"""What an emulated study's numbers don't depend on: the same inputs give the same table; each result.json has them."""
COSTS: dict[str, tuple[str, Callable[[Result], float | None]]] = {
    "time_to_target": ("Seconds to the target validation loss", lambda result: result.time_to_target_s),
    "epochs_to_target": ("Epochs to the target validation loss", lambda result: result.epochs_to_target),
    "samples_to_target": ("Samples seen before the target validation loss", lambda result: result.samples_to_target),
}


def main(arguments: list[str]) -> None:
    """Read a study's folder and write its folder `tables`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    options = parser.parse_args(arguments)
    write_tables(load(options.study), options.study / "tables")


def write_tables(runs: StudyRuns, folder: Path) -> None:
    """Write every table of this module into `folder`."""
    rows = [run.row() for run in runs.runs]
    left_out = {"clock", *(OF_THE_MOMENT if runs.timings else ())}
    write_csv(folder / "cells.csv", [{key: row[key] for key in row if key not in left_out} for row in rows], runs.clock)
    for name, (title, value) in COSTS.items():
        _write_cost(folder / name, runs, title, value)
    _write_efficiencies(folder / "table1", runs, tuple(paper.TABLE_1), "Efficiency of strong scaling (paper: Table I)")
    _write_efficiencies(
        folder / "table2", runs, tuple(paper.TABLE_2), "Efficiency of the weak scaling strategies (paper: Table II)"
    )
    _write_edge(folder / "edge.csv", runs)
    _write_parts(folder / "where_time_goes.csv", runs)
    write_timing_tables(runs, folder)
    write_seed_tables(runs, folder)


def caption(runs: StudyRuns, title: str) -> str:
    """What a table shows, of how many seeds, and on which clock, device and data."""
    least = min(len(seeds) for seeds in _seeds(runs))
    spread = "one seed"
    if least > 1:
        spread = (
            f"median of {runs.num_seeds} [smallest, largest]; the interval encloses the true median "
            f"with a probability of at least {100 * coverage(least):.3g} %"
        )
    return f"{title}. Study {runs.name}: {spread}. Clock, device and data: {runs.label}."


def _seeds(runs: StudyRuns) -> list[tuple[int, ...]]:
    """Of each entry of the matrix."""
    return [
        runs.study.seeds_of(line, workers) for line in runs.study.strategies for workers in runs.study.workers_of(line)
    ]


def text_of(summary: Summary, show: Callable[[float], str] = number) -> str:
    """A cell of a readable table: the median and its interval, or why there is none."""
    interval = interval_of(summary, show)
    if not summary.reached:
        return f"{summary.status} {interval}".strip()
    incomplete = f" ({summary.status})" if summary.num_converged < summary.num_runs else ""
    return f"{show(summary.median)} {interval}{incomplete}".strip() if interval else show(summary.median)


def interval_of(summary: Summary, show: Callable[[float], str] = number) -> str:
    """[smallest, largest]; an end at a run that never reached the target has no number."""
    ends = (summary.low, summary.high)
    if summary.num_runs < 2 or not any(math.isfinite(value) for value in (*ends, summary.median)):
        return ""
    return f"[{', '.join(show(end) or NOT_REACHED for end in ends)}]"


def _write_cost(path: Path, runs: StudyRuns, title: str, value: Callable[[Result], float | None]) -> None:
    rows: list[dict[str, Any]] = []
    readable: list[dict[str, str]] = []
    for workers in runs.all_workers:
        texts = {"workers": str(workers)}
        for strategy in runs.study.strategies:
            found = runs.of(strategy, workers)
            summary = of_results(found, value)
            if found:
                rows.append({"strategy": strategy, "workers": workers, **_numbers(summary)})
            texts[strategy] = text_of(summary) if found else "not run"
        readable.append(texts)
    write_csv(path.with_suffix(".csv"), rows, runs.clock)
    write_readable(path, pd.DataFrame(readable), caption(runs, title))


def _numbers(summary: Summary) -> dict[str, Any]:
    return {
        "median": summary.median,
        "interval_low": summary.low,
        "interval_high": summary.high,
        "interval_coverage": summary.coverage,
        "num_runs": summary.num_runs,
        "num_converged": summary.num_converged,
        "status": summary.status,
    }


def _write_efficiencies(path: Path, runs: StudyRuns, strategies: Sequence[str], title: str) -> None:
    """The paper's table, ours beside it; a strategy that the study hasn't is left out."""
    rows: list[dict[str, Any]] = []
    readable: list[dict[str, str]] = []
    present = [strategy for strategy in strategies if strategy in runs.entries(strategy)]
    for workers in sorted({count for strategy in present for count in runs.workers(strategy)}):
        texts = {"workers": str(workers)}
        for strategy in present:
            found = bool(runs.of(strategy, workers))
            summary = efficiency(runs, strategy, workers)
            published = paper.EFFICIENCY[strategy].get(workers)
            if found:
                numbers = {"paper_percent": published, **_numbers(summary)}
                rows.append({"strategy": strategy, "workers": workers, **numbers})
            texts[f"{strategy}, %"] = text_of(summary, _two_digits) if found else "not run"
            texts[f"{strategy}, paper, %"] = _published(published)
        readable.append(texts)
    write_csv(path.with_suffix(".csv"), rows, runs.clock, ["strategy", "workers", "paper_percent", "median", "status"])
    full_title = f"{title}: T(1) / (n T(n)) in per cent, each seed against its own sequential run"
    if not present:
        full_title = f"This study has no {' or '.join(strategies)} scaling, so the table is empty. {title}"
    note = f" The paper's numbers: {paper.CLOCK}." if present else ""
    write_readable(path, pd.DataFrame(readable), caption(runs, full_title) + note)


def _two_digits(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else ""


def _published(value: float | None) -> str:
    if value is None:
        return "not run"
    return _two_digits(value) or "NaN"


def _write_edge(path: Path, runs: StudyRuns) -> None:
    """Sequential runs by learning rate: the tries of the search for the edge, those at given rates, and the study's own."""
    rows = _edge_tries(runs) if seeks_edge(runs.study) else []
    rows += [_edge_row(run) for run in [*runs.edge, *runs.sequential]]
    rows.sort(key=lambda row: (row["learning_rate"], row["seed"]))
    write_csv(path, rows, runs.clock)


def _edge_tries(runs: StudyRuns) -> list[dict[str, Any]]:
    """A row a short run of the search."""
    found = edge.read(runs.owner)
    return [
        {
            "learning_rate": one.rate,
            "is_base_rate": one.rate == found.bracket[0],
            "is_try": True,
            "epochs": found.epochs,
            "reference_loss": found.reference_loss,
            "null_loss": runs.null_loss,
        }
        | {name: run[name] for name in edge.OF_A_SEED}
        for one in found.tries
        for run in one.outcomes
    ]


def _edge_row(run: Run) -> dict[str, Any]:
    result = run.result
    return {
        "learning_rate": run.base_rate,
        "seed": run.seed,
        "is_base_rate": run.line == "matrix",
        "is_try": False,
        "status": result.status,
        "diverged_because": result.diverged_because,
        "epochs": result.epochs,
        "best_validation_loss": result.best_validation_loss,
        "final_validation_loss": result.final_validation_loss,
        "null_loss": result.null_loss,
    }


def time_per_epoch(runs: Sequence[Run]) -> dict[str, float]:
    """Seconds per epoch by part, all epochs of all runs together."""
    num_epochs = sum(run.result.epochs for run in runs)
    parts = {part: sum(run.result.parts.get(f"{part}_s", 0.0) for run in runs) for part in PARTS}
    parts["other"] = max(0.0, sum(run.result.time_s for run in runs) - sum(parts.values()))
    return {part: time_s / num_epochs if num_epochs else 0.0 for part, time_s in parts.items()}


def _write_parts(path: Path, runs: StudyRuns) -> None:
    rows: list[dict[str, Any]] = []
    for strategy in runs.study.strategies:
        for workers in runs.workers(strategy):
            parts = time_per_epoch(runs.of(strategy, workers))
            total_s = sum(parts.values())
            shares = {f"{part}_share": time_s / total_s if total_s else None for part, time_s in parts.items()}
            rows.append({"strategy": strategy, "workers": workers, "epoch_s": total_s, **shares})
    write_csv(path, rows, runs.clock)


if __name__ == "__main__":
    run_command(main)
