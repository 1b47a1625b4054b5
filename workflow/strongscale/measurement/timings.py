"""Measure how long one worker's work lasts on this machine: timings.json.

Whole steps as runs take them, in fast mode, at every shard size asked for; the update; a chunk of the evaluation; an epoch's
bookkeeping; and steps of several learners, where a study has such. By turns over all of them, in rounds, so that a slow minute hits all alike, until each is known well enough, or a
limit is reached.

The estimator is the first decile: a tenth of the laps is shorter. Other processes, interrupts and neighbours on the host only
ever make a lap longer, so the quiet machine is at the lower end; the very shortest lap would depend on how many there are. On
one CPU thread a lap is the seconds in which the thread ran, so that waiting for a busy core doesn't count; with several threads,
or on a GPU, it is the time that passed. What can't be taken out is what shares caches, memory and clock frequency with others:
so the load is taken down, and said where it was high.
"""

import argparse
import datetime
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from strongscale.common import provenance
from strongscale.common.command import run
from strongscale.common.files import write_json
from strongscale.common.schema import build, plain
from strongscale.distributed import world
from strongscale.gradients.passes import rows_of
from strongscale.gradients.shares import size_of, split
from strongscale.measurement import learners, steps
from strongscale.measurement.laps import WANTED, Lap, Work, first_decile, measure
from strongscale.settings.cells import Cell
from strongscale.settings.config import SEQUENTIAL, Checkpoints, Study
from strongscale.settings.timed import work_of
from strongscale.timing.timings import Load, Timings
from strongscale.training import prepare, setup
from strongscale.training.loop import Trainer

log = logging.getLogger(__name__)

NUM_DRAWS = 50
MINIBATCHES = (
    "SAMPLES:WORKERS, each shared out equally; or SAMPLES:WORKERS:LEARNERS, with so many learners a worker, or auto: as many as "
    "pay are found, and samples are those of one learner a worker"
)
BUSY = 0.1
"""Of a core, kept busy by others: more is worth a doubt."""


def sizes_of(minibatches: list[str], num_training: int) -> list[int]:
    """The shards of minibatches given as SAMPLES:WORKERS, those of an epoch's last, smaller one too."""
    found: set[int] = set()
    for text in minibatches:
        batch, workers = map(int, text.split(":"))
        for samples in {min(batch, num_training), num_training % batch} - {0}:
            found |= {size_of(shard) for shard in split(samples, workers)} - {0}
    return sorted(found)


def things_to_time(trainer: Trainer, sizes: list[int]) -> list[Work]:
    """Steps of all sizes, the update, evaluations of both chunk sizes, an epoch's bookkeeping."""
    engine, evaluation = trainer.update.engine, trainer.evaluation
    state = dict(trainer.update.shared())

    def chunk(size: int) -> Callable[[], object]:
        own = rows_of(evaluation.validation, slice(0, size))
        return lambda: evaluation.passes.losses(own)

    for size in sizes:
        trainer.update.prepare(size)
    chunks = sorted({size_of(one) for one in evaluation.chunks})
    works = [Work("step", size, steps.whole(trainer, size)) for size in sizes]
    works.append(Work("update", 0, lambda: engine.apply(1, 0.0, state)))
    works += [Work("evaluation", size, chunk(size)) for size in chunks]
    return [*works, Work("epoch", 0, trainer.bookkeep_once)]


@contextmanager
def ahead_of_others() -> Iterator[bool]:
    """This process goes first, where the system allows that; whether it does."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    allowed = False
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        allowed = True
    yield allowed
    if allowed:
        os.setpriority(os.PRIO_PROCESS, 0, before)


class Onlooker:
    """What else the machine does: Linux alone tells."""

    def __init__(self) -> None:
        self._start = self._read()

    def load(self) -> Load | None:
        """Since this began to look."""
        now, cores = self._read(), os.cpu_count() or 1
        if self._start is None or now is None:
            return None
        passed_s, busy_s, own_s, waited_s = (new - old for new, old in zip(now, self._start, strict=True))
        passed_s = max(passed_s, 1e-9)
        return Load(others=max(0.0, busy_s - own_s) / passed_s, cores=cores, waited=max(0.0, waited_s) / passed_s)

    @staticmethod
    def _read() -> tuple[float, float, float, float] | None:
        """Seconds that passed, that all cores were busy, that this process ran, and that it waited for a core."""
        try:
            first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
            waited = Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return None
        user, nice, system, _, _, irq, softirq, steal = map(int, first[1:9])
        busy_s = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy_s, time.process_time(), int(waited) / 1e9


def doubts(works: list[Work], load: Load | None) -> list[str]:
    """What a reader must know, in sentences."""
    found = []
    vague = [work for work in works if work.uncertainty > WANTED]
    if vague:
        worst = max(vague, key=lambda work: work.uncertainty)
        what = f"{worst.name} of {worst.samples} samples" if worst.samples else worst.name
        found.append(
            f"{len(vague)} of {len(works)} durations are known worse than to {100 * WANTED:.0f} %, the worst ({what}) to "
            f"{100 * worst.uncertainty:.0f} %"
        )
    if load is None:
        found.append("what else the machine did meanwhile isn't known")
    elif load.others > BUSY:
        found.append(
            f"the machine was busy: other processes kept {load.others:.1f} of {load.cores} cores at work, so that these "
            "seconds may be some per cent too long; to be measured again on a quiet machine"
        )
    return found


def timings_of(study: Study, dataset: Path, minibatches: list[str], limit_s: float) -> Timings:
    """Measure this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "cells", SEQUENTIAL, "01workers", "seed1")
        cell = prepare.resolve(study, Cell("timings", SEQUENTIAL, 1, 1), folder=folder, dataset=dataset)
        cell = replace(cell, dataset=str(dataset.resolve()), checkpoints=Checkpoints(every_epochs=10**6, every_s=1e9))
        write_json(folder / "cell.json", plain(cell))
        ranks = world.create()
        trainer = setup.prepare(folder, ranks)
        single = [text for text in minibatches if text.count(":") == 1]
        works = things_to_time(trainer, sizes_of(single, trainer.progress.samples))
        onlooker, started_at = Onlooker(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with ahead_of_others() as is_ahead:
            tried, needed = learners.to_time(trainer, sorted({*minibatches} - {*single}), limit_s)
            measure([*works, *needed], trainer.device, limit_s)
        load = onlooker.load()
    several = sorted([*tried, *needed], key=lambda work: (work.learners, work.samples))
    works += several
    largest = max((work for work in works if work.name == "step"), key=lambda work: work.samples)
    for work in works:
        what = f"{work.name}, {work.samples} samples" if work.samples else work.name
        log.info("%s: %.4g s (%d laps, to %.1f %%)", what, work.seconds, len(work.laps), 100 * work.uncertainty)
    own = setup.describe_origin(ranks, trainer.device)
    return Timings(
        origin="measured",
        device=own["device"],
        work=work_of(study, SEQUENTIAL),
        gradient_bytes=trainer.steps.gradient_bytes,
        steps=tuple(work.duration for work in works if work.name == "step"),
        update=next(work.duration for work in works if work.name == "update"),
        evaluation=tuple(work.duration for work in works if work.name == "evaluation"),
        epoch=next(work.duration for work in works if work.name == "epoch"),
        learners=tuple(work.several for work in several),
        draws=_draws(largest.laps) if trainer.device.type == "cpu" else (),  # a GPU's laps are means of several steps
        doubts=tuple(doubts(works, load)),
        load=load,
        made={
            "at": started_at,
            "hosts": own["hosts"],
            "versions": own["versions"],
            "git_commit": own["git_commit"],
            "code_hash": provenance.code_hash(setup.code_of(cell)),
            "ahead_of_others": is_ahead,
            "estimator": "first decile of the laps",
            "laps_are": "CPU seconds of the thread" if Lap(trainer.device).counts_own else "seconds that passed",
        },
    )


def _draws(laps: list[float]) -> tuple[float, ...]:
    """Quantiles of the laps, by the quiet machine's seconds."""
    ordered, quiet_s = sorted(laps), first_decile(laps)
    places = [round(rank * (len(ordered) - 1) / (NUM_DRAWS - 1)) for rank in range(NUM_DRAWS)]
    return tuple(round(ordered[place] / quiet_s, 4) for place in places)


def main(arguments: list[str]) -> None:
    """Measure one worker's seconds on this machine and write timings.json."""
    parser = argparse.ArgumentParser(prog="strongscale.measurement.timings", description=main.__doc__)
    parser.add_argument(
        "--settings", required=True, help="the part of a study's settings that seconds depend on, as JSON"
    )
    parser.add_argument("--dataset", type=Path, required=True, help="dataset.json of the samples")
    parser.add_argument("--minibatches", nargs="+", required=True, help=MINIBATCHES)
    parser.add_argument("--limit-s", type=float, default=60.0, help="for measuring, at most")
    parser.add_argument("--output", type=Path, required=True, help="timings.json")
    options = parser.parse_args(arguments)
    study = build(Study, json.loads(options.settings), "study")
    found = timings_of(study, options.dataset.parent, options.minibatches, options.limit_s)
    for doubt in found.doubts:
        log.warning("%s", doubt)
    write_json(options.output, plain(found))


if __name__ == "__main__":
    run(main)
