"""What result.json, cell.json and epochs.csv must say together: numbers that contradict one another aren't published."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from strongscale.analysis.epochs import LARGEST_COUNT, LOSSES, PARTS
from strongscale.analysis.runs import DIVERGED, EXHAUSTED, Result
from strongscale.settings.cells import CellSettings
from strongscale.strategies.base import Strategy, planned

IDENTITY = ("study", "strategy", "workers", "seed")
POSITIVE = ("time_s", "learning_rate", "target_loss", "null_loss", "constant_loss")
NOT_NEGATIVE = ("startup_s", "suspended_s", "best_validation_loss", "final_validation_loss")
MOST = 1_000_000  # far beyond any number of epochs, ranks or attempts
COUNTED = {
    "epochs": MOST,
    "ranks": MOST,
    "attempts": MOST,
    "epochs_to_target": MOST,
    "samples_to_target": LARGEST_COUNT,
    "num_training": LARGEST_COUNT,
}
TO_TARGET = {"epochs_to_target": "epoch", "samples_to_target": "samples", "time_to_target_s": "time_s"}
SAME_RATE = 1e-9


def contradictions(
    settings: CellSettings, strategy: Strategy, raw: Mapping[str, Any], result: Result, epochs: pd.DataFrame
) -> Iterator[str]:
    """What is wrong in result.json, in words; `raw` is all that the file says."""
    for name in IDENTITY:
        if name in raw and raw[name] != getattr(settings, name):
            yield f"{name} {raw[name]!r:.60}, cell.json's is {getattr(settings, name)!r}"
    yield from _impossible(result)
    yield from _against_cell(settings, strategy, result)
    yield from _against_epochs(result, epochs)
    yield from _against_status(settings, result, epochs)
    yield from _against_target(settings, result, epochs)


def _impossible(result: Result) -> Iterator[str]:
    """Values that no run has."""
    for name, most in COUNTED.items():
        count = getattr(result, name)
        if count is not None and not 1 <= count <= most:
            yield f"{name} isn't a number from 1 to {most}"
    for name in (*POSITIVE, *NOT_NEGATIVE):
        value = getattr(result, name, None)
        if value is not None and (value < 0 or (value == 0 and name in POSITIVE)):
            yield f"{name} is {value}, allowed: {'above' if name in POSITIVE else 'at least'} 0"
    if result.clock == "wall" and sorted(result.parts) != sorted(PARTS):
        yield f"parts: {', '.join(result.parts)}, needed: {', '.join(PARTS)}"
    if not result.hosts:
        yield "hosts: none"
    texts = {"device": result.device, "started_at": result.started_at, "settings_hash": result.settings_hash}
    texts |= {
        name: value
        for name in ("git_commit", "code_hash", "trajectory")
        if (value := getattr(result, name)) is not None
    }
    texts |= {f"hosts[{number}]": host for number, host in enumerate(result.hosts)}
    texts |= {f"versions.{name}": version for name, version in result.versions.items()}
    texts |= {f"code.{name}": digest for name, digest in result.code.items()}
    texts |= {f"history[{n}].device": one.device for n, one in enumerate(result.history)}
    for name, text in texts.items():
        if not (isinstance(text, str) and text.isprintable() and name.isprintable()):
            yield f"{name!a} isn't a line of text"


def _against_cell(settings: CellSettings, strategy: Strategy, result: Result) -> Iterator[str]:
    training = settings.training
    wanted: dict[str, Any] = {"learning_rate": training.learning_rate, "target_loss": training.target}
    if result.num_training is not None and not strategy.reads_statistics:  # results of earlier versions tell neither
        epochs = planned(strategy, training.plan, settings.workers, result.num_training, training.course)
        *_, last = itertools.islice(epochs, result.epochs)
        wanted["minibatch"] = last[-1].batch
    for name, value in wanted.items():
        if getattr(result, name) != value:
            yield f"{name} {getattr(result, name)}, cell.json's is {value}"
    if result.epochs > training.max_epochs:
        yield f"epochs {result.epochs}, cell.json allows {training.max_epochs}"


def _against_epochs(result: Result, epochs: pd.DataFrame) -> Iterator[str]:
    if result.epochs != len(epochs):
        yield f"epochs {result.epochs}, but epochs.csv has {len(epochs)}"
    last = epochs.iloc[-1]
    finite = epochs["validation_loss"][np.isfinite(epochs["validation_loss"])]
    wanted: dict[str, Any] = {
        "best_validation_loss": finite.min() if len(finite) else None,
        "final_validation_loss": last["validation_loss"] if math.isfinite(last["validation_loss"]) else None,
    }
    if result.num_training is not None:
        wanted["num_training"] = epochs["samples"].iloc[0]
    if "time_s" in epochs:
        wanted["time_s"] = last["time_s"]
    own = {name: getattr(result, name) for name in wanted}
    if "time_s" in epochs:
        own |= {f"parts.{part}": result.parts.get(part) for part in PARTS}
        wanted |= {f"parts.{part}": last[part] for part in PARTS}
    for name, value in wanted.items():
        if own[name] != value:
            yield f"{name} {own[name]}, but epochs.csv says {value}"


def _against_status(settings: CellSettings, result: Result, epochs: pd.DataFrame) -> Iterator[str]:
    """How a run ended shows in its losses, but for a collapse, which shows in its output."""
    last = epochs.iloc[-1]
    if (result.status == DIVERGED) != (result.diverged_because is not None):
        yield f"{result.status}, but diverged_because {result.diverged_because}"
    finite = all(math.isfinite(last[column]) for column in LOSSES)
    if finite == (result.diverged_because == "not finite"):
        yield f"{result.outcome}, but the last losses in epochs.csv are {last[LOSSES[0]]:g} and {last[LOSSES[1]]:g}"
    if result.status != EXHAUSTED:
        return
    if result.epochs != settings.training.max_epochs:
        yield f"exhausted after {result.epochs} epochs, but cell.json allows {settings.training.max_epochs}"
    constant_loss = result.constant_loss or math.inf
    lately = last["validation_loss"] if settings.training.stop_at_target else epochs["validation_loss"].min()
    if result.target_loss is not None and lately <= result.target_loss < constant_loss:
        yield f"exhausted, but its loss in epochs.csv, {lately}, reaches the target"


def _against_target(settings: CellSettings, result: Result, epochs: pd.DataFrame) -> Iterator[str]:
    """What reaching the target took stands in the row of the epoch that reached it."""
    if not result.converged:
        for name in TO_TARGET:
            if getattr(result, name) is not None:
                yield f"{name} {getattr(result, name)}, but {result.status}"
        return
    losses, target = epochs["validation_loss"], -math.inf if result.target_loss is None else result.target_loss
    goes_on = not settings.training.stop_at_target and (losses <= target).any()
    row = epochs.iloc[int((losses <= target).argmax()) if goes_on else -1]
    if not row["validation_loss"] <= target:
        yield f"converged to {result.target_loss}, but the last loss in epochs.csv is {row['validation_loss']}"
    if result.constant_loss is not None and row["validation_loss"] >= result.constant_loss:
        yield f"converged at {row['validation_loss']}, but a constant output has {result.constant_loss}"
    for name, column in TO_TARGET.items():
        if column in row and getattr(result, name) != row[column]:
            yield f"{name} {getattr(result, name)}, but epochs.csv says {row[column]:.12g}"


def off_plan(settings: CellSettings, strategy: Strategy, epochs: pd.DataFrame) -> Iterator[str]:
    """What epochs.csv says of steps and rates otherwise than the cell's strategy."""
    if strategy.reads_statistics:  # its plan depends on the run
        return
    before, num_samples = 0, epochs["samples"].iloc[0]
    steps_and_rates = zip(epochs["step"], epochs["learning_rate"], strict=True)
    training = settings.training
    each = planned(strategy, training.plan, settings.workers, int(num_samples), training.course)
    for done, ((step, rate), plans) in enumerate(zip(steps_and_rates, each, strict=False)):
        if step - before != len(plans):
            size = plans[0].batch
            yield f"row {done + 1}: {step - before} steps, where minibatches of {size} samples take {len(plans)}"
            return
        if not math.isclose(rate, plans[-1].rate, rel_tol=SAME_RATE):
            yield f"row {done + 1}: learning_rate {rate}, the strategy's is {plans[-1].rate}"
            return
        before = step
