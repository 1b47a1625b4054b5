"""A study's runs as the law of batch size takes them. Their seconds are epochs here (analysis/targets.py, `in_epochs`)."""

import math
from collections.abc import Sequence

import numpy as np

from strongscale.advice.answer import Answer, answer
from strongscale.advice.law import FEWEST_BATCHES
from strongscale.advice.runs import Runs
from strongscale.analysis.runs import Run, StudyRuns
from strongscale.settings.plans import first_plan


def epochs_of(run: Run) -> float:
    """To the target, between the ends of two; of a run that doesn't arrive, how many it had."""
    return float(run.result.between_s or run.result.time_to_target_s or run.result.epochs)


def batch_of(counted: StudyRuns, line: str, workers: int) -> int:
    """Samples of a step."""
    return first_plan(counted.study.strategy(line), counted.study.training, workers).batch


def steps_an_epoch(counted: StudyRuns, batch: int) -> int:
    """The last, smaller one among them."""
    num_training = next(run.result.num_training for run in counted.runs if run.result.num_training)
    return math.ceil(num_training / batch)


def law_of(counted: StudyRuns, line: str, workers: Sequence[int]) -> Answer | None:
    """The law of a line's runs on these numbers of workers; None where there are too few batch sizes."""
    own = [(run, batch_of(counted, line, count)) for count in workers for run in counted.of(line, count)]
    if len({batch for _, batch in own}) < FEWEST_BATCHES:
        return None
    return answer(
        Runs(
            batches_N=np.array([batch for _, batch in own], dtype=float),
            steps_N=np.array([epochs_of(run) * steps_an_epoch(counted, batch) for run, batch in own]),
            reached_N=np.array([run.result.converged for run, _ in own]),
        )
    )
