"""Which timings a line of the matrix needs: of what work, at which shard sizes, and where they lie."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from strongscale.common import parts
from strongscale.common.errors import UserError
from strongscale.common.schema import plain
from strongscale.optimizers.base import Optimizer
from strongscale.schedules.constant import Constant
from strongscale.settings import cells
from strongscale.settings.config import SEQUENTIAL, Checkpoints, Collapse, Study
from strongscale.settings.plans import first_plan

AUTO = "auto"
SHIPPED = Path(__file__).parents[1] / "timing" / "shipped"


def optimizer_of(study: Study, line: str) -> Optimizer:
    """The entry's own, or the strategy's, or the study's."""
    entry = study.strategies.get(line)
    own: Optimizer | None = (entry.optimizer or study.strategy(line).optimizer()) if entry else None
    return own or study.training.optimizer


def work_of(study: Study, line: str) -> dict[str, Any]:
    """What is timed, as timings.json tells it."""
    model = plain(study.model) if study.task.takes_nodules else None
    return {"task": plain(study.task), "model": model, "optimizer": plain(optimizer_of(study, line))}


def own_part(study: Study, line: str) -> Study:
    """The settings that seconds depend on."""
    training = replace(
        study.training,
        learning_rate=1e-3,
        warmup_steps=0,
        schedule=Constant(),
        target=None,
        stop_at_target=True,
        max_epochs=1,
        reduction="fast",
        all_reduce="auto",
        microbatch=1,
        batch_size=1,
        optimizer=optimizer_of(study, line),
        collapse=Collapse(),
    )
    return replace(
        cells.own_part(study, SEQUENTIAL),
        clock="emulated",
        share_trajectories=False,
        max_ranks=None,
        checkpoints=Checkpoints(),
        training=training,
    )


def name_of(study: Study, line: str) -> str:
    """The folder of the timings measured for a line, below results/timings/."""
    several = learners(study, line)
    told = {
        "settings": own_part(study, line),
        "minibatches": sorted(minibatches(study, line)),
        **({"learners": sorted(several)} if several else {}),
        "files": parts.digests([type(study.task), type(study.model), type(optimizer_of(study, line))]),
    }
    return f"{study.dataset or study.task.kind}_{cells.settings_hash(told)[:8]}"


def minibatches(study: Study, line: str) -> set[tuple[int, int]]:
    """What the workers of a line share, as (samples, workers), and of all lines that have the same optimizer, so the same seconds.

    Those of later epochs as far as they are alike.
    """
    return {(study.training.batch_size, 1)}.union(*(_minibatches(study, other) for other in _alike(study, line)))


def _alike(study: Study, line: str) -> list[str]:
    """The lines of the matrix that have the same optimizer."""
    own = optimizer_of(study, line)
    return [other for other in study.strategies if optimizer_of(study, other) == own]


def _minibatches(study: Study, line: str) -> set[tuple[int, int]]:
    """Learners of a worker count like workers here, for each has a pass of its own."""
    strategy = study.strategy(line)
    each = cells.update_rule(study.strategies[line].update, strategy).learners_each
    return {(first_plan(strategy, study.training, workers).batch, workers * each) for workers in study.workers_of(line)}


def learners(study: Study, line: str) -> set[str]:
    """What the workers of such lines share that have several learners each: SAMPLES:WORKERS:LEARNERS.

    Where their number is to be found, LEARNERS is auto, and SAMPLES are those of a minibatch with one learner a worker.
    """
    found = set()
    for other in _alike(study, line):
        strategy = study.strategy(other)
        rule = cells.update_rule(study.strategies[other].update, strategy)
        number = AUTO if strategy.learners_each == AUTO else rule.learners_each
        if rule.kind == "sma" and number != 1:
            plans = {workers: first_plan(strategy, study.training, workers) for workers in study.workers_of(other)}
            found |= {f"{plan.batch}:{workers}:{number}" for workers, plan in plans.items()}
    return found


def asked(study: Study, line: str) -> list[str]:
    """The minibatches that are measured, as the stage is told them."""
    return [f"{samples}:{workers}" for samples, workers in sorted(minibatches(study, line))] + sorted(
        learners(study, line)
    )


def finds_learners(study: Study, line: str) -> bool:
    """Whether the number of learners of a line is to be found before its cells' settings are written."""
    return line in study.strategies and study.strategy(line).learners_each == AUTO


def measured_lines(name: str, study: Study) -> list[str]:
    """The lines of a study whose seconds are measured: of all that are computed, or whose number of learners is to be found."""
    if study.clock == "wall":
        return [line for line in study.strategies if finds_learners(study, line)]
    if study.timings is not None:
        return []
    beside = [*cells.rate_cells(name, study), *cells.pilot_cells(name, study)]
    return list(dict.fromkeys([*study.strategies, *(cell.strategy for cell in beside)]))


def path_in(results: Path, study: Study, line: str) -> Path:
    """Where the timings of a line lie: those that the study names, on the emulated clock, or those measured here."""
    if study.timings is not None and study.clock == "emulated":
        return path_of(study.timings)
    return results / "timings" / name_of(study, line) / "timings.json"


def shipped() -> list[str]:
    """The names of the timings that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def path_of(name: str) -> Path:
    """The file of shipped timings, or of a user's own."""
    if name in shipped():
        return SHIPPED / f"{name}.json"
    if name.endswith(".json"):
        return Path(name)
    raise UserError(f"timings: {name!r} is not allowed; allowed: {', '.join(shipped())}, or the path of a .json file")
