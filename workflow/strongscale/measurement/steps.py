"""Whole steps as runs take them, each time on other samples."""

from collections.abc import Callable, Iterator

import torch

from strongscale.training import sampler
from strongscale.training.loop import Trainer


def whole(trainer: Trainer, size: int) -> Callable[[], None]:
    """One step on so many samples: each call takes the next."""
    total = trainer.progress.samples
    order = torch.from_numpy(sampler.epoch_order(total, trainer.cell.seed, 0)).to(trainer.device)
    starts = _round_and_round(total - size)

    def once() -> None:
        trainer.step_once(order[next(starts) :][:size])
        trainer.continuation.after_step(trainer, trainer.progress.step)

    return once


def _round_and_round(last: int) -> Iterator[int]:
    """Where the next samples begin: each time elsewhere, so that no cache knows them."""
    place = 0
    while True:
        yield place
        place = (place + 97) % (last + 1)
