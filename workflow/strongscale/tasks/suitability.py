"""What a model must be, for a run to have one result however its work is shared out: refused by name if it isn't.

The loss of a sample may depend on the weights and on that sample alone: not on the samples beside it, on what was
computed before, or on chance. Layers that are known to break this are found by their kind, all else by trying.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from strongscale.common.errors import UserError

LossesOf = Callable[[nn.Module, Tensor], Tensor]
"""A model and its samples -> their losses, one each."""

NUM_SAMPLES = 3
TOLERANCE = 1e-3  # of a loss: other numbers of samples may be computed by other kernels, which round otherwise

INSTEAD = "take GroupNorm or LayerNorm"
NO_CHANCE = "draws random numbers, so that the result would depend on the number of workers; leave dropout out (p=0)"


def check(model: nn.Module, losses_of: LossesOf, samples: Tensor, kind: str) -> None:
    """UserError if the model can't be trained here; nothing of the model or of the random state is changed."""
    for name, layer in model.named_modules():
        if why := _why_not(layer):
            raise UserError(f"model.kind: {kind!r}: its layer {name or 'itself'} ({type(layer).__name__}) {why}")
    devices = [samples.device] if samples.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad():
        if why := _why_not_by_trying(copy.deepcopy(model), losses_of, samples[:NUM_SAMPLES]):
            raise UserError(f"model.kind: {kind!r}: {why}")


def _why_not(layer: nn.Module) -> str | None:
    """What is wrong with a layer, by its kind."""
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        return f"takes its mean over the samples of a batch, which depend on the number of workers; {INSTEAD}"
    if isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats:
        return (
            f"keeps a running mean over the samples that one worker meets; set track_running_stats=False, or {INSTEAD}"
        )
    if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
        return NO_CHANCE
    if isinstance(layer, nn.RReLU) and layer.lower != layer.upper:
        return "draws random slopes, so that no run could be repeated; take LeakyReLU"
    dropout = getattr(layer, "dropout", 0.0) if isinstance(layer, nn.MultiheadAttention | nn.RNNBase) else 0.0
    return NO_CHANCE if dropout > 0 else None


def _why_not_by_trying(model: nn.Module, losses_of: LossesOf, samples: Tensor) -> str | None:
    """What is wrong with a model that may be spoilt, by what it does in training."""
    model.train()
    state, chance = {name: buffer.clone() for name, buffer in model.named_buffers()}, _chance(samples.device)
    first, second = losses_of(model, samples), losses_of(model, samples)
    if not torch.equal(_chance(samples.device), chance):
        return f"a forward pass {NO_CHANCE}"
    for name, buffer in model.named_buffers():
        if name not in state or not torch.equal(buffer, state[name]):
            return f"a forward pass changes its buffer {name}, by which samples would depend on earlier ones; {INSTEAD}"
    if first.shape != samples.shape[:1]:
        return f"it gives {len(samples)} samples losses of the shape {tuple(first.shape)}; allowed: one loss a sample"
    if not _near(first, second):
        return "the same samples have other losses the second time, so that no run could be repeated"
    alone = torch.cat([losses_of(model, sample) for sample in samples.split(1)])
    if not _near(first, alone):
        return f"a sample's loss depends on the samples beside it, and so on the number of workers; {INSTEAD}"
    if not _near(first, losses_of(model.eval(), samples)):
        return "its losses in eval() aren't those in training; a model must compute the same in both"
    return None


def _chance(device: torch.device) -> Tensor:
    """The state of the random numbers that a model may draw."""
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return torch.cat([torch.get_rng_state(), *own])


def _near(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=TOLERANCE, equal_nan=True)
