"""What a model must be, for a run to have one result however its work is shared out: refused by name if it isn't.

The loss of a sample may depend on the weights and on that sample alone: not on the samples beside it, on what was
computed before, or on chance. Layers that are known to break this are found by their kind, all else by trying.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from strongscale.common.errors import UserError
from strongscale.gradients.passes import Batch, chunks_of, rows_of

LossesOf = Callable[[nn.Module, Batch], Tensor]
"""A model and its samples -> their losses, one each."""

NUM_SAMPLES = 3
TOLERANCE = 1e-3  # of a loss: other numbers of samples may be computed by other kernels, which round otherwise

INSTEAD = "take GroupNorm or LayerNorm"
NO_CHANCE = "draws random numbers, so that the result would depend on the number of workers; leave dropout out (p=0)"


def check(model: nn.Module, losses_of: LossesOf, samples: Batch, key: str) -> None:
    """UserError if the model can't be trained here; nothing of the model or of the random state is changed.

    `key` names the setting that is to blame.
    """
    for name, layer in model.named_modules():
        if why := _why_not(layer):
            raise UserError(f"{key}: its layer {name or 'itself'} ({type(layer).__name__}) {why}")
    devices = [samples[0].device] if samples[0].is_cuda else []
    few = rows_of(samples, slice(0, NUM_SAMPLES))
    with torch.random.fork_rng(devices):
        if why := _why_not_by_trying(copy.deepcopy(model), losses_of, few):
            raise UserError(f"{key}: {why}")


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


def _why_not_by_trying(model: nn.Module, losses_of: LossesOf, samples: Batch) -> str | None:
    """What is wrong with a model that may be spoilt, by what it does in training."""
    model.train()
    device, num_samples = samples[0].device, len(samples[0])
    with torch.no_grad():
        state, chance = {name: buffer.clone() for name, buffer in model.named_buffers()}, _chance(device)
        first, second = losses_of(model, samples), losses_of(model, samples)
        if not torch.equal(_chance(device), chance):
            return f"a forward pass {NO_CHANCE}"
        for name, buffer in model.named_buffers():
            if name not in state or not torch.equal(buffer, state[name]):
                return f"a forward pass changes its buffer {name}, by which samples would depend on earlier ones; {INSTEAD}"
        if first.shape != (num_samples,):
            return (
                f"it gives {num_samples} samples losses of the shape {tuple(first.shape)}; allowed: one loss a sample"
            )
        if not _near(first, second):
            return "the same samples have other losses the second time, so that no run could be repeated"
        alone = torch.cat([losses_of(model, sample) for sample in chunks_of(samples, 1)])
        if not _near(first, alone):
            return f"a sample's loss depends on the samples beside it, and so on the number of workers; {INSTEAD}"
        if not _near(first, losses_of(model.eval(), samples)):
            return "its losses in eval() aren't those in training; a model must compute the same in both"
        if not first.isfinite().all():
            return f"its losses aren't finite at the start: {', '.join(f'{loss:g}' for loss in first.tolist())}"
    return _why_gradients_are_not_enough(model.train(), losses_of, samples)


def _why_gradients_are_not_enough(model: nn.Module, losses_of: LossesOf, samples: Batch) -> str | None:
    """Which parameters a step would not train."""
    named = dict(model.named_parameters())
    frozen = [name for name, parameter in named.items() if not parameter.requires_grad]
    if frozen:
        return f"its parameter {frozen[0]} is frozen (requires_grad=False); make it a buffer, or train it"
    if not named:
        return "it has no parameters, so there is nothing to train"
    losses = losses_of(model, samples)
    if not losses.requires_grad:
        return "no gradient reaches its parameters: its losses are computed without them (detach, no_grad, argmax)"
    gradients = torch.autograd.grad(losses.sum(), list(named.values()), allow_unused=True)
    unreached = [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]
    if unreached:
        return f"no gradient reaches its parameter {unreached[0]}; use it in the loss, or leave it out"
    return None


def _chance(device: torch.device) -> Tensor:
    """The state of the random numbers that a model may draw."""
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return torch.cat([torch.get_rng_state(), *own])


def _near(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=TOLERANCE, equal_nan=True)
