"""How the sum of gradients changes the weights: Adam, in one pass over the flat buffers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from strongscale import capture
from strongscale.config import Training
from strongscale.flat import FlatParameters


class AdamUpdate:
    """w <- Adam(w, gradient / samples)."""

    def __init__(self, flat: FlatParameters, settings: Training):
        self._flat = flat
        self._rate = torch.zeros((), device=flat.values.device)
        self._is_recorded = capture.is_wanted(flat.values.device)
        self._recordings: dict[int, capture.Work] = {}
        self._adam = torch.optim.Adam(
            [flat.values],
            lr=self._rate if self._is_recorded else 0.0,  # a recording reads the rate from where it lies
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            fused=True,
            capturable=self._is_recorded,
        )
        self._adam.state[flat.values] = {
            "step": torch.zeros((), device=flat.values.device),
            "exp_avg": torch.zeros_like(flat.values.data),
            "exp_avg_sq": torch.zeros_like(flat.values.data),
        }

    @property
    def state(self) -> Mapping[str, Tensor]:
        """Adam's memory."""
        state: Mapping[str, Tensor] = self._adam.state[self._flat.values]
        return state

    def __call__(self, num_samples: int, rate: float) -> None:
        """Turn the sum of so many samples' gradients into a step."""
        if not self._is_recorded:
            self._adam.param_groups[0]["lr"] = rate
            self._step(num_samples)
            return
        self._rate.fill_(rate)
        if num_samples not in self._recordings:
            changes = [self._flat.values.data, self._flat.gradient, *self.state.values()]
            self._recordings[num_samples] = capture.record(lambda: self._step(num_samples), changes)
        self._recordings[num_samples]()

    def _step(self, num_samples: int) -> None:
        self._flat.gradient.div_(num_samples)
        self._adam.step()
