"""epochs.csv: a row an epoch, there to be read while the run goes on."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True)
class Epoch:
    """What is known at the end of an epoch; seconds count from the start of training."""

    epoch: int
    step: int
    samples: int
    learning_rate: float
    training_loss: float
    validation_loss: float
    time_s: float
    compute_s: float
    communication_s: float
    evaluation_s: float
    weights_hash: str


class EpochLog:
    """The epochs of a run; the rank that has a path also writes them down as they come."""

    def __init__(self, path: Path | None):
        self.epochs: list[Epoch] = []
        self.path = path

    def restore(self, epochs: list[Epoch]) -> None:
        """Begin with these epochs, none for a fresh start."""
        self.epochs = epochs
        if self.path:
            with self.path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(field.name for field in fields(Epoch))
                writer.writerows(asdict(epoch).values() for epoch in epochs)

    def add(self, epoch: Epoch) -> None:
        """Take an epoch down."""
        self.epochs.append(epoch)
        if self.path:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(asdict(epoch).values())

    @property
    def training(self) -> list[float]:
        """The training losses so far."""
        return [epoch.training_loss for epoch in self.epochs]

    @property
    def validation(self) -> list[float]:
        """The validation losses so far."""
        return [epoch.validation_loss for epoch in self.epochs]
