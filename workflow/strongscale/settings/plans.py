"""What a strategy plans, as far as that is known before anything runs."""

from strongscale.common.errors import UserError
from strongscale.settings.config import Training
from strongscale.strategies.base import Plan, Progress, Strategy, next_plan

MANY = 2**31  # samples, where it isn't known how many there are


def check_workers(strategy: Strategy, training: Training, workers: int, key: str) -> int:
    """The samples of a minibatch; more workers than that are refused."""
    batch = first_plan(strategy, training, workers).batch
    if workers > batch:
        raise UserError(
            f"{key}: {workers} workers is not allowed for a minibatch of {batch} samples; allowed: at most one worker a sample"
        )
    return batch


def first_plan(strategy: Strategy, training: Training, workers: int, epoch: int = 0) -> Plan:
    """What a strategy plans for an epoch's first step, of many samples, at a base rate of 1 where that isn't known yet."""
    rate = 1.0 if isinstance(training.learning_rate, str) else training.learning_rate
    return next_plan(strategy, Plan(training.batch_size, rate), Progress(workers=workers, samples=MANY, epoch=epoch))
