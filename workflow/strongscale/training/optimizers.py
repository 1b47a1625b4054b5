"""How the sum of gradients changes the weights: Adam, in one pass over the flat buffers."""

import torch
from torch import Tensor
from torch.optim.adam import adam

from strongscale.settings.config import Training
from strongscale.training import cuda_graph
from strongscale.training.flat import FlatParameters


class AdamUpdate:
    """w <- Adam(w, gradient / samples).

    PyTorch's function, because its class imports a compiler that nothing here uses, for as long as PyTorch itself.
    """

    def __init__(self, flat: FlatParameters, settings: Training):
        self._flat, self._settings = flat, settings
        values = flat.values.data
        self.steps = torch.zeros((), device=values.device)
        self.moments = {name: torch.zeros_like(values) for name in ("exp_avg", "exp_avg_sq")}
        self._is_recorded = cuda_graph.is_wanted(values.device)
        self._rate = torch.zeros((), device=values.device)  # a recording reads it from where it lies
        self._recordings: dict[int, cuda_graph.Work] = {}

    def prepare(self, num_samples: int) -> None:
        """Get ready for a step of so many samples, which the clock shouldn't see."""
        if self._is_recorded and num_samples not in self._recordings:
            changes = [self._flat.values.data, self._flat.gradient, self.steps, *self.moments.values()]
            self._recordings[num_samples] = cuda_graph.record(lambda: self._step(num_samples, self._rate), changes)

    def __call__(self, num_samples: int, rate: float) -> None:
        """Turn the sum of so many samples' gradients into a step."""
        if self._is_recorded:
            self.prepare(num_samples)
            self._rate.fill_(rate)
            self._recordings[num_samples]()
        else:
            self._step(num_samples, rate)

    @torch.no_grad()
    def _step(self, num_samples: int, rate: float | Tensor) -> None:
        self._flat.gradient.div_(num_samples)
        adam(
            [self._flat.values.data],
            [self._flat.gradient],
            [self.moments["exp_avg"]],
            [self.moments["exp_avg_sq"]],
            [],
            [self.steps],
            lr=rate,
            beta1=self._settings.beta1,
            beta2=self._settings.beta2,
            eps=self._settings.epsilon,
            weight_decay=0.0,
            amsgrad=False,
            maximize=False,
            fused=True,
            capturable=self._is_recorded,
        )
