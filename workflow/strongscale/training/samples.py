"""The samples of a task that has its own, brought along or made of a data set: made once, kept with a digest of their content, read by every run."""

import argparse
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from strongscale.common import parts
from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import atomic, read_json, write_json
from strongscale.common.parts import PartError
from strongscale.common.schema import build
from strongscale.data import dataset
from strongscale.data.masked import load_masked
from strongscale.gradients.passes import Batch, rows_of
from strongscale.settings.cells import CellSettings
from strongscale.tasks.base import MaskTask, Task
from strongscale.training import collapse, suitability

log = logging.getLogger(__name__)

SPLITS = ("training", "validation")
NUM_TRIED = 3


@dataclass(frozen=True)
class Samples:
    """What a task is trained and judged on."""

    training: Batch
    validation: Batch
    null_loss: float | None
    """The validation loss of predicting zero everywhere; None where zero means nothing."""
    constant_loss: float
    """The validation loss of the best output that ignores its input."""


def create_model(task: Task, seed: int) -> nn.Module:
    """A task's own model, with initial weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]), parts.blamed():
        torch.manual_seed(seed)
        model = task.create_model()
    if not isinstance(model, nn.Module):
        raise PartError(f"task: {task.kind!r}: create_model gives a {type(model).__name__}; allowed: a torch.nn.Module")
    return model


def read_nodules(folder: Path, cell: CellSettings) -> dataset.Samples:
    """The cubes that a cell was made for."""
    assert cell.model is not None
    samples = dataset.load(folder / cell.dataset, cell.model.dimensions)
    _check_hash(samples.hash, folder, cell)
    return samples


def read(folder: Path, cell: CellSettings) -> Samples:
    """The samples that the cell in this folder was made for."""
    if cell.task.takes_nodules:
        assert cell.model is not None
        nodules, dimensions = read_nodules(folder, cell), cell.model.dimensions
        return Samples(
            _section(nodules.training, dimensions),
            _section(nodules.validation, dimensions),
            nodules.null_loss,
            nodules.constant_loss,
        )
    place = folder / cell.dataset
    summary = read_json(place / "dataset.json")
    try:
        tensors = safetensors.torch.load_file(place / "samples.safetensors")
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{place / 'samples.safetensors'}: {error}; remove it and run again") from None
    _check_hash(_digest(tensors), folder, cell)
    training, validation = (_of_split(tensors, split) for split in SPLITS)
    return Samples(training, validation, summary["null_loss"], summary["constant_loss"])


def _section(cubes: NDArray[np.float32], dimensions: int) -> Batch:
    return (torch.from_numpy(dataset.central_section(cubes, dimensions).copy()),)


def _check_hash(found: str, folder: Path, cell: CellSettings) -> None:
    if found != cell.dataset_hash:
        raise UserError(
            f"{folder / cell.dataset}: not the data set that {folder / 'cell.json'} was made for; run again"
        )


def _of_split(tensors: dict[str, Tensor], split: str) -> Batch:
    return tuple(tensors[name] for name in sorted(tensors) if name.startswith(split))


def _digest(tensors: dict[str, Tensor]) -> str:
    """The identity of samples: names, shapes, types and content."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def make(task: Task, folder: Path, nodules: Path | None = None) -> None:
    """Make a task's samples, and try the task on a few of them: what can't be trained is refused before any run.

    `nodules` is the folder of the data set that they are made of, where they are.
    """
    both, origin = _both(task, nodules)
    splits = dict(zip(SPLITS, _checked(task, both), strict=True))
    model = create_model(task, seed=0)
    with parts.blamed():
        suitability.check(model, task.losses, splits["training"], f"task: {task.kind!r}")
        _try_what_else(task, model, splits["validation"])
        constant_loss = float(task.constant_loss(splits["training"], splits["validation"]))
        constant_measures = task.constant_measures(splits["training"], splits["validation"])
    if not 0 < constant_loss < float("inf"):
        raise PartError(f"task: {task.kind!r}: constant_loss is {constant_loss}; allowed: a number above 0")
    tensors = {
        f"{split}/{place:03d}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for split, batch in splits.items()
        for place, tensor in enumerate(batch)
    }
    with atomic(folder / "samples.safetensors") as path:
        safetensors.torch.save_file(tensors, path)
    write_json(
        folder / "dataset.json",
        {
            "hash": _digest(tensors),
            **origin,
            **{f"num_{split}": len(batch[0]) for split, batch in splits.items()},
            "null_loss": None,
            "constant_loss": constant_loss,
            "constant_measures": constant_measures,
        },
    )
    log.info("%d samples for training, %d for validation", *(len(batch[0]) for batch in splits.values()))


def _both(task: Task, nodules: Path | None) -> tuple[Any, dict[str, Any]]:
    """What a task gives as its samples, and where they are from, as dataset.json tells it."""
    words = f"samples of the task {task.kind}"
    if not isinstance(task, MaskTask):
        if nodules is not None:
            raise UserError(
                f"--dataset: not allowed with task {task.kind!r}, which brings its own samples; leave it out"
            )
        with parts.blamed():
            return task.samples(), {"provenance": words}
    if nodules is None:
        raise UserError(
            f"--dataset: needed for task {task.kind!r}: the folder of the data set that its samples are made of"
        )
    found, source = load_masked(nodules), read_json(nodules / "dataset.json")
    is_training_N = (found.manifest["split"] == "training").to_numpy(dtype=bool)
    with parts.blamed():
        both = task.samples_of(found.cubes_NDHW, found.masks_NDHW, is_training_N)
    told = {name: source[name] for name in ("hash", "provenance")}
    return both, {"provenance": f"{words}, of {source['provenance']}", "made_of": told}


def _try_what_else(task: Task, model: nn.Module, samples: Batch) -> None:
    """What is asked of a task only at the end of its runs, asked now."""
    few = rows_of(samples, slice(0, NUM_TRIED))
    collapse.ignores_input(model, samples, NUM_TRIED, task.outputs)
    for name, values in task.measures(model, few).items():
        if not torch.is_tensor(values) or values.shape != (len(few[0]),):
            raise PartError(
                f"task: {task.kind!r}: its measure {name} is {_shapes(values)}; allowed: one number a sample"
            )
    for name, values in (task.of_groups(task.measures(model, few), few) or {}).items():
        if not torch.is_tensor(values) or values.dim() != 1 or not len(values):
            raise PartError(
                f"task: {task.kind!r}: its measure {name} is {_shapes(values)}; allowed: one number a group"
            )


def _checked(task: Task, both: Any) -> tuple[Batch, Batch]:
    """Two tuples of as many tensors, in each of them a row a sample."""
    is_pair = isinstance(both, tuple) and len(both) == len(SPLITS)
    if is_pair and all(isinstance(batch, tuple) and batch and all(map(torch.is_tensor, batch)) for batch in both):
        lengths = [{len(tensor) for tensor in batch if tensor.dim()} for batch in both]
        if len(both[0]) == len(both[1]) and all(len(rows) == 1 and min(rows) > 0 for rows in lengths):
            training, validation = both
            return training, validation
    raise PartError(
        f"task: {task.kind!r}: samples gives {_shapes(both)}; allowed: two tuples of as many tensors, for training and for "
        "validation, and in each tuple tensors with as many rows, one a sample"
    )


def _shapes(value: Any) -> str:
    if torch.is_tensor(value):
        return f"a tensor {tuple(value.shape)}"
    return f"({', '.join(map(_shapes, value))})" if isinstance(value, tuple) else f"a {type(value).__name__}"


def main(arguments: list[str]) -> None:
    """Make the samples of a task that has its own."""
    parser = argparse.ArgumentParser(prog="strongscale.training.samples", description=main.__doc__)
    parser.add_argument("--task", required=True, help="the task and its parameters, as JSON")
    parser.add_argument("--dataset", type=Path, help="folder of the data set, for a task whose samples are made of one")
    parser.add_argument("--output", required=True, type=Path, help="folder for samples.safetensors and dataset.json")
    options = parser.parse_args(arguments)
    task = build(Task, json.loads(options.task), "task")  # type: ignore[type-abstract]
    make(task, options.output, options.dataset)


if __name__ == "__main__":
    run(main)
