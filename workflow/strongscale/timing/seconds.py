"""Seconds since training began, by part."""

from dataclasses import dataclass


@dataclass
class Seconds:
    """Seconds since training began; what the three parts leave of the total is bookkeeping."""

    total: float = 0.0
    compute: float = 0.0
    communication: float = 0.0
    evaluation: float = 0.0
