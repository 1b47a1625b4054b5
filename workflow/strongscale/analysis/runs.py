"""The runs of one study, in memory: what all tables, figures and verdicts are made from."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd

from strongscale.common.schema import AT_LEAST_1, plain
from strongscale.settings.cells import Cell, CellSettings, whole_data
from strongscale.settings.config import SEQUENTIAL, Study
from strongscale.timing.steps import Steps
from strongscale.timing.timings import Timings

CONVERGED: Literal["converged"] = "converged"
EXHAUSTED: Literal["exhausted"] = "exhausted"
DIVERGED: Literal["diverged"] = "diverged"
MOST_FILES = 3
"""How many of the files that differ are named under a number."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a run, as far as the analysis reads it."""

    ranks: Annotated[int, "MPI processes"]
    device: Annotated[str, "what computed"]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How a measure is spread over groups of validation samples, as over nodules."""

    count: Annotated[int, AT_LEAST_1, "groups"]
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """result.json, as far as the analysis reads it."""

    status: Annotated[Literal["converged", "exhausted", "diverged"], "how the run ended"]
    diverged_because: Annotated[Literal["not finite", "collapsed"] | None, "null unless diverged"] = None
    clock: Annotated[Literal["wall", "emulated"], "how seconds were obtained"]
    trajectory: Annotated[str | None, "the cell that was trained: this one, or one that took the same path"] = None
    target_loss: Annotated[float | None, "the validation loss to reach; null for tries at other rates"]
    epochs_to_target: Annotated[int | None, "null unless converged"]
    samples_to_target: Annotated[int | None, "null unless converged"]
    time_to_target_s: Annotated[float | None, "null unless converged"] = None
    between_s: Annotated[
        float | None, "the same, between the ends of two epochs; computed from epochs.csv, and in no file of the run"
    ] = None
    epochs: Annotated[int, "epochs done"]
    time_s: Annotated[
        float, "seconds of training in all; on the emulated clock computed, and in no file of the run"
    ] = math.nan
    best_validation_loss: Annotated[float | None, "null if none was finite"]
    final_validation_loss: Annotated[float | None, "null if not finite"]
    null_loss: Annotated[float | None, "the loss of predicting zero"]
    constant_loss: Annotated[float | None, "the loss of the best constant output"] = None
    minibatch: Annotated[int | None, "samples in one step of all workers together"] = None
    num_training: Annotated[int | None, "samples in an epoch"] = None
    learning_rate: Annotated[float, "as the run records it; `Run.base_rate` is eta"]
    parts: Annotated[dict[str, float], "where time_s went"] = field(default_factory=dict)
    startup_s: Annotated[float | None, "seconds before training began; not in time_s"]
    ranks: Annotated[int, "MPI processes"]
    hosts: Annotated[tuple[str, ...], "machines"]
    device: Annotated[str, "what computed"]
    versions: Annotated[dict[str, Any], "of the software"]
    git_commit: Annotated[str | None, "of this repository"]
    settings_hash: Annotated[str, "of the cell's settings"]
    code_hash: Annotated[str | None, "of the program"]
    started_at: Annotated[Any, "when"]
    attempts: Annotated[int, "how often the run was started"]
    suspended_s: Annotated[float, "seconds that the run stood still, which no other number holds"] = 0.0
    margins: Annotated[str | None, "digest of the margins in force when it was made"] = None
    device_changed: Annotated[bool, "whether attempts computed on different devices"] = False
    history: Annotated[tuple[Attempt, ...], "every attempt, the last one last"] = ()
    code: Annotated[dict[str, str], "digests of the program's files that decide the result"] = field(
        default_factory=dict
    )
    measures: Annotated[dict[str, float | None], "what else the task tells of the trained model"] = field(
        default_factory=dict
    )
    distributions: Annotated[dict[str, Distribution], "measures that are of groups of samples, as of nodules"] = field(
        default_factory=dict
    )

    @property
    def devices(self) -> list[str]:
        """What computed, attempt by attempt."""
        return [*(attempt.device for attempt in self.history), self.device]

    @property
    def converged(self) -> bool:
        """Whether the target was reached."""
        return self.status == CONVERGED

    @property
    def outcome(self) -> str:
        """The status in words, as tables show it."""
        if self.status == DIVERGED:
            return f"diverged ({self.diverged_because})"
        if self.status == EXHAUSTED:
            less = "" if self.beats_constant else ", no better than a constant output"
            return f"exhausted at {self.epochs} epochs{less}"
        return self.status

    @property
    def beats_constant(self) -> bool:
        """Whether the loss was ever below that of the best constant output; true where that isn't known."""
        best, constant = self.best_validation_loss, self.constant_loss
        return constant is None or (best is not None and best < constant)

    @property
    def remark(self) -> str | None:
        """What is odd about the run's steps, in words."""
        if self.minibatch is None or self.num_training is None:
            return None
        return whole_data(self.minibatch, self.num_training)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One entry of the matrix, one sequential run at another rate, or a pilot, and the cell that stands for it."""

    line: Literal["matrix", "rate", "pilot"]
    strategy: str
    kind: str
    workers: int
    seed: int
    cell: Cell
    settings: CellSettings
    result: Result
    steps: Steps | None = None
    """What each step asked of the hardware; on the emulated clock seconds are made of it."""

    @property
    def stands_as(self) -> str:
        """The line of the matrix; with one worker mostly the sequential run, which all lines share."""
        return self.strategy if self.workers > 1 else self.cell.strategy

    @property
    def base_rate(self) -> float:
        """The learning rate that the strategy starts from, eta."""
        return float(self.settings.training.learning_rate)

    def row(self) -> dict[str, Any]:
        """All of the run in one flat row."""
        result = self.result
        told = {name: getattr(result, name) for name in _PLAIN_COLUMNS}
        parts = {f"{part}_s": result.parts.get(f"{part}_s", math.nan) for part in PARTS}
        texts = {
            "hosts": " ".join(result.hosts),
            "versions": " ".join(f"{name}={version}" for name, version in sorted(result.versions.items())),
            "cell": self.cell.folder,
            "remark": result.remark,
        }
        own = {name: getattr(self, name) for name in ("line", "strategy", "kind", "workers", "seed")}
        measures = {f"measure_{name}": value for name, value in result.measures.items()}
        for name, spread in result.distributions.items():
            measures |= {f"measure_{name}_{key}": value for key, value in plain(spread).items()}
        return {**own, **told, **measures, **parts, **texts}


PARTS = ("compute", "communication", "evaluation")
_TEXT_COLUMNS = ("parts", "hosts", "versions", "history", "code", "measures", "distributions")
_PLAIN_COLUMNS = tuple(name for name in Result.__dataclass_fields__ if name not in _TEXT_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class StudyRuns:
    """Every run of a study. The sequential run stands in each line of the matrix, as its run with one worker."""

    folder: Path
    name: str
    study: Study
    data: str
    runs: tuple[Run, ...]
    epochs: pd.DataFrame
    timings: tuple[Timings, ...] = ()
    """Of the emulated clock: what its seconds are made of."""

    @property
    def cells(self) -> pd.DataFrame:
        """One row a run."""
        return pd.DataFrame([run.row() for run in self.runs])

    @property
    def owner(self) -> Path:
        """The folder of the study whose runs these are."""
        return self.folder.parent / self.study.trajectories if self.study.trajectories else self.folder

    @property
    def matrix(self) -> list[Run]:
        """The runs of the matrix."""
        return [run for run in self.runs if run.line == "matrix"]

    @property
    def edge(self) -> list[Run]:
        """The sequential runs at other learning rates, by rate."""
        edge = (run for run in self.runs if run.line == "rate")
        return sorted(edge, key=lambda run: (run.base_rate, run.seed))

    @property
    def sequential(self) -> list[Run]:
        """The sequential run of each seed; where every line brings an optimizer or an update rule of its own, the first line's."""
        lines = list(self.study.strategies)
        alone = (line for line in lines if all(run.stands_as == SEQUENTIAL for run in self.of(line, 1)))
        return self.of(next(alone, lines[0]), 1)

    def of(self, strategy: str, workers: int) -> list[Run]:
        """The runs of one entry of the matrix, by seed."""
        found = [run for run in self.matrix if (run.strategy, run.workers) == (strategy, workers)]
        return sorted(found, key=lambda run: run.seed)

    def scaled(self, strategy: str) -> list[Run]:
        """All runs of a line of the matrix with more than one worker."""
        return [run for run in self.matrix if run.strategy == strategy and run.workers > 1]

    def scaled_of_kind(self, kind: str) -> list[Run]:
        """All runs of one kind of strategy with more than one worker, whatever their lines are called."""
        return [run for name in self.entries(kind) for run in self.scaled(name)]

    def workers(self, strategy: str) -> list[int]:
        """The numbers of workers of a line of the matrix, rising; none if the study hasn't that line."""
        return list(self.study.workers_of(strategy)) if strategy in self.study.strategies else []

    def entries(self, kind: str) -> list[str]:
        """The lines of the matrix that are of one kind."""
        return [name for name, entry in self.study.strategies.items() if (entry.kind or name) == kind]

    def epochs_of(self, run: Run) -> pd.DataFrame:
        """The epochs of one run, in order."""
        return self._epochs_by_run[run.strategy, run.workers, run.seed]

    @functools.cached_property
    def _epochs_by_run(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        groups = self.epochs.groupby(["strategy", "workers", "seed"], sort=False)
        return {key: table.sort_values("epoch").reset_index(drop=True) for key, table in groups}

    @property
    def all_workers(self) -> list[int]:
        """Every number of workers of the matrix, rising."""
        return sorted({run.workers for run in self.matrix})

    @property
    def num_seeds(self) -> str:
        """How many seeds the entries of the matrix have, in words: one, the same for all, or from few to many."""
        counts = {len(self.of(line, workers)) for line in self.study.strategies for workers in self.workers(line)}
        low, high = min(counts), max(counts)
        if high == 1:
            return "one seed"
        return f"{high} seeds" if low == high else f"{low} to {high} seeds"

    @property
    def null_loss(self) -> float | None:
        """The loss of predicting zero on the validation samples."""
        return next((run.result.null_loss for run in self.runs if run.result.null_loss is not None), None)

    @property
    def constant_loss(self) -> float | None:
        """The loss of the best constant output on the validation samples."""
        return next((run.result.constant_loss for run in self.runs if run.result.constant_loss is not None), None)

    @property
    def clock(self) -> str:
        """The clock in words."""
        if self.study.clock == "wall":
            return "wall clock"
        others = [timings.label for timings in self.timings if timings.origin != "measured"]
        seconds = f", seconds of: {in_words(others)}" if others else ""
        return f"emulated clock ({network_name(self.study)} network model{seconds})"

    @property
    def label(self) -> str:
        """Clock, device and data: what must stand under every number of this study; and what isn't as it should be."""
        devices = sorted({device for run in self.runs for device in run.result.devices})
        if self.timings:
            devices = list(dict.fromkeys(f"one worker's seconds: {timings.label}" for timings in self.timings))
        return ", ".join([self.clock, " and ".join(devices), self.data, *self.remarks])

    @property
    def remarks(self) -> list[str]:
        """What a reader must know who takes all runs for made alike."""
        remarks = list(dict.fromkeys(doubt for timings in self.timings for doubt in timings.doubts))
        told = [self.study.evaluation or timings.who_evaluates for timings in self.timings]
        if "everywhere" in told:
            remarks.append("every worker evaluates all validation samples")
        if self.study.stragglers is not None and self.timings:
            remarks.append(f"stragglers: {self.study.stragglers}")
        if self.study.trajectories:
            remarks.append(f"trajectories of study {self.study.trajectories}")
        changed = len({run.cell for run in self.runs if run.result.device_changed})
        if changed:
            remarks.append(f"{changed} run{'s' if changed > 1 else ''} changed the device on the way")
        versions = [f"{file} ({number} versions)" for file, number in self.code_versions.items() if number > 1]
        if versions:
            more = f" and {len(versions) - MOST_FILES} files more" if len(versions) > MOST_FILES else ""
            remarks.append(f"made by code that differs between runs: {', '.join(versions[:MOST_FILES])}{more}")
        return remarks

    @property
    def code_versions(self) -> dict[str, int]:
        """How many versions of each of the program's files the runs were made by."""
        digests: dict[str, set[str]] = {}
        for run in self.runs:
            for file, digest in run.result.code.items():
                digests.setdefault(file, set()).add(digest)
        return {file: len(found) for file, found in sorted(digests.items())}


def network_name(study: Study) -> str:
    """The name of the modelled network; `custom` if the study spells out its numbers."""
    return study.network if isinstance(study.network, str) else "custom"


def in_words(items: Iterable[object]) -> str:
    """1, 2 and 3."""
    texts = [str(item) for item in items]
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def seeds_in_words(seeds: Iterable[int]) -> str:
    """`seed 3`, `seeds 1, 4 and 5`, and of four or more in a row the first and the last."""
    ordered = sorted(set(seeds))
    if len(ordered) == 1:
        return f"seed {ordered[0]}"
    is_row = len(ordered) > 3 and ordered[-1] - ordered[0] == len(ordered) - 1
    return f"seeds {ordered[0]} to {ordered[-1]}" if is_row else f"seeds {in_words(ordered)}"
