"""What advice on a study is drawn from: a small study beside it, on one device, whose runs the matrix takes over where it can."""

import itertools
from dataclasses import replace

from strongscale.common.errors import UserError
from strongscale.settings.config import StrategyEntry, Study

SUFFIX = "_advice"
GROWING = "weak"
"""The line whose minibatch grows with the workers: three batch sizes tell how many more steps a larger one saves."""
WORKERS = (1, 2, 4)
SEEDS = 3


def probe(study: Study, key: str) -> Study:
    """One worker, and minibatches of two and four times its own, with few seeds."""
    if study.training.target is None:
        raise UserError(f"{key}.training.target: null is not allowed for advice, which is on the time to a target")
    taken = {*study.pilots, *study.tuning.seeds}
    others = (seed for seed in itertools.count(1) if seed not in taken and seed not in study.first_seeds)
    seeds = tuple(itertools.islice(itertools.chain(study.first_seeds, others), SEEDS))
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
