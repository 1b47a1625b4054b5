"""The settings of data sets and studies: the one schema behind config.yaml, which config_file.py reads.

Every default is the paper's where the paper states it. Nothing heavy is imported, so that the Snakefile can read
the settings on a login node.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from strongscale.common.errors import UserError
from strongscale.common.parts import Part, find
from strongscale.common.schema import AT_LEAST_0, AT_LEAST_1, POSITIVE, SEED, WORKERS, Between, NonEmpty, build, later
from strongscale.models.base import Model
from strongscale.models.deepdensity import DeepDensity
from strongscale.optimizers.adam import Adam
from strongscale.optimizers.base import Optimizer
from strongscale.schedules.base import Schedule
from strongscale.schedules.constant import Constant
from strongscale.settings.comparisons import Comparison
from strongscale.settings.datasets import Dataset
from strongscale.settings.tuning import Tuning
from strongscale.strategies.base import Course, Plan, Strategy
from strongscale.tasks.autoencoding import Autoencoding
from strongscale.tasks.base import Task
from strongscale.updates.base import Update

SEQUENTIAL = "sequential"
CONSTANT_SHARE = 0.8  # of the best constant output's loss, at which a target lies at most: else it is a race to nothing
LOOKS = (3, 5, 8, 12)
"""Numbers of seeds after which a study with `seeds: auto` is looked at."""


@dataclass(frozen=True, kw_only=True)
class SequentialEpochs:
    """A relative target: what sequential runs outside the comparison reach in so many epochs."""

    sequential_epochs: Annotated[int, AT_LEAST_1, "epochs of the pilots"]
    pilots: Annotated[
        tuple[Annotated[int, SEED], ...],
        NonEmpty(),
        "seeds outside the comparison, whose sequential runs set one target for all: what each of them reaches, and at "
        "most 0.8 of the best constant output's loss",
    ]


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """When a run counts as collapsed: its output no longer depends on its input."""

    patience: Annotated[
        int, AT_LEAST_1, "epochs in a row without a new best loss, before an output that ignores its input is a verdict"
    ] = 5
    min_steps: Annotated[
        int,
        AT_LEAST_0,
        "steps since the rate last rose, before which no run is called collapsed: where an epoch is a step or two, epochs "
        "say little; 100 is ten times as far back as Adam's mean of gradients reaches",
    ] = 100
    stop: Annotated[bool, "end a collapsed run early (the paper ran them to the end)"] = True


@dataclass(frozen=True, kw_only=True)
class Training:
    """The sequential run that all strategies start from, and when a run ends."""

    batch_size: Annotated[int, AT_LEAST_1, "B, the sequential minibatch"] = 32
    learning_rate: Annotated[
        Annotated[float, POSITIVE] | Literal["edge", "tuned"],
        "eta; edge: the largest at which the sequential run still trains, looked for within `edge.between`; tuned: each batch "
        "size, or line that differs by more, has a rate and a warm-up of its own, looked for by `tuning`",
    ] = 0.00105
    warmup_steps: Annotated[
        int, AT_LEAST_0, "steps over which the learning rate rises linearly to what is planned, with every strategy"
    ] = 0
    schedule: Annotated[
        Schedule,
        "by what the planned learning rate is multiplied, the same in all steps of an epoch and with every strategy",
    ] = later(Constant())
    optimizer: Annotated[Optimizer, "how a gradient changes weights"] = field(default_factory=Adam)
    target: Annotated[
        Annotated[float, POSITIVE] | SequentialEpochs | None,
        "the validation loss to reach: a number, or {sequential_epochs: N, pilots: [SEED, ...]}; null: none, run all epochs",
    ] = 0.0016384
    stop_at_target: Annotated[
        bool,
        "false: runs go on to their last epoch; their time to the target is when they were first at it, unless they broke down "
        "later",
    ] = later(True)
    max_epochs: Annotated[int, AT_LEAST_1, "a run that hasn't reached the target by then is exhausted"] = 400
    collapse: Annotated[Collapse, "when a run counts as collapsed"] = field(default_factory=Collapse)
    reduction: Annotated[Literal["fast", "exact"], "exact: the same bits for every number of workers and ranks"] = (
        "fast"
    )
    all_reduce: Annotated[
        Literal["auto", "ring", "halving_doubling", "recursive_doubling", "two_level"],
        "how real ranks add up with reduction: fast, which decides how sums are rounded; auto: as MPI or NCCL chooses. The "
        "others need Open MPI; NCCL knows ring and, for two_level, its tree, and else chooses itself",
    ] = "auto"
    microbatch: Annotated[
        int,
        AT_LEAST_1,
        "samples in one backward pass of the exact reduction, in which whole ones go to workers; lines of the matrix whose "
        "workers take a whole batch_size each have passes of that",
    ] = 4
    evaluation_chunk: Annotated[
        int, AT_LEAST_1, "validation samples a worker evaluates at once; fixed, so that losses don't depend on ranks"
    ] = 8
    device: Annotated[Literal["auto", "cpu", "cuda"], "auto: a GPU where there is one"] = "auto"
    threads: Annotated[int, AT_LEAST_1, "CPU threads of a rank"] = 1

    def __post_init__(self) -> None:
        if self.reduction == "exact" and self.all_reduce != "auto":
            raise UserError(
                f"all_reduce: {self.all_reduce!r} is not allowed with reduction: exact, whose ranks swap their segments "
                "themselves; allowed: auto"
            )

    @property
    def plan(self) -> Plan:
        """The sequential run's step."""
        assert not isinstance(self.learning_rate, str), "the rate must be known before any step"
        return Plan(self.batch_size, self.learning_rate)

    @property
    def course(self) -> Course:
        """How the rate goes with every strategy."""
        return Course(warmup_steps=self.warmup_steps, schedule=self.schedule, max_epochs=self.max_epochs)


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """How often a run can be continued from; whichever comes first."""

    every_epochs: Annotated[int, AT_LEAST_1, "epochs between two checkpoints, at most"] = 10
    every_s: Annotated[float, POSITIVE, "seconds between two checkpoints, at most"] = 300.0
    keep: Annotated[bool, "leave the last ones in the cell's folder when the run is done"] = False


Rate = Annotated[float, POSITIVE]


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The sequential run at other learning rates: where does training break down?"""

    between: Annotated[
        tuple[Rate, Rate] | None,
        "for learning_rate: edge, where the search begins: a rate that trains, and one that is too large; either is moved, "
        "by factors of two, where it isn't so",
    ] = None
    epochs: Annotated[int, AT_LEAST_1, "epochs of each try, and of each run at one of `rates`"] = 20
    seeds: Annotated[
        tuple[Annotated[int, SEED], ...],
        NonEmpty(),
        "seeds outside the comparison, with which the search tries each rate",
    ] = (101, 102, 103, 104, 105)
    share: Annotated[
        float,
        Between(above=0, high=1),
        "a rate trains if this share of its seeds reaches in time what all seeds reach at the best one, and doesn't collapse",
    ] = 0.8
    tolerance: Annotated[float, AT_LEAST_0, "by how much they may miss it, as a share of that loss"] = 0.15
    resolution: Annotated[
        float, Between(low=1.05), "the search ends when the smallest rate that fails is at most so many times the edge"
    ] = 1.2
    rates: Annotated[tuple[Rate, ...], "rates at which the sequential run is trained too, to be shown"] = ()

    def __post_init__(self) -> None:
        if self.between and self.between[0] >= self.between[1]:
            low, high = self.between
            raise UserError(f"between: [{low:g}, {high:g}] is not allowed; allowed: the lower rate first")


@dataclass(frozen=True, kw_only=True)
class Network:
    """The modelled network of the emulated clock: hosts of some workers each, joined by a slower network."""

    latency_s: Annotated[float, AT_LEAST_0, "of one message between hosts"]
    bandwidth_bytes_per_s: Annotated[float, POSITIVE, "of one host's link"]
    workers_per_host: Annotated[Annotated[int, AT_LEAST_1] | None, "workers that share a host; null: all share one"] = 2
    host_latency_s: Annotated[float, AT_LEAST_0, "of one message inside a host"] = 5e-6
    host_bandwidth_bytes_per_s: Annotated[float, POSITIVE, "of a message inside a host"] = 5e9
    all_reduce: Annotated[
        Literal["two_level", "ring", "halving_doubling", "recursive_doubling", "direct"],
        "by topology, first inside hosts, then between them; Horovod's ring of all workers; Rabenseifner's, between all "
        "workers; all bytes between pairs; every worker with every other at once, as reduction: exact does it",
    ] = "two_level"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a scheduler is asked for, for one cell. How queues and hosts look is the site's: site.yaml."""

    minutes: Annotated[
        int,
        AT_LEAST_1,
        "that a cell is given; half as much again with each retry. A cell that needs longer goes on in the next job",
    ] = 240
    memory_mb: Annotated[int, Between(low=100), "of one rank"] = 4000


@dataclass(frozen=True, kw_only=True)
class NewNodules:
    """Nodules drawn from a trained model: what it is for."""

    count: Annotated[int, AT_LEAST_1, "nodules to draw"] = 64
    perturbation: Annotated[
        float, AT_LEAST_0, "of each parameter, in standard deviations of that parameter over the training nodules"
    ] = 0.3
    seed: Annotated[int, SEED, "the nodules depend on the trained model and this number alone"] = 1


NETWORKS = {
    "gigabit": Network(latency_s=50e-6, bandwidth_bytes_per_s=117e6),
    "ten_gigabit": Network(latency_s=20e-6, bandwidth_bytes_per_s=1.17e9),
    "infiniband": Network(latency_s=1.5e-6, bandwidth_bytes_per_s=12e9),
}


@dataclass(frozen=True, kw_only=True)
class StrategyEntry:
    """One line of the matrix: a strategy with its parameters, and the numbers of workers it is tried at."""

    kind: Annotated[str | None, "the strategy, or the path of a file of your own; the entry's own name if left out"] = (
        None
    )
    workers: Annotated[tuple[Annotated[int, WORKERS], ...] | None, "the study's workers if left out"] = None
    seeds: Annotated[
        dict[str, tuple[Annotated[int, SEED], ...]], "at some numbers of workers, seeds in place of the study's"
    ] = field(default_factory=dict)
    parameters: Annotated[dict[str, Any], "the strategy's own parameters"] = field(default_factory=dict)
    optimizer: Annotated[Optimizer | None, "in place of the study's, or of one that belongs to the strategy"] = None
    update: Annotated[Update | None, "the update rule; null: the strategy's own, or synchronous"] = None
    around: Annotated[
        Annotated[float, POSITIVE] | None, "in place of tuning.around, for an optimizer whose rates are of another size"
    ] = later(None)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One complete matrix: strategies x workers x seeds, on one data set and one clock."""

    dataset: Annotated[str | None, "one of `datasets`; null for a task that brings its own samples along"] = None
    task: Annotated[Task, "what is trained"] = field(default_factory=Autoencoding)
    strategies: Annotated[dict[str, StrategyEntry], "the lines of the matrix"]
    workers: Annotated[
        tuple[Annotated[int, WORKERS], ...], NonEmpty(), "the columns of the matrix; 1 is always run"
    ] = (1, 2, 4, 8, 16, 32)
    seeds: Annotated[
        Annotated[tuple[Annotated[int, SEED], ...], NonEmpty()] | Literal["auto"],
        "replicates: initial weights and order of samples; auto: looks after 3, 5, 8 and 12 of them, and more only where it is "
        "still open who is faster",
    ] = (1,)
    clock: Annotated[
        Literal["wall", "emulated"], "wall: real seconds of real ranks; emulated: measured compute, modelled network"
    ] = "wall"
    network: Annotated[
        Literal["gigabit", "ten_gigabit", "infiniband", "measured"] | Network, "of the emulated clock"
    ] = "gigabit"
    timings: Annotated[
        str | None,
        "of the emulated clock: a file with another machine's seconds, or the name of one that is shipped: paper_k80, "
        "two_cores; null: measured on this machine",
    ] = None
    evaluation: Annotated[
        Literal["shared", "everywhere"] | None,
        "on the emulated clock, who evaluates: each worker its share of the validation samples, or each all of them; null: "
        "as the timings say, else shared",
    ] = None
    stragglers: Annotated[
        Annotated[float, Between(low=0, high=1)] | Literal["measured"] | None,
        "on the emulated clock, a step lasts as long as the slowest worker's: with seconds that spread so much (0.05: "
        "5 %), or with the laps that were measured, the machine's own noise among them; null: all are equally fast, on a quiet machine",
    ] = None
    trajectories: Annotated[
        str | None,
        "a study whose runs these are: nothing is trained, only network, timings and clock are this study's own",
    ] = None
    share_trajectories: Annotated[
        bool,
        "train runs once that take the same path to the bit (reduction: exact, clock: emulated), in all studies together",
    ] = True
    max_ranks: Annotated[int | None, AT_LEAST_1, "MPI processes of a cell, at most; null: one a worker"] = None
    alone: Annotated[bool, "a cell has the machine to itself: for wall clocks on one machine"] = False
    compare_clock_with: Annotated[
        str | None, "a study of the same cells on the other clock: report the emulation's error"
    ] = None
    model: Annotated[Model, "the network of a task that takes one"] = field(default_factory=DeepDensity)
    training: Annotated[Training, "how it is trained"] = field(default_factory=Training)
    edge: Annotated[Edge, "the sequential run at several learning rates"] = field(default_factory=Edge)
    tuning: Annotated[Tuning, "the search for the rate of each batch size, or line"] = field(default_factory=Tuning)
    checkpoints: Annotated[Checkpoints, "how often a run can be continued from"] = field(default_factory=Checkpoints)
    job: Annotated[Job, "what a scheduler is asked for"] = field(default_factory=Job)
    new_nodules: Annotated[NewNodules, "nodules drawn from the sequential run's model"] = field(
        default_factory=NewNodules
    )

    def __post_init__(self) -> None:
        if self.clock == "wall" and self.max_ranks is not None:
            raise UserError(
                f"max_ranks: {self.max_ranks} is not allowed; allowed: null with clock: wall, whose workers are real ranks"
            )

    @property
    def pilots(self) -> tuple[int, ...]:
        """Seeds outside the comparison, which set its target."""
        target = self.training.target
        return target.pilots if isinstance(target, SequentialEpochs) else ()

    def strategy(self, name: str) -> Strategy:
        """The strategy of a line of the matrix; the sequential run's for the shared one-worker cells."""
        if name == SEQUENTIAL:
            return Strategy()
        entry = self.strategies[name]
        kind = find(Strategy, entry.kind or name, f"strategies.{name}")
        strategy: Strategy = build(kind, entry.parameters, f"strategies.{name}.parameters")
        return strategy

    def parts(self, name: str) -> list[type[Part]]:
        """The parts that the runs of a line of the matrix are made of: a user's own files are among them, if there are any."""
        entry = self.strategies.get(name)
        chosen: list[Part | None] = [
            self.task,
            self.model,
            self.training.optimizer,
            self.training.schedule,
            self.strategy(name) if entry else None,
        ]
        chosen += [entry.optimizer, entry.update] if entry else []
        return [type(part) for part in chosen if part is not None]

    @property
    def first_seeds(self) -> tuple[int, ...]:
        """The seeds of every entry of the matrix that has none of its own."""
        return numbered(LOOKS[0]) if isinstance(self.seeds, str) else self.seeds

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds of all entries together, which the sequential run has."""
        own = (seeds for entry in self.strategies.values() for seeds in entry.seeds.values())
        return tuple(dict.fromkeys(seed for seeds in (self.first_seeds, *own) for seed in seeds))

    def seeds_of(self, name: str, workers: int) -> tuple[int, ...]:
        """The seeds of an entry of the matrix; with one worker, those of all."""
        return self.all_seeds if workers == 1 else self.strategies[name].seeds.get(str(workers), self.first_seeds)

    def workers_of(self, name: str) -> tuple[int, ...]:
        """The numbers of workers at which a line of the matrix is run, 1 included, in rising order."""
        return tuple(sorted({1, *(self.strategies[name].workers or self.workers)}))


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of config.yaml."""

    study: Annotated[str, "the study, or the comparison, that a bare `snakemake` makes"]
    site: Annotated[
        str | None, "the file of a cluster's own values, as in site.example.yaml; null: site.yaml, where there is one"
    ] = None
    price: Annotated[float | None, AT_LEAST_0, "of a GPU-hour, for advice"] = None
    datasets: Annotated[dict[str, Dataset], NonEmpty(), "data sets by name"]
    studies: Annotated[dict[str, Study], NonEmpty(), "studies by name"]
    comparisons: Annotated[dict[str, Comparison], "comparisons of studies by name"] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict, init=False)
    """Studies that name a file of a user's own which can't be used, each with what is wrong."""


def numbered(count: int) -> tuple[int, ...]:
    """So many seeds: 1, 2, 3, ..."""
    return tuple(range(1, count + 1))
