"""What the search for the edge found, read from the study's learning_rate.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from strongscale.common.errors import UserError
from strongscale.common.files import read_json

NAME = "learning_rate.json"
OF_A_SEED = (
    "seed",
    "status",
    "diverged_because",
    "reaches",
    "epochs_to_reference",
    "best_validation_loss",
    "final_validation_loss",
)


class Tried(NamedTuple):
    """A learning rate that the search tried: how many seeds, and how many of them reached the reference in time."""

    rate: float
    seeds: int
    reached: int
    in_words: str
    passes: bool
    interval: tuple[float, float]
    """Jeffreys' 95 % interval of the share that reach it."""
    outcomes: tuple[dict[str, Any], ...]
    """What became of each seed, by the names of `OF_A_SEED`."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The search's end: the edge is `bracket[0]`, and `bracket[1]`, where it was found, the smallest rate known to fail."""

    bracket: tuple[float, float | None]
    reference_loss: float
    epochs: int
    tries: tuple[Tried, ...]
    in_words: str


def read(study_folder: Path) -> Found:
    """What the search says."""
    path = study_folder / NAME
    if not path.exists():
        raise UserError(f"{path}: no such file; make it with `snakemake {study_folder / 'receipts' / NAME}`")
    raw = read_json(path)
    try:
        lower, upper = raw["bracket"]
        found = Found(
            bracket=(float(lower), None if upper is None else float(upper)),
            reference_loss=float(raw["reference_loss"]),
            epochs=int(raw["epochs"]),
            tries=tuple(map(_tried, raw["tries"])),
            in_words=str(raw["in_words"]),
        )
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not what the search for the edge says; remove it and run again") from None
    if lower != raw.get("learning_rate") or lower not in [one.rate for one in found.tries if one.passes]:
        told = raw.get("learning_rate")
        raise UserError(f"{path}: learning_rate {told!a:.60} is none of the rates that train; remove it and run again")
    return found


def tries(study_folder: Path) -> list[Tried]:
    """Every rate that was tried, rising: (rate, seeds, reached, in words), and more."""
    return list(read(study_folder).tries)


def _tried(raw: dict[str, Any]) -> Tried:
    low, high = raw["share_interval"]
    outcomes = tuple({name: one[name] for name in OF_A_SEED} for one in raw["outcomes"])
    rate, seeds, reached = float(raw["learning_rate"]), int(raw["seeds"]), int(raw["reached"])
    return Tried(rate, seeds, reached, str(raw["in_words"]), bool(raw["passes"]), (float(low), float(high)), outcomes)
