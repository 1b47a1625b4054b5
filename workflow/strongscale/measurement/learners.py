"""A worker's steps with learners, to be timed: those that cells need, and those that tell how many learners pay."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from strongscale.common.errors import UserError
from strongscale.gradients.shares import size_of, split
from strongscale.measurement import steps
from strongscale.measurement.laps import Work, measure
from strongscale.timing.learners import MOST, does_last_pay, number_of
from strongscale.timing.timings import Several
from strongscale.training.loop import Trainer
from strongscale.updates.sma import Sma

log = logging.getLogger(__name__)


@dataclass
class Learners(Work):
    """A worker's whole step with its learners: their passes and updates, and their average."""

    learners: int = 1

    @property
    def several(self) -> Several:
        """What timings.json tells of it."""
        return Several(**asdict(self.duration), learners=self.learners)


def to_time(trainer: Trainer, asked: Sequence[str], limit_s: float) -> tuple[list[Learners], list[Learners]]:
    """Those that were tried, and timed for that, and those that are still to be timed, of SAMPLES:WORKERS:LEARNERS."""
    wanted = [_parsed(text) for text in asked]
    tried = {
        each: try_out(trainer, each, limit_s) for each in sorted({batch // n for batch, n, k in wanted if k is None})
    }
    numbers = {each: number_of([work.seconds for work in works]) for each, works in tried.items()}
    known = [work for works in tried.values() for work in works]
    done = {(work.learners, work.samples) for work in known}
    needed = sizes_of(wanted, trainer.progress.samples, numbers) - done
    return known, [_work(trainer, number, samples) for number, samples in sorted(needed)]


def try_out(trainer: Trainer, each: int, limit_s: float) -> list[Learners]:
    """Steps of 1, 2, 3, ... learners of so many samples each, timed by turns, up to the first learner that doesn't pay."""
    most = min(MOST, trainer.progress.samples // each)
    if not most:
        raise UserError(
            f"learners: 'auto' is not allowed for a minibatch of {each} samples, of {trainer.progress.samples} there are; "
            "allowed: a number, or a smaller training.batch_size"
        )
    works = [_work(trainer, 1, each)]
    measure(works, trainer.device, limit_s if most == 1 else 0.0)
    while len(works) < most and does_last_pay([work.seconds for work in works]):
        works.append(_work(trainer, len(works) + 1, (len(works) + 1) * each))
        measure(works, trainer.device, limit_s)
    seconds = [work.seconds for work in works]
    told = ", ".join(f"{each / each_s:.4g}" for each_s in (one / k for k, one in enumerate(seconds, start=1)))
    log.info("learners of %d samples: %d pay; samples a second with 1, 2, ...: %s", each, number_of(seconds), told)
    return works


def sizes_of(
    wanted: Sequence[tuple[int, int, int | None]], total: int, numbers: Mapping[int, int]
) -> set[tuple[int, int]]:
    """The learners of a worker and its samples, of whole minibatches and of an epoch's last; `numbers`: those that were found."""
    found = set()
    for batch, workers, given in wanted:
        learners = numbers[batch // workers] if given is None else given
        whole = batch if given else batch * learners
        for samples in {min(whole, total), total % whole} - {0} if learners > 1 else ():
            shares = [size_of(share) for share in split(samples, workers * learners)]
            found |= {(learners, sum(shares[first:][:learners])) for first in range(0, len(shares), learners)}
    return {(learners, samples) for learners, samples in found if samples >= learners}


def _parsed(text: str) -> tuple[int, int, int | None]:
    """Samples, workers and learners of each; None where these are to be found."""
    batch, workers, learners = text.split(":")
    return int(batch), int(workers), None if learners == "auto" else int(learners)


def _work(trainer: Trainer, learners: int, samples: int) -> Learners:
    """The same trainer's step with learners, who all meet in every step."""
    rule = Sma(learners=learners)
    rule.begin(trainer.update.engine)
    rule.prepare(samples)
    return Learners(
        f"step of {learners} learners", samples, steps.whole(replace(trainer, update=rule), samples), learners=learners
    )
