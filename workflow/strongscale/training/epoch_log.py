"""epochs.csv: a row an epoch, there to be read while the run goes on."""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strongscale.timing.seconds import Seconds

COLUMNS = ("epoch", "step", "samples", "learning_rate", "training_loss", "validation_loss", "weights_hash")
SECONDS = {"time_s": "total", "compute_s": "compute", "communication_s": "communication", "evaluation_s": "evaluation"}
"""On the wall clock only: an emulated cell's are computed afterwards."""


@dataclass(frozen=True)
class Epoch:
    """What is known at the end of an epoch; seconds count from the start of training."""

    epoch: int
    step: int
    samples: int
    learning_rate: float
    training_loss: float
    validation_loss: float
    weights_hash: str
    seconds: Seconds | None = None

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Epoch":
        """From a checkpoint."""
        return cls(**state | {"seconds": state["seconds"] and Seconds(**state["seconds"])})

    @property
    def row(self) -> dict[str, Any]:
        """Of epochs.csv."""
        own = {name: getattr(self, name) for name in COLUMNS}
        times = {column: getattr(self.seconds, part) for column, part in SECONDS.items()} if self.seconds else {}
        return own | times


class EpochLog:
    """The epochs of a run; the rank that has a path also writes them down as they come."""

    def __init__(self, path: Path | None):
        self.epochs: list[Epoch] = []
        self.path = path

    def restore(self, epochs: list[Epoch]) -> None:
        """Begin with these epochs, none for a fresh start."""
        self.epochs = []
        if self.path:
            self.path.unlink(missing_ok=True)
        self.add(*epochs)

    def add(self, *epochs: Epoch) -> None:
        """Take epochs down."""
        self.epochs += epochs
        if self.path and epochs:
            is_new = not self.path.exists()
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, epochs[0].row, lineterminator="\r\n")
                if is_new:
                    writer.writeheader()
                writer.writerows(epoch.row for epoch in epochs)

    def state(self) -> list[dict[str, Any]]:
        """What a checkpoint keeps."""
        return [asdict(epoch) for epoch in self.epochs]

    @property
    def training(self) -> list[float]:
        """The training losses so far."""
        return [epoch.training_loss for epoch in self.epochs]

    @property
    def steps(self) -> list[int]:
        """The steps taken by the end of each epoch."""
        return [epoch.step for epoch in self.epochs]

    @property
    def rates(self) -> list[float]:
        """The learning rate of each epoch's last step."""
        return [epoch.learning_rate for epoch in self.epochs]

    @property
    def validation(self) -> list[float]:
        """The validation losses so far."""
        return [epoch.validation_loss for epoch in self.epochs]
