"""Which batch sizes a study tunes, which of them a cell takes its rate from, and where that lies."""

from dataclasses import replace

from strongscale.common.errors import UserError
from strongscale.settings import cells
from strongscale.settings.config import SEQUENTIAL, Study
from strongscale.settings.looks import at_most
from strongscale.settings.plans import MANY, first_plan
from strongscale.strategies.base import Plan, Progress, next_plan

LATE = 10**6  # epochs, by when every warm-up is over


def is_tuned(study: Study) -> bool:
    """Whether each batch size has a rate of its own."""
    return study.training.learning_rate == "tuned"


def batch_of(study: Study, line: str, workers: int) -> int:
    """The minibatch of a cell, by which its rate is looked up; outside the matrix the sequential run's."""
    if line not in study.strategies:
        return study.training.batch_size
    return first_plan(study.strategy(line), study.training, workers).batch


def batches(study: Study) -> list[int]:
    """The minibatches that are tuned, the sequential one first."""
    lines = {batch_of(study, line, workers) for line in study.strategies for workers in study.workers_of(line)}
    return sorted(lines | {study.training.batch_size})


def file_of(batch: int) -> str:
    """Where the rate of a batch size stands, in the study's folder."""
    return f"tuning/batch{batch}/tuned.json"


def receipt_of(batch: int) -> str:
    """What Snakemake is told of the search, in the study's folder."""
    return f"receipts/tuning.batch{batch}.json"


def rate_file(study: Study, cell: cells.Cell) -> str:
    """Where the rate stands that is looked for before this cell, in the study's folder."""
    if is_tuned(study):
        return file_of(batch_of(study, cell.strategy, cell.workers))
    return "learning_rate.json"


def own_part(study: Study) -> Study:
    """What the search depends on: neither on the matrix, nor on the target, nor on how the study's runs end."""
    training = replace(study.training, target=None, stop_at_target=True, max_epochs=1)
    return replace(cells.own_part(replace(study, training=training), SEQUENTIAL), tuning=study.tuning)


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
    """Every run has the rate that was found for its minibatch, so it takes that rate, and keeps its minibatch."""
    if not cells.brings_nothing(study, line):
        raise UserError(
            f"{key}: an optimizer or update rule of its own, or a plan that depends on gradients, is not allowed with "
            "learning_rate: tuned, which tunes the study's own; leave it out"
        )
    strategy, base = study.strategy(line), Plan(study.training.batch_size, 1.0)
    for workers in study.workers_of(line):
        early, late = (
            next_plan(strategy, base, Progress(workers=workers, samples=MANY, epoch=epoch)) for epoch in (0, LATE)
        )
        if early != late or early.rate != base.rate:
            raise UserError(
                f"{key}: a strategy that changes the rate is not allowed with learning_rate: tuned; allowed: strategies that "
                "leave it as it is, as strong and weak do"
            )
