"""Whether a model has collapsed: whatever the input, the output is the same."""

import torch
from torch import Tensor, nn

NUM_SAMPLES = 16
SHARE = 0.01  # of the inputs' spread; collapsed models have 1e-7 of it, those that learn some 0.3


@torch.no_grad()
def ignores_input(model: nn.Module, samples: Tensor, chunk: int) -> bool:
    """Whether outputs differ by hardly anything between samples that do: (N, ...), of which a fixed few are taken."""
    inputs = samples[:: max(1, len(samples) // NUM_SAMPLES)][:NUM_SAMPLES]
    is_training = model.training
    model.eval()  # so that looking at it changes nothing in it
    outputs = torch.cat([model(part) for part in inputs.split(chunk)])
    model.train(is_training)
    return _spread(outputs) < SHARE * _spread(inputs)


def _spread(samples: Tensor) -> float:
    """The root mean square of the samples' differences from the first: exactly 0 where they are all the same."""
    return float((samples - samples[0]).double().square().mean().sqrt())
