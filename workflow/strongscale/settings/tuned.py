"""What a study tunes, and where a cell takes its rate from.

Lines that bring nothing of their own differ by their minibatch alone, so each batch size is tuned once for all of them. A line
with an update rule, an optimizer or a growing minibatch of its own is tuned by itself, at each number of workers.
"""

from dataclasses import dataclass, replace

from strongscale.common.errors import UserError
from strongscale.settings import cells
from strongscale.settings.config import SEQUENTIAL, Study
from strongscale.settings.looks import at_most
from strongscale.settings.plans import MANY, first_plan
from strongscale.strategies.base import Plan, Progress, next_plan

LATE = 10**6  # epochs, by when every warm-up is over


def is_tuned(study: Study) -> bool:
    """Whether each batch size, or line, has a rate of its own."""
    return study.training.learning_rate == "tuned"


@dataclass(frozen=True, order=True)
class Search:
    """What is tuned: a batch size, for every line that only differs by it, or one line of the matrix at some workers."""

    batch: int
    """Samples of a minibatch."""
    line: str = SEQUENTIAL
    workers: int = 1

    @property
    def is_own(self) -> bool:
        """Whether it is one line's, which is trained in its own way."""
        return self.line != SEQUENTIAL

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.line}_{self.workers:02d}workers" if self.is_own else f"batch{self.batch}"

    def __str__(self) -> str:
        return (
            f"{self.line}, {self.workers} worker{'s' if self.workers > 1 else ''}"
            if self.is_own
            else f"batch {self.batch}"
        )

    @property
    def file(self) -> str:
        """Where what it found stands, in the study's folder."""
        return f"tuning/{self.name}/tuned.json"

    @property
    def receipt(self) -> str:
        """What Snakemake is told of it, in the study's folder."""
        return f"receipts/tuning.{self.name}.json"


def search_of(study: Study, line: str, workers: int) -> Search:
    """Where a cell's rate is looked for; outside the matrix with the sequential run's."""
    if line not in study.strategies:
        return Search(study.training.batch_size)
    batch = first_plan(study.strategy(line), study.training, workers).batch
    early, late = _plans(study, line, workers)
    if not cells.brings_nothing(study, line):
        return Search(batch, line, workers)
    if early.batch == late.batch:
        return Search(batch)
    return Search(batch, line, 1 if (early, late) == _plans(study, line, 1) else workers)


def searches(study: Study) -> list[Search]:
    """All of a study, the batch sizes first, and of those the sequential one."""
    lines = {search_of(study, line, workers) for line in study.strategies for workers in study.workers_of(line)}
    return sorted(lines | {Search(study.training.batch_size)}, key=lambda one: (one.is_own, one))


def rate_file(study: Study, cell: cells.Cell) -> str:
    """Where the rate stands that is looked for before this cell, in the study's folder."""
    if is_tuned(study):
        return search_of(study, cell.strategy, cell.workers).file
    return "learning_rate.json"


def own_part(study: Study, line: str = SEQUENTIAL) -> Study:
    """What a search depends on: neither on other lines, nor on the target, nor on how the study's runs end."""
    training = replace(study.training, target=None, stop_at_target=True, max_epochs=1)
    own = study.strategies.get(line)
    tuning = replace(study.tuning, around=own.around) if own and own.around else study.tuning
    return replace(cells.own_part(replace(study, training=training), line), tuning=tuning)


def check(study: Study, key: str) -> None:
    """What a study needs whose rates are tuned."""
    if not is_tuned(study):
        return
    if study.tuning.around is None:
        raise UserError(
            f"{key}.tuning.around: null is not allowed; allowed: a rate to search about, for learning_rate: tuned"
        )
    if study.training.warmup_steps:
        raise UserError(
            f"{key}.training.warmup_steps: {study.training.warmup_steps} is not allowed; allowed: 0, for learning_rate: tuned "
            "finds the warm-up too"
        )
    both = sorted({*study.tuning.seeds} & {*at_most(study).all_seeds, *study.pilots})
    if both:
        raise UserError(
            f"{key}.tuning.seeds: {both[0]} is not allowed; allowed: seeds that are neither among the study's nor its pilots'"
        )
    for line in study.strategies:
        _check_line(study, line, f"{key}.strategies.{line}")


def _check_line(study: Study, line: str, key: str) -> None:
    """A rate that is only multiplied is tuned already: by the search of its minibatch; a number of learners is to be known."""
    if study.strategy(line).learners_each == "auto":
        raise UserError(f"{key}.parameters.learners: auto is not allowed with learning_rate: tuned; allowed: a number")
    own = [search_of(study, line, workers) for workers in study.workers_of(line)]
    if study.strategies[line].around is not None and not all(search.is_own for search in own):
        raise UserError(f"{key}.around: not allowed for a line that is tuned by its batch size alone; leave it out")
    if not cells.brings_nothing(study, line):
        return
    for workers in study.workers_of(line):
        early, late = _plans(study, line, workers)
        if early.batch == late.batch and {early.rate, late.rate} != {1.0}:
            raise UserError(
                f"{key}: a strategy that only changes the rate is not allowed with learning_rate: tuned, where it would be weak "
                "again; leave it out"
            )


def _plans(study: Study, line: str, workers: int) -> tuple[Plan, Plan]:
    """A line's plans of a first step and of a late one, of a base rate of 1."""
    strategy, base = study.strategy(line), Plan(study.training.batch_size, 1.0)
    early, late = (
        next_plan(strategy, base, Progress(workers=workers, samples=MANY, epoch=epoch)) for epoch in (0, LATE)
    )
    return early, late
