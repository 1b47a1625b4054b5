"""All that makes a run what it is, whoever carries it on: nothing of it knows of ranks or of layouts in memory."""

import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from strongscale.distributed import replicas
from strongscale.recovery.checkpoint import Checkpoint
from strongscale.strategies.base import Statistics
from strongscale.training.epoch_log import Epoch

if TYPE_CHECKING:
    from strongscale.training.loop import Trainer

log = logging.getLogger(__name__)


def compare(trainer: "Trainer", what: str) -> None:
    """Stop if what a rank remembers isn't what the others do."""
    tensors = [*_shared(trainer).values(), *_buffers(trainer).values()]
    replicas.compare(trainer.world, replicas.digest(tensors), what)


def save(trainer: "Trainer") -> Checkpoint:
    """Everything; a collective call."""
    compare(trainer, f"the weights or the optimizer's state after step {trainer.progress.step}")
    losses = trainer.losses.clone()
    trainer.world.all_reduce(losses)
    tensors = {"losses": losses}
    for name, tensor in (_shared(trainer) | _of_workers(trainer)).items():
        tensors |= _named(trainer, name, tensor)
    tensors |= {f"buffers/{name}": buffer.clone() for name, buffer in _buffers(trainer).items()}
    return Checkpoint(
        {name: tensor.detach().cpu() for name, tensor in tensors.items()},
        {
            "progress": asdict(trainer.progress),
            "epochs": trainer.epoch_log.state(),
            "steps": trainer.steps.state(),
            "clock": trainer.clock.state(),
            "device": trainer.device.type,
        },
    )


def restore(trainer: "Trainer", checkpoint: Checkpoint) -> None:
    """Go on from a checkpoint, written by any number of ranks, on any kind of device."""
    values, is_first = checkpoint.values, trainer.world.rank == 0
    told = values["progress"]["statistics"]
    statistics = told and Statistics(tuple(told["part_sizes"]), tuple(told["part_squares"]), told["square"])
    trainer.progress = replace(trainer.progress, **values["progress"] | {"statistics": statistics})
    for name, tensor in _shared(trainer).items():
        _take(trainer, checkpoint, name, tensor)
    for worker, own in trainer.update.own().items():
        for name, tensor in own.items():
            _take(trainer, checkpoint, f"worker{worker}/{name}", tensor)
    for name, buffer in _buffers(trainer).items():
        buffer.copy_(checkpoint.tensors[f"buffers/{name}"])
    if values["device"] != trainer.device.type and is_first:
        log.warning(
            "written on %s, continued on %s: numbers round otherwise from here on",
            values["device"],
            trainer.device.type,
        )
    if is_first:  # the losses are summed over ranks: one rank brings those computed before
        trainer.losses.copy_(checkpoint.tensors["losses"])
    trainer.clock.restore(values["clock"])
    trainer.steps.restore(values["steps"])
    trainer.epoch_log.restore([Epoch.of(state) for state in values["epochs"]])


def _shared(trainer: "Trainer") -> dict[str, Tensor]:
    """What all ranks hold alike."""
    shared = {f"shared/{name}": tensor for name, tensor in trainer.update.shared().items()}
    return {"weights": trainer.flat.values.data, **shared}


def _of_workers(trainer: "Trainer") -> dict[str, Tensor]:
    """What each worker of all ranks holds by itself, on every rank; a collective call."""
    own = trainer.update.own()
    example = next(iter(own.values()), {})
    found = {}
    for worker in range(trainer.cell.workers) if example else ():
        for name, like in example.items():
            tensor = own[worker][name].clone() if worker in own else torch.zeros_like(like)
            trainer.world.all_reduce(tensor)
            found[f"worker{worker}/{name}"] = tensor
    return found


def _buffers(trainer: "Trainer") -> dict[str, Tensor]:
    """What belongs to the model and isn't trained: it stays as it was made, perhaps by chance."""
    return {name: value for name, value in trainer.model.state_dict().items() if name not in trainer.flat.names}


def _is_flat(trainer: "Trainer", tensor: Tensor) -> bool:
    return tensor.shape == trainer.flat.values.shape


def _named(trainer: "Trainer", name: str, tensor: Tensor) -> dict[str, Tensor]:
    """A flat tensor by the names of the parameters, in their shapes; any other as it is."""
    if not _is_flat(trainer, tensor):
        return {name: tensor}
    return {f"{name}/{parameter}": part for parameter, part in trainer.flat.by_name(tensor).items()}


def _take(trainer: "Trainer", checkpoint: Checkpoint, name: str, tensor: Tensor) -> None:
    if _is_flat(trainer, tensor):
        trainer.flat.take({one: checkpoint.tensors[f"{name}/{one}"] for one in trainer.flat.names}, tensor)
    else:
        tensor.copy_(checkpoint.tensors[name])
