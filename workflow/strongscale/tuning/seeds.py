"""What a few seeds say of a learning rate: the loss that all of them reach at one, and how many reach it at another."""

import math
from dataclasses import dataclass, field
from typing import Any

from strongscale.inference import shares
from strongscale.settings.config import CONSTANT_SHARE


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one seed's short run went: its losses at the epochs' ends, and what the run itself called its end."""

    seed: int
    status: str
    diverged_because: str | None
    constant_loss: float
    losses: list[float] = field(repr=False)

    @property
    def best(self) -> float:
        """The least validation loss; infinite where there is none."""
        return min((loss for loss in self.losses if math.isfinite(loss)), default=math.inf)

    @property
    def survives(self) -> bool:
        """Whether it didn't diverge, and has not fallen back to what a constant output can do."""
        return self.status != "diverged" and self.losses[-1] <= CONSTANT_SHARE * self.constant_loss

    def epochs_to(self, loss: float) -> int | None:
        """The epochs that it took to this loss; None if it never came there."""
        return next((epoch for epoch, own in enumerate(self.losses, 1) if own <= loss), None)

    def reaches(self, loss: float) -> bool:
        """Whether it comes to this loss, and doesn't collapse in the rest of its epochs."""
        return self.survives and self.epochs_to(loss) is not None


def num_needed(share: float, num_seeds: int) -> int:
    """How many of so many seeds are at least this share of them."""
    return math.ceil(share * num_seeds - 1e-9)


def is_certain(reached: int, tried: int, num_seeds: int, share: float) -> bool:
    """Whether the seeds that weren't tried yet can't change any more whether enough of them reach it."""
    needed = num_needed(share, num_seeds)
    return reached >= needed or tried - reached > num_seeds - needed


@dataclass(frozen=True, kw_only=True)
class Try:
    """One rate, with those of its seeds that were run before the verdict was certain."""

    rate: float
    outcomes: tuple[Outcome, ...]
    loss: float
    """The reference that they race to."""
    passes: bool

    @property
    def reached(self) -> int:
        """The seeds that reach it."""
        return sum(outcome.reaches(self.loss) for outcome in self.outcomes)

    @property
    def in_words(self) -> str:
        """What became of them, in a few words."""
        diverged = [one.diverged_because for one in self.outcomes if one.status == "diverged"]
        told = f"{self.reached} of {len(self.outcomes)} seeds reach it"
        return f"{told}, {len(diverged)} diverged" if diverged else told

    def table(self) -> dict[str, Any]:
        """As learning_rate.json tells it."""
        low, high = shares.interval(self.reached, len(self.outcomes))
        return {
            "learning_rate": self.rate,
            "passes": self.passes,
            "reached": self.reached,
            "seeds": len(self.outcomes),
            "share": self.reached / len(self.outcomes),
            "share_interval": [low, high],
            "in_words": self.in_words,
            "outcomes": [
                {
                    "seed": one.seed,
                    "status": one.status,
                    "diverged_because": one.diverged_because,
                    "reaches": one.reaches(self.loss),
                    "epochs_to_reference": one.epochs_to(self.loss),
                    "best_validation_loss": one.best if math.isfinite(one.best) else None,
                    "final_validation_loss": one.losses[-1] if math.isfinite(one.losses[-1]) else None,
                }
                for one in self.outcomes
            ],
        }
