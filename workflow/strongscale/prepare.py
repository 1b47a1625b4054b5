"""Write the resolved settings of a study (study.json) and of a cell (cell.json).

What a cell needs to know from other runs is looked up here, so that training itself takes one folder: the learning
rate at the edge, the target that the sequential run set, the network measured on this machine.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from strongscale.cells import Cell, CellSettings, num_ranks, own_part
from strongscale.command import run
from strongscale.config import NETWORKS, SEQUENTIAL, Network, SequentialEpochs, Study, Training
from strongscale.errors import UserError
from strongscale.files import read_json, write_json
from strongscale.schema import build, plain


def resolve(
    study: Study,
    cell: Cell,
    *,
    folder: Path,
    dataset: Path,
    dataset_hash: str | None = None,
    learning_rate: Path | None = None,
    sequential: Path | None = None,
    network: Path | None = None,
) -> CellSettings:
    """All that the run of a cell needs, from its part of the study and from what other runs found.

    `dataset_hash` stands for the data set where that needn't be there.
    """
    study = own_part(study, cell.strategy)
    entry = study.strategies.get(cell.strategy)
    name, modelled = _network(study, network)
    return CellSettings(
        study=cell.study,
        strategy=cell.strategy,
        kind=entry.kind or cell.strategy if entry else SEQUENTIAL,
        parameters=entry.parameters if entry else {},
        workers=cell.workers,
        seed=cell.seed,
        ranks=num_ranks(study, cell),
        clock=study.clock,
        network=modelled,
        network_name=name,
        dataset=os.path.relpath(dataset, folder),
        dataset_hash=dataset_hash or read_json(dataset / "dataset.json")["hash"],
        model=study.model,
        training=_resolve_training(study.training, cell, learning_rate, sequential),
        checkpoints=study.checkpoints,
    )


def _resolve_training(training: Training, cell: Cell, learning_rate: Path | None, sequential: Path | None) -> Training:
    """The training settings with this run's own learning rate, target and epochs."""
    if training.learning_rate == "edge":
        assert learning_rate is not None, "the edge must be known before any other cell"
        training = replace(training, learning_rate=read_json(learning_rate)["learning_rate"])
    if cell.strategy == SEQUENTIAL or not isinstance(training.target, SequentialEpochs):
        return training
    assert sequential is not None, "the sequential run must be known before the others"
    return replace(training, target=_target_set_by(sequential))


def _target_set_by(sequential: Path) -> float:
    result = read_json(sequential)
    if result["status"] != "converged":
        raise UserError(
            f"{sequential}: the sequential run {result['status']}, so it sets no target; lower its learning rate"
        )
    target: float = result["target_loss"]
    return target


def _network(study: Study, measured: Path | None) -> tuple[str | None, Network | None]:
    """The modelled network and its name; none on the wall clock."""
    if study.clock == "wall":
        return None, None
    if isinstance(study.network, Network):
        return "custom", study.network
    if study.network == "measured":
        assert measured is not None, "the network must be measured before any cell"
        return "measured", read_measured(measured)
    return study.network, NETWORKS[study.network]


def read_measured(path: Path) -> Network:
    """The network measured on this machine: one host for all workers."""
    network = build(Network, read_json(path), str(path))
    if network.workers_per_host is not None:
        raise UserError(
            f"{path}: workers_per_host: {network.workers_per_host} is not allowed; allowed: null, for what was measured "
            "joins the workers of one host; remove the file and run again"
        )
    return network


def _cell_from(path: Path) -> Cell:
    """The cell whose folder this is: <study>/cells/<strategy>/<NN>workers/seed<S>."""
    study, _, strategy, workers, seed = path.parts[-5:]
    return Cell(study, strategy, int(workers.removesuffix("workers")), int(seed.removeprefix("seed")))


def main(arguments: list[str]) -> None:
    """Write study.json or a cell's cell.json, from the study's settings as JSON."""
    parser = argparse.ArgumentParser(prog="strongscale.prepare", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the study's settings as JSON")
    parser.add_argument("--output", type=Path, required=True, help="study.json, or cell.json in the cell's folder")
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json")
    parser.add_argument("--learning-rate", type=Path, help="learning_rate.json")
    parser.add_argument("--sequential", type=Path, help="result.json of the sequential run of this seed")
    parser.add_argument("--network", type=Path, help="network.json")
    options = parser.parse_args(arguments)
    raw: dict[str, Any] = json.loads(options.settings)
    study = build(Study, raw, "study")
    if options.output.name == "study.json":
        provenance = read_json(options.dataset)["provenance"]
        write_json(
            options.output, {"name": options.output.parent.name, "dataset_provenance": provenance} | plain(study)
        )
        return
    folder = options.output.parent
    settings = resolve(
        study,
        _cell_from(folder),
        folder=folder,
        dataset=options.dataset.parent,
        learning_rate=options.learning_rate,
        sequential=options.sequential,
        network=options.network,
    )
    write_json(options.output, plain(settings))


if __name__ == "__main__":
    run(main)
