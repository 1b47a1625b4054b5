"""Whether a model has collapsed: whatever the input, the output is the same."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from strongscale.gradients.passes import Batch, chunks_of

NUM_SAMPLES = 16
SHARE = 0.01  # of the inputs' spread; collapsed models have 1e-7 of it, those that learn some 0.3


def _output(model: nn.Module, batch: Batch) -> Tensor:
    output: Tensor = model(batch[0])
    return output


@torch.no_grad()
def ignores_input(
    model: nn.Module, samples: Batch, chunk: int, outputs_of: Callable[[nn.Module, Batch], Tensor] = _output
) -> bool:
    """Whether outputs differ by hardly anything between samples that do, of which a fixed few are taken."""
    step = max(1, len(samples[0]) // NUM_SAMPLES)
    few = tuple(tensor[::step][:NUM_SAMPLES] for tensor in samples)
    is_training = model.training
    model.eval()  # so that looking at it changes nothing in it
    outputs = torch.cat([outputs_of(model, part) for part in chunks_of(few, chunk)])
    model.train(is_training)
    return _spread(outputs) < SHARE * _spread(few[0])


def _spread(samples: Tensor) -> float:
    """The root mean square of the samples' differences from the first: exactly 0 where they are all the same."""
    numbers = samples.double()
    return float((numbers - numbers[0]).square().mean().sqrt())
