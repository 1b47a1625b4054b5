"""Write the resolved settings of a study (study.json) and of a cell (cell.json).

What a cell needs to know from other runs is looked up here, so that training itself takes one folder: the learning
rate at the edge or of the cell's batch size or line, the target that pilots set, the number of learners that pays.
"""

import argparse
import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from strongscale.common import parts
from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import build, plain
from strongscale.data.dataset import brightness_of, loss_without_input
from strongscale.settings import timed
from strongscale.settings.cells import Cell, CellSettings, num_ranks, own_part, shares_trajectories, whole_data
from strongscale.settings.config import SEQUENTIAL, SequentialEpochs, Study, Training
from strongscale.settings.plans import first_plan
from strongscale.timing import learners
from strongscale.timing.timings import check_work, read_timings

log = logging.getLogger(__name__)

SHARED = "../../../../../trajectories"  # from a cell's folder: results/trajectories


def resolve(
    study: Study,
    cell: Cell,
    *,
    folder: Path,
    dataset: Path,
    dataset_hash: str | None = None,
    brightness: float | None = None,
    learning_rate: Path | None = None,
    target: Path | None = None,
    timings: Path | None = None,
) -> CellSettings:
    """All that the run of a cell needs, from its part of the study and from what other runs and measurements found.

    `dataset_hash` and `brightness` stand for the data set where that needn't be there.
    """
    study = own_part(study, cell.strategy)
    entry = study.strategies.get(cell.strategy)
    takes_nodules = study.task.takes_nodules
    if dataset_hash is None:
        dataset_hash = read_json(dataset / "dataset.json")["hash"]
        if takes_nodules and study.model.start == "mean":
            brightness = brightness_of(dataset / "dataset.json", study.model.dimensions)
    return CellSettings(
        study=cell.study,
        strategy=cell.strategy,
        kind=entry.kind or cell.strategy if entry else SEQUENTIAL,
        parameters=_resolve_parameters(study, cell.strategy, timings),
        workers=cell.workers,
        seed=cell.seed,
        ranks=num_ranks(study, cell),
        clock=study.clock,
        dataset=os.path.relpath(dataset, folder),
        dataset_hash=dataset_hash,
        brightness=brightness,
        task=study.task,
        model=study.model if takes_nodules else None,
        training=_resolve_training(study.training, learning_rate, target),
        optimizer=entry.optimizer if entry else None,
        update=entry.update if entry else None,
        checkpoints=study.checkpoints,
        trajectories=SHARED if shares_trajectories(study) else None,
        files=parts.digests(study.parts(cell.strategy)),
    )


def _resolve_parameters(study: Study, line: str, timings: Path | None) -> dict[str, Any]:
    """The strategy's parameters, with the number of learners that the timings tell in place of auto."""
    given = study.strategies[line].parameters if line in study.strategies else {}
    if not timed.finds_learners(study, line):
        return given
    if timings is None:
        raise UserError(
            f"strategies.{line}.parameters.learners: 'auto' is not allowed without this device's timings; allowed: "
            "--timings FILE, as `snakemake` measures them before the cell, or a number"
        )
    known = read_timings(timings)
    check_work(timings, known, timed.work_of(study, line))
    samples = first_plan(study.strategy(line), study.training, 1).batch
    return {**given, "learners": learners.find(timings, known, samples)}


def _resolve_training(training: Training, learning_rate: Path | None, target: Path | None) -> Training:
    """The training settings with this run's own learning rate, the warm-up that was found with it, target and epochs."""
    if isinstance(training.learning_rate, str):
        assert learning_rate is not None, "the rate must be known before any other cell"
        found = read_json(learning_rate)
        warmup_steps = found.get("warmup_steps", training.warmup_steps)
        training = replace(training, learning_rate=found["learning_rate"], warmup_steps=warmup_steps)
    if not isinstance(training.target, SequentialEpochs):
        return training
    assert target is not None, "the pilots must be known before any other cell"
    return replace(training, target=read_json(target)["target_loss"])


def check_target(study: Study, dataset: Path) -> None:
    """A target that can be reached without looking at the input is none."""
    target = study.training.target
    if not isinstance(target, float):
        return
    constant = loss_without_input("constant_loss", dataset, study.model.dimensions)
    if target >= constant:
        raise UserError(
            f"training.target: {target:g} is not allowed; allowed: less than {constant:.6g}, which the best constant "
            f"output has, whatever its input ({dataset})"
        )


def large_minibatches(study: Study, num_training: int) -> list[str]:
    """The lines of the matrix whose minibatch takes all training samples, each in words."""
    found = []
    for name in study.strategies:
        strategy = study.strategy(name)
        sizes = {n: first_plan(strategy, study.training, n).batch for n in study.workers_of(name)}
        words = {n: whole_data(size, num_training) for n, size in sizes.items()}
        found += [f"{name}, {n} worker{'s' if n > 1 else ''}: {words[n]}" for n in sizes if words[n]]
    return found


def _cell_from(path: Path) -> Cell:
    """The cell whose folder this is: <study>/cells/<strategy>/<NN>workers/seed<S>."""
    study, _, strategy, workers, seed = path.parts[-5:]
    return Cell(study, strategy, int(workers.removesuffix("workers")), int(seed.removeprefix("seed")))


def write_study(study: Study, dataset: Path, output: Path) -> None:
    """Write study.json, and tell of what the data make of the settings."""
    check_target(study, dataset)
    summary = read_json(dataset)
    for words in large_minibatches(study, summary["num_training"]):
        log.warning("%s", words)
        sys.stdout.write(
            f"{output.parent.name}: {words}\n"
        )  # the log goes into a file; whoever watches should know too
    raw = {"name": output.parent.name, "dataset_provenance": summary["provenance"]} | plain(study)
    write_json(output, raw)


def main(arguments: list[str]) -> None:
    """Write study.json or a cell's cell.json, from the study's settings as JSON."""
    parser = argparse.ArgumentParser(prog="strongscale.training.prepare", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the study's settings as JSON")
    parser.add_argument("--output", type=Path, required=True, help="study.json, or cell.json in the cell's folder")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument(
        "--learning-rate", type=Path, help="learning_rate.json, or tuned.json of the cell's batch size or line"
    )
    parser.add_argument(
        "--timings", type=Path, help="timings.json, which tell how many learners pay, for learners: auto"
    )
    parser.add_argument("--target", type=Path, help="target.json, which the pilots set")
    options = parser.parse_args(arguments)
    raw: dict[str, Any] = json.loads(options.settings)
    study = build(Study, raw, "study")
    if options.output.name == "study.json":
        write_study(study, options.dataset, options.output)
        return
    folder = options.output.parent
    check_target(study, options.dataset)
    settings = resolve(
        study,
        _cell_from(folder),
        folder=folder,
        dataset=options.dataset.parent,
        learning_rate=options.learning_rate,
        target=options.target,
        timings=options.timings,
    )
    write_json(options.output, plain(settings))


if __name__ == "__main__":
    run(main)
