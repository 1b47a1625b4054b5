"""What advice on a study is drawn from: a small study beside it, on one device, whose runs the matrix takes over where it can."""

from dataclasses import replace

from strongscale.common.errors import UserError
from strongscale.settings.config import StrategyEntry, Study

SUFFIX = "_advice"
GROWING = "weak"
"""The line whose minibatch grows with the workers: three batch sizes tell how many more steps a larger one saves."""
WORKERS = (1, 2, 4)
SEEDS = 2


def probe(study: Study, key: str) -> Study:
    """One worker, and minibatches of two and four times its own, with few seeds."""
    if study.training.target is None:
        raise UserError(f"{key}.training.target: null is not allowed for advice, which is on the time to a target")
    seeds = study.first_seeds[:SEEDS]
    return replace(
        study,
        strategies={GROWING: StrategyEntry()},
        workers=WORKERS,
        seeds=seeds,
        clock="emulated",
        max_ranks=1,
        network=study.network if study.network != "measured" else "gigabit",
        timings=None,
        trajectories=None,
        compare_clock_with=None,
        alone=False,
        edge=replace(study.edge, rates=()),
    )
