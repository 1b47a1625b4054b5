"""What an epoch of strong scaling is made of, part by part, and what keeps it from n times the speed of one worker.

On the emulated clock this is computed, from the steps, the timings and the network, for any number of workers up to one
sample each. On the wall clock it is what was measured.

Efficiency is T(1) / (n·T(n)): strong scaling takes as many epochs on any number of workers. The other worker-seconds are
lost, each part's share being (n·part(n) - part(1)) / (n·T(n)); with the efficiency they are 1.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from strongscale.analysis.clocked import Machine, machine_of
from strongscale.analysis.runs import Run, StudyRuns
from strongscale.analysis.tables import time_per_epoch
from strongscale.timing.emulation import Emulation
from strongscale.timing.steps import Steps
from strongscale.timing.timings import Timings

PARTS = ("passes", "update", "network", "evaluation", "other")
TIMED, MEASURED = "timed", "measured"
BETWEEN = "between two that were timed"
BELOW = "at most: smaller than any timed, and taken to last as long as the smallest"
BEYOND = "beyond those that were timed"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Seconds of an epoch on so many workers, by part."""

    workers: int
    shard: int
    """Samples of a worker's share of a whole minibatch."""
    shard_known: str
    """How its seconds are known."""
    parts: dict[str, float]

    @property
    def total_s(self) -> float:
        """All of it."""
        return sum(self.parts.values())

    def efficiency(self, one: "Epoch") -> float:
        """By the epoch of one worker: a share."""
        return one.total_s / (self.workers * self.total_s)

    def lost(self, one: "Epoch") -> dict[str, float]:
        """The worker-seconds that each part costs beyond those of one worker, as shares of all."""
        return {
            name: (self.workers * seconds - one.parts[name]) / (self.workers * self.total_s)
            for name, seconds in self.parts.items()
        }


def epochs_of(runs: StudyRuns) -> list[Epoch]:
    """The epochs of strong scaling, by rising numbers of workers from one on; none where one worker has no whole epoch."""
    workers = runs.workers("strong") if "strong" in runs.entries("strong") else []
    if 1 not in workers:
        return []
    if runs.study.clock == "wall":
        found = [measured(count, runs.of("strong", count), runs.study.training.batch_size) for count in workers]
    else:
        found = computed_of(runs, machine_of(runs.folder, runs.study, ["strong"]), workers)
    lasting = [epoch for epoch in found if epoch.total_s > 0]
    return lasting if lasting and lasting[0].workers == 1 else []


def computed_of(runs: StudyRuns, machine: Machine, workers: Sequence[int]) -> list[Epoch]:
    """The study's own numbers of workers, each by its own steps; others by the steps that these would be there."""
    emulation = machine.emulations["strong"]
    found = []
    for count in up_to_batch(workers, runs.study.training.batch_size):
        run = runs.of("strong", count if count in workers else max(workers))[0]
        if steps := _steps_on(run, count):
            found.append(computed(emulation, steps))
    return found


def up_to_batch(workers: Sequence[int], batch: int) -> list[int]:
    """The study's numbers of workers, and beyond them powers of two as long as each worker has a sample."""
    powers = [2**exponent for exponent in range(batch.bit_length())]
    return sorted({*workers, *(count for count in (*powers, batch) if count > max(workers))})


def _steps_on(run: Run, workers: int) -> Steps | None:
    """The run's steps on so many workers; none where their path would be another one, or where there are no whole epochs."""
    assert run.steps is not None, "load gives steps to all runs on the emulated clock"
    steps, rule = run.steps, run.settings.update_rule
    is_other = workers != steps.workers and any(
        rule.work(kind.samples, workers, steps.gradient_bytes) is None for kind in steps.kinds
    )
    return None if is_other or not steps.epochs else steps.on(workers, rule)


def computed(emulation: Emulation, steps: Steps) -> Epoch:
    """The mean epoch on the emulated clock; its parts add up to the clock's seconds."""
    update_s, slowest = emulation.timings.update.seconds, emulation.slowest_of(steps.workers)
    counts = Counter[int]()
    for epoch in steps.epochs:
        counts.update(dict(epoch))
    parts = dict.fromkeys(PARTS, 0.0)
    for number, count in counts.items():
        kind = steps.kinds[number]
        computed_s, waited_s = emulation.step(kind)
        each = count / len(steps.epochs)
        updates_s = kind.num_updates * update_s * slowest
        parts["passes"] += each * (computed_s - updates_s)
        parts["update"] += each * updates_s
        parts["network"] += each * waited_s
    parts["network"] += emulation.losses_s(steps)
    parts["evaluation"] = emulation.evaluation_s(steps)
    parts["other"] = emulation.timings.epoch.seconds
    usual = steps.kinds[counts.most_common(1)[0][0]]
    shard = max(size for passes in usual.passes for size in passes)
    return Epoch(workers=steps.workers, shard=shard, shard_known=_how_known(emulation.timings, shard), parts=parts)


def _how_known(timings: Timings, shard: int) -> str:
    sizes = [duration.samples for duration in timings.steps]
    if shard in sizes:
        return TIMED
    return BELOW if shard < sizes[0] else BETWEEN if shard < sizes[-1] else BEYOND


def measured(workers: int, runs: Sequence[Run], batch: int) -> Epoch:
    """An epoch on the wall clock, where the update is a part of the passes."""
    each = time_per_epoch(runs)
    parts = {"passes": each["compute"], "update": 0.0, "network": each["communication"]}
    parts |= {name: each[name] for name in ("evaluation", "other")}
    return Epoch(workers=workers, shard=math.ceil(batch / workers), shard_known=MEASURED, parts=parts)
