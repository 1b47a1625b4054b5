"""The cells of a study: which runs its matrix needs, where each lies, and who it is."""

import copy
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from strongscale.common import parts
from strongscale.common.errors import UserError
from strongscale.common.parts import Part
from strongscale.common.schema import SEED, WORKERS, build, plain
from strongscale.models.base import Model
from strongscale.optimizers.base import Optimizer
from strongscale.settings.config import (
    SEQUENTIAL,
    Checkpoints,
    Edge,
    Job,
    NewNodules,
    SequentialEpochs,
    Study,
    Training,
)
from strongscale.settings.plans import check_workers, first_plan
from strongscale.settings.tuning import Tuning
from strongscale.strategies.base import Strategy
from strongscale.tasks.base import Task
from strongscale.updates.base import Update
from strongscale.updates.synchronous import Synchronous

RATE = "rate_"
PILOT = "pilot"
EDGE_TRIALS = PurePosixPath("edge", "trials")
"""Where the search for the edge makes its short runs, in the study's folder: <rate>/seed<S>."""
PROBES = (2, 3, 32)  # numbers of workers, to see how a minibatch grows with them
WITHOUT_EFFECT = ("dataset", "ranks", "checkpoints", "trajectories")  # the data set's path (its hash counts), ...


@dataclass(frozen=True, order=True)
class Cell:
    """One run: (strategy, number of workers, seed) of a study."""

    study: str
    strategy: str
    workers: int
    seed: int

    @property
    def folder(self) -> str:
        """The cell's folder, below results/."""
        return str(PurePosixPath(self.study, "cells", self.strategy, f"{self.workers:02d}workers", f"seed{self.seed}"))

    def __str__(self) -> str:
        return f"{self.strategy}, {self.workers} workers, seed {self.seed}"


def samples_folder(name: str, study: Study) -> str:
    """Where the samples of a study lie, below results/."""
    return f"datasets/{study.dataset}" if study.task.takes_nodules else f"{name}/samples"


def is_rate_name(strategy: str) -> bool:
    """Whether this line of the matrix is the sequential run at another learning rate."""
    return strategy.startswith(RATE)


def rate_of(strategy: str) -> float:
    """The learning rate of such a line."""
    return float(strategy.removeprefix(RATE))


def rate_name(rate: float) -> str:
    """The name of the line of sequential runs at another learning rate."""
    return f"{RATE}{rate}"


def stage_of(strategy: str) -> str:
    """When the cells of a line can run: rates and pilots first, then sequential, then scaled.

    Those of one stage don't wait for one another.
    """
    if is_rate_name(strategy):
        return "rates"
    if strategy == PILOT:
        return "pilots"
    return "sequential" if strategy == SEQUENTIAL else "scaled"


def matrix(name: str, study: Study) -> dict[tuple[str, int, int], Cell]:
    """Each (strategy, workers, seed) of the matrix and the run that stands for it.

    With one worker that is mostly the sequential one; where paths are shared, so it is for all workers of strong scaling.
    """
    owner, found = study.trajectories or name, {}
    for line in study.strategies:
        is_alone, is_shared = is_sequential_alone(study, line), follows_sequential(study, line)
        for workers in study.workers_of(line):
            is_sequential = is_shared or (is_alone and workers == 1)
            for seed in study.seeds_of(line, workers):
                cell = Cell(owner, SEQUENTIAL, 1, seed) if is_sequential else Cell(owner, line, workers, seed)
                found[line, workers, seed] = cell
    return found


def follows_sequential(study: Study, line: str) -> bool:
    """Whether a line takes the sequential run's path to the bit at any number of workers, and needn't be trained for that."""
    return shares_trajectories(study) and is_sequential_path(study, line)


def shares_trajectories(study: Study) -> bool:
    """Whether runs that take the same path to the bit are trained once."""
    return study.share_trajectories and study.clock == "emulated" and study.training.reduction == "exact"


def brings_nothing(study: Study, line: str) -> bool:
    """Whether a line has neither an optimizer nor an update rule of its own, nor asks what gradients tell."""
    entry, strategy = study.strategies[line], study.strategy(line)
    brings = (entry.optimizer, entry.update, strategy.optimizer(), strategy.update())
    return all(part is None for part in brings) and not strategy.reads_statistics


def update_rule(own: Update | None, strategy: Strategy) -> Update:
    """An entry's own, with the strategy's number of learners, or the strategy's, or the usual one."""
    rule: Update = build(Update, own or strategy.update() or Synchronous(), "update")  # type: ignore[type-abstract]
    return rule if own is None or strategy.learners_each == 1 else own.of_learners(strategy.learners_each)


def is_sequential_alone(study: Study, line: str) -> bool:
    """Whether a line of the matrix with one worker is the sequential run: its optimizer, its update rule and its plan.

    Plans are looked at in the first epoch and in the last, for some grow.
    """
    if not brings_nothing(study, line):
        return False
    strategy, training = study.strategy(line), study.training
    ends = (0, training.max_epochs - 1)
    return all(first_plan(strategy, training, 1, end) == first_plan(Strategy(), training, 1, end) for end in ends)


def microbatch(study: Study, line: str) -> int:
    """Samples of one backward pass of a line's runs in exact mode: it depends neither on the axes nor on other lines.

    Where each worker takes a whole minibatch of its own, and outside the matrix, where nobody shares the path, larger passes
    are as exact and cost less. Statistics are of the passes, so they stay as they were set.
    """
    given, base = study.training.microbatch, study.training.batch_size
    if study.training.reduction == "fast":
        return given
    if line not in study.strategies:
        return given if line == SEQUENTIAL else base
    strategy = study.strategy(line)
    is_whole = all(first_plan(strategy, study.training, workers).batch >= workers * base for workers in PROBES)
    return base if is_whole and not strategy.reads_statistics else given


def is_sequential_path(study: Study, line: str) -> bool:
    """Whether a line plans what the sequential run does, whatever the number of workers."""
    return type(study.strategy(line)).plan is Strategy.plan and brings_nothing(study, line)


def sequential_cells(name: str, study: Study) -> list[Cell]:
    """The sequential run of each seed."""
    return [Cell(study.trajectories or name, SEQUENTIAL, 1, seed) for seed in study.all_seeds]


def rate_cells(name: str, study: Study) -> list[Cell]:
    """The sequential runs at other learning rates, each seed at each rate."""
    rates = dict.fromkeys(rate for rate in study.edge.rates if rate != study.training.learning_rate)
    return [Cell(study.trajectories or name, rate_name(rate), 1, seed) for rate in rates for seed in study.first_seeds]


def pilot_cells(name: str, study: Study) -> list[Cell]:
    """The sequential runs that set the target, of seeds outside the comparison."""
    return [Cell(study.trajectories or name, PILOT, 1, seed) for seed in study.pilots]


def seeks_edge(study: Study) -> bool:
    """Whether the study's learning rate is looked for before anything else is trained at it."""
    return study.training.learning_rate == "edge"


def all_cells(name: str, study: Study) -> list[Cell]:
    """Every distinct run of a study; those of a study with another's trajectories are the other's."""
    return sorted({*matrix(name, study).values(), *rate_cells(name, study), *pilot_cells(name, study)})


def folders_in_words(cells: Iterable[Cell]) -> str:
    """Which folders there are, for whoever asked for another: a line of the matrix, its workers and its seeds."""
    columns: dict[str, dict[str, None]] = {}
    seeds: dict[str, dict[str, None]] = {}
    for cell in cells:
        _, _, line, column, seed = PurePosixPath(cell.folder).parts
        columns.setdefault(line, {})[column] = None
        seeds.setdefault(line, {})[seed] = None
    lines: dict[str, list[str]] = {}
    for line, own in seeds.items():
        lines.setdefault(" ".join(own), []).append(f"{line}/{' '.join(columns[line])}")
    return "; ".join(f"{'; '.join(found)}; each with {own}" for own, found in lines.items())


def own_part(study: Study, strategy: str) -> Study:
    """What the cells of one line depend on: a change of another line, of the axes, or of the edge leaves it the same."""
    training = replace(study.training, microbatch=microbatch(study, strategy))
    study = replace(study, training=training)
    entries = {
        name: replace(entry, workers=None, seeds={}, around=None)
        for name, entry in study.strategies.items()
        if name == strategy
    }
    edge = Edge(epochs=study.edge.epochs) if is_rate_name(strategy) else Edge()
    if is_rate_name(strategy):
        training = replace(training, learning_rate=rate_of(strategy), target=None, max_epochs=study.edge.epochs)
    elif strategy == PILOT and isinstance(training.target, SequentialEpochs):
        training = replace(training, target=None, max_epochs=training.target.sequential_epochs)
    return replace(
        study,
        strategies=entries,
        workers=(1,),
        seeds=(0,),
        alone=False,
        compare_clock_with=None,
        training=training,
        edge=edge,
        tuning=Tuning(),
        job=Job(),
        new_nodules=NewNodules(),
        network="gigabit",
        timings=None,
        evaluation=None,
        stragglers=None,
        trajectories=None,
    )


def difference_in_training(study: Study, other: Study, line: str) -> str | None:
    """What the runs of a line are trained with otherwise in another study, in words."""
    own, its = (plain(replace(own_part(one, line), clock="emulated", max_ranks=None)) for one in (study, other))
    return next((f"{key} {own[key]}" for key in own if own[key] != its[key]), None)


def search_part(study: Study) -> Study:
    """What the search for the edge depends on."""
    assert study.edge.between is not None
    own = own_part(study, rate_name(study.edge.between[0]))
    return replace(own, edge=replace(study.edge, rates=()))


@dataclass(frozen=True, kw_only=True)
class CellSettings:
    """cell.json: all that a run needs, resolved. Enough to run the cell again, alone, anywhere."""

    study: Annotated[str, "the study's name"]
    strategy: Annotated[str, "the line of the matrix"]
    kind: Annotated[str, "the strategy's file, or sequential"]
    parameters: Annotated[dict[str, Any], "the strategy's parameters"]
    workers: Annotated[int, WORKERS, "number of workers, the paper's GPUs"]
    seed: Annotated[int, SEED, "of the initial weights and the order of samples"]
    ranks: Annotated[int, WORKERS, "MPI processes meant to carry the workers; the result tells how many did"]
    clock: Annotated[Literal["wall", "emulated"], "how seconds were obtained"]
    dataset: Annotated[str, "the data set's folder, relative to this file"]
    dataset_hash: Annotated[str, "its content"]
    brightness: Annotated[float | None, "mean of the training samples, where the model starts there; else null"] = None
    task: Annotated[Task, "what is trained"]
    model: Annotated[Model | None, "the network; null where the task brings its own"]
    training: Annotated[Training, "how it is trained, with this run's own learning rate, target and epochs"]
    optimizer: Annotated[Optimizer | None, "in place of the one in `training`, or of the strategy's own"] = None
    update: Annotated[Update | None, "the update rule; null: the strategy's own, or synchronous"] = None
    checkpoints: Annotated[Checkpoints, "how often the run can be continued from"]
    trajectories: Annotated[
        str | None, "where runs that take the same path are looked up, relative to this file; null: this one is trained"
    ] = None
    files: Annotated[dict[str, str], "the user's own files that the run is made of, each with a digest"] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if isinstance(self.training.learning_rate, str):
            raise UserError(
                f"training.learning_rate: {self.training.learning_rate!r} is not allowed; allowed: a run's own rate, a number"
            )
        strategy = self.create_strategy()
        if strategy.learners_each == "auto":
            raise UserError("parameters.learners: 'auto' is not allowed; allowed: a run's own number of learners")
        check_workers(strategy, self.training, self.workers, "workers")

    @property
    def nodule_model(self) -> Model:
        """The model, where cubes of nodules are trained on."""
        if self.model is None:
            raise UserError(f"task {self.task.kind}: it isn't trained on nodules, as is needed here")
        return self.model

    def create_strategy(self) -> Strategy:
        """The strategy that the settings name."""
        if self.kind == SEQUENTIAL:
            return Strategy()
        strategy: Strategy = build(parts.find(Strategy, self.kind, "kind"), self.parameters, "parameters")
        return strategy

    @property
    def update_rule(self) -> Update:
        """A new one: the entry's own, or the strategy's, or the usual one."""
        return copy.copy(update_rule(self.update, self.create_strategy()))

    @property
    def parts(self) -> list[type[Part]]:
        """The parts that the run is made of."""
        training = self.training
        chosen: list[Part | None] = [self.task, self.model, training.optimizer, training.schedule]
        chosen += [self.create_strategy(), self.optimizer, self.update]
        return [type(part) for part in chosen if part is not None]

    @property
    def title(self) -> str:
        """The run in words, for logs."""
        return f"{self.strategy}, {self.workers} worker{'s' if self.workers > 1 else ''}, seed {self.seed}"

    @property
    def hash(self) -> str:
        """The identity of the run, in short."""
        return settings_hash(self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that makes the run's result; who adds up between ranks does so in fast mode alone, where it was chosen."""
        raw: dict[str, Any] = {key: value for key, value in plain(self).items() if key not in WITHOUT_EFFECT}
        if self.training.reduction == "exact" or self.training.all_reduce == "auto":
            del raw["training"]["all_reduce"]
        if not self.training.warmup_steps:  # so runs of earlier versions, which knew none, stay the same
            del raw["training"]["warmup_steps"]
        return raw


def whole_data(minibatch: int, num_training: int) -> str | None:
    """What it means that a minibatch has as many samples as there are, or more, in words; None where it hasn't."""
    if minibatch < num_training:
        return None
    than = "as large as" if minibatch == num_training else "larger than"
    return f"minibatch {minibatch}, {than} the {num_training} training samples: one step an epoch, which sees all data"


def settings_hash(settings: Any) -> str:
    """A short, stable digest of plain settings."""
    text = json.dumps(plain(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def num_ranks(study: Study, cell: Cell) -> int:
    """MPI processes of a cell: one a worker, unless the study says fewer."""
    return min(cell.workers, study.max_ranks or cell.workers)
