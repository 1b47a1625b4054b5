"""The proof of exactness: the same short run on many numbers of workers and ranks, on both clocks, ends with equal bits.

Strong scaling's on any number of workers; that of a strategy whose learners hold weights of their own on any ranks.

`case` writes the cell.json of one such run, `cost` measures what exactness costs, `table` puts the digests of the
weights side by side.
"""

import argparse
import csv
import json
import logging
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import atomic, read_json, write_json, write_text
from strongscale.common.schema import build, plain
from strongscale.settings.cells import Cell, CellSettings
from strongscale.settings.config import StrategyEntry, Study, Training
from strongscale.training import prepare

log = logging.getLogger(__name__)

STRONG = "strong"
REPEATS = 9
MICROBATCHES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Case:
    """One run of the proof, by its folder: .../<strategy>/<clock>/<NN>workers/<R>ranks."""

    strategy: str
    clock: Literal["wall", "emulated"]
    workers: int
    ranks: int

    @classmethod
    def of(cls, folder: Path) -> "Case":
        """The case whose folder this is."""
        strategy, clock, workers, ranks = folder.parts[-4:]
        return cls(
            strategy,
            "wall" if clock == "wall" else "emulated",
            int(workers.removesuffix("workers")),
            int(ranks.removesuffix("ranks")),
        )


def settings_of(case: Case, study: Study, name: str, folder: Path, dataset: Path) -> CellSettings:
    """A line of the study, on the case's clock, workers and ranks."""
    entry = study.strategies.get(case.strategy, StrategyEntry())
    alone = replace(study, strategies={case.strategy: entry}, clock=case.clock, max_ranks=None)
    cell = Cell(name, case.strategy, case.workers, study.first_seeds[0])
    return replace(prepare.resolve(alone, cell, folder=folder, dataset=dataset), ranks=case.ranks, trajectories=None)


def write_case(options: argparse.Namespace) -> None:
    """Write the cell.json of one case."""
    folder = options.output.parent
    study = build(Study, json.loads(options.settings), "study")
    name = folder.parts[-6]
    write_json(options.output, plain(settings_of(Case.of(folder), study, name, folder, options.dataset.parent)))


def measure_cost(options: argparse.Namespace) -> None:
    """Time a step of all workers, one after another, fast and exact by turns: ratios of medians.

    For each number of workers, with the micro-batches that leave each worker one.
    """
    study = build(Study, json.loads(options.settings), "study")
    batch = study.training.batch_size
    rows = []
    for workers in study.workers:
        sizes = [size for size in MICROBATCHES if workers <= batch // size]
        variants = {0: replace(study.training, reduction="fast")}
        exact = replace(study.training, reduction="exact", all_reduce="auto")
        variants |= {size: replace(exact, microbatch=size) for size in sizes}
        times_s = _step_times_s(study, workers, variants, options)
        for size in sizes:
            ratio = times_s[size] / times_s[0]
            rows.append({"workers": workers, "microbatch": size, "exact_over_fast": ratio})
            log.info("%d workers, micro-batches of %d: exact takes %.2f times as long as fast", workers, size, ratio)
    with atomic(options.output) as path:
        pd.DataFrame(rows).to_csv(path, index=False)


def _step_times_s(
    study: Study, workers: int, variants: dict[int, Training], options: argparse.Namespace
) -> dict[int, float]:
    """The median time of a step of each variant, measured by turns in this process."""
    from strongscale.distributed.world import World
    from strongscale.training import setup

    folder = options.output.parent / "cost"
    trainers = {}
    for name, training in variants.items():
        case = replace(study, training=training)
        cell = settings_of(Case(STRONG, "emulated", workers, 1), case, "cost", folder, options.dataset.parent)
        write_json(folder / "cell.json", plain(cell))
        trainers[name] = setup.prepare(folder, World())
    times_s: dict[int, list[float]] = {name: [] for name in trainers}
    for _ in range(1 + REPEATS):
        for name, trainer in trainers.items():
            start_s = time.perf_counter()
            trainer.step_once()
            times_s[name].append(time.perf_counter() - start_s)
    return {name: statistics.median(values[1:]) for name, values in times_s.items()}


def last_digest(folder: Path) -> str:
    """The digest of the weights after the last epoch."""
    with (folder / "epochs.csv").open(encoding="utf-8") as file:
        return [row["weights_hash"] for row in csv.DictReader(file)][-1]


def write_table(options: argparse.Namespace) -> None:
    """Write the digests of all cases, and whether they are equal."""
    rows = []
    for path in options.results:
        case, result = Case.of(path.parent), read_json(path)
        _check_ranks(path, case, result)
        rows.append(
            {"strategy": case.strategy, "workers": case.workers, "clock": case.clock, "ranks": case.ranks}
            | {"epochs": result["epochs"]}
            | {"device": result["device"], "weights_hash": last_digest(path.parent)}
        )
    table = pd.DataFrame(rows).sort_values(["strategy", "workers", "clock", "ranks"])
    cost = pd.read_csv(options.cost)
    equal = are_equal(table)
    with atomic(options.output.with_suffix(".csv")) as temporary:
        table.to_csv(temporary, index=False)
    write_text(options.output.with_suffix(".md"), _page(table, cost, equal))
    if not equal:
        raise UserError(
            f"{options.output.with_suffix('.md')}: the digests differ: this machine or its libraries aren't exact"
        )
    log.info("%d runs, all with the same bits", len(table))


def are_equal(table: pd.DataFrame) -> bool:
    """Strong scaling has one digest for all numbers of workers, any other line one for each."""
    paths = table["workers"].where(table["strategy"] != STRONG, 0)
    return bool((table.groupby(["strategy", paths])["weights_hash"].nunique() == 1).all())


def _check_ranks(path: Path, case: Case, result: dict[str, Any]) -> None:
    """Every attempt had the case's ranks, or it would prove something else."""
    ranks = {attempt["ranks"] for attempt in result["history"]}
    if ranks != {case.ranks}:
        found = " and ".join(str(number) for number in sorted(ranks))
        raise UserError(f"{path}: made on {found} ranks, not on {case.ranks}; remove the folder and run it again")


def _page(table: pd.DataFrame, cost: pd.DataFrame, equal: bool) -> str:
    """A row for each line and number of workers: the digest of every run, and the cost."""
    table = table.assign(
        run=[f"{clock}, {ranks} rank(s)" for clock, ranks in zip(table["clock"], table["ranks"], strict=True)]
    )
    wide = (
        table.pivot_table(index=["strategy", "workers"], columns="run", values="weights_hash", aggfunc="first")
        .fillna("")
        .reset_index()
    )
    ratios = cost.pivot_table(index="workers", columns="microbatch", values="exact_over_fast")
    ratios.columns = [f"micro-batches of {size}" for size in ratios.columns]
    verdict = (
        "All digests of a path are equal: strong scaling's on any number of workers, another strategy's on any ranks."
        if equal
        else "**The digests differ.**"
    )
    devices = ", ".join(sorted(table["device"].unique()))
    return (
        f"Digests of the weights after {table['epochs'].max()} epochs in exact mode, {len(table)} runs "
        f"({devices}). {verdict}\n\n{wide.to_markdown(index=False)}\n\nTime of a step in exact mode over one in fast mode, all workers "
        f"one after another, measured by turns in one process:\n\n{ratios.map('{:.2f}'.format, na_action='ignore').fillna('').to_markdown()}\n"
    )


def main(arguments: list[str]) -> None:
    """Prove exactness: write a case, measure the cost, or write the table."""
    parser = argparse.ArgumentParser(prog="strongscale.analysis.exactness", description=main.__doc__)
    commands = parser.add_subparsers(required=True)
    for name, function in {"case": write_case, "cost": measure_cost}.items():
        command = commands.add_parser(name)
        command.add_argument("--settings", required=True, help="the study's settings as JSON")
        command.add_argument("--dataset", type=Path, required=True, help="dataset.json")
        command.add_argument("--output", type=Path, required=True)
        command.set_defaults(function=function)
    command = commands.add_parser("table")
    command.add_argument("results", nargs="+", type=Path, help="result.json of each case")
    command.add_argument("--cost", type=Path, required=True)
    command.add_argument("--output", type=Path, required=True)
    command.set_defaults(function=write_table)
    options = parser.parse_args(arguments)
    options.function(options)


if __name__ == "__main__":
    run(main)
