"""Studies made up on disk: what the training stage would leave, with outcomes that a test chooses.

On the wall clock seconds are a test's choice, too; on the emulated one they are made of the steps and of `TIMINGS`.
"""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from strongscale.common.files import write_json
from strongscale.common.schema import build, plain
from strongscale.settings import tuned
from strongscale.settings.cells import (
    PILOT,
    Cell,
    CellSettings,
    all_cells,
    is_rate_name,
    own_part,
    rate_of,
    shares_trajectories,
)
from strongscale.settings.config import SEQUENTIAL, Edge, Network, SequentialEpochs, Study, Training
from strongscale.settings.margins import margins
from strongscale.settings.timed import name_of, work_of
from strongscale.strategies.base import planned
from strongscale.timing.steps import StepLog
from strongscale.timing.timings import Duration, Timings
from strongscale.training.epoch_log import COLUMNS, SECONDS
from strongscale.training.prepare import SHARED
from strongscale.tuning import search as tuning
from strongscale.updates.synchronous import Synchronous

NULL_LOSS = 0.048
CONSTANT_LOSS = 0.019
CEILING = 0.0437
SEQUENTIAL_EPOCHS = 20
MAX_EPOCHS = 80
EDGE_EPOCHS = 20
NUM_TRAINING = 512
NUM_VALIDATION = 64
GRADIENT_BYTES = 4_000_000
BASE_RATE = 0.003
TARGET = 0.0056
PILOTED = {"sequential_epochs": SEQUENTIAL_EPOCHS, "pilots": [11, 12]}
DEVICE = "CPU: Intel Xeon Platinum 8488C, 1 thread"
STEP_S, SAMPLE_S, UPDATE_S, EVALUATION_S, EPOCH_S = 0.01, 0.02, 0.001, 0.05, 0.003
FIXED_TARGET = {"learning_rate": BASE_RATE, "target": TARGET, "max_epochs": MAX_EPOCHS}
MEASURED = Network(latency_s=1e-5, bandwidth_bytes_per_s=2e9, workers_per_host=None)
WEAK_SLOWDOWN = {1: 1.0, 2: 1.15, 4: 1.6, 8: 2.8, 16: 3.2, 32: 3.6}
WARMUP_SLOWDOWN = {1: 1.0, 2: 1.2, 4: 1.3}


@dataclass(frozen=True)
class Outcome:
    """How a made-up run goes: its status, its validation losses, and seconds an epoch."""

    status: str
    losses: tuple[float, ...]
    epoch_s: float
    diverged_because: str | None = None


Script = Callable[[Cell], Outcome]


def loss(epoch: float, seed: int = 1) -> float:
    return 0.005 + 0.002 / (1 + epoch) + 0.041 * math.exp(-epoch / 0.9) + 1e-4 * seed


def epoch_s(workers: int, seed: int = 1) -> float:
    return (2.0 + 0.05 * seed) * (0.05 + 0.95 / workers + 0.004 * math.log2(workers))


def has_no_target(cell: Cell) -> bool:
    """Runs at other rates, and pilots, run all their epochs."""
    return is_rate_name(cell.strategy) or cell.strategy == PILOT


def converged(cell: Cell, slowdown: float = 1.0) -> Outcome:
    epochs = math.ceil(SEQUENTIAL_EPOCHS * slowdown)
    before = (loss(SEQUENTIAL_EPOCHS * epoch / epochs, cell.seed) for epoch in range(1, epochs))
    losses = (*(max(value, 1.01 * TARGET) for value in before), 0.98 * TARGET)
    status = "exhausted" if has_no_target(cell) else "converged"
    return Outcome(status, losses, epoch_s(cell.workers, cell.seed))


def exhausted(cell: Cell) -> Outcome:
    num_epochs = EDGE_EPOCHS if has_no_target(cell) else MAX_EPOCHS
    losses = tuple(0.001 + loss(epoch / 10, cell.seed) for epoch in range(1, num_epochs + 1))
    return Outcome("exhausted", losses, epoch_s(cell.workers, cell.seed))


def collapsed(cell: Cell) -> Outcome:
    return Outcome("diverged", (0.03, *[CEILING] * 8), epoch_s(cell.workers, cell.seed), "collapsed")


def not_finite(cell: Cell) -> Outcome:
    return Outcome("diverged", (math.inf,), epoch_s(cell.workers, cell.seed), "not finite")


def as_in_the_paper(cell: Cell) -> Outcome:
    """Every claim of the paper holds."""
    if is_rate_name(cell.strategy):
        trains = rate_of(cell.strategy) <= BASE_RATE
        return converged(cell) if trains else collapsed(cell)
    if cell.strategy in (SEQUENTIAL, PILOT, "strong"):
        return converged(cell)
    if cell.strategy == "weak":
        return converged(cell, WEAK_SLOWDOWN[cell.workers])
    if cell.strategy == "linear":
        return collapsed(cell)
    if cell.workers >= 32:
        return not_finite(cell)
    return converged(cell, WARMUP_SLOWDOWN[cell.workers]) if cell.workers <= 4 else collapsed(cell)


def paper_study(**changes: object) -> Study:
    raw = {
        "dataset": "small",
        "strategies": {
            "strong": {},
            "weak": {},
            "linear": {},
            "warmup": {},
            "warmup10": {"kind": "warmup", "workers": [8, 32], "parameters": {"epochs": 10}},
        },
        "workers": [1, 2, 4, 8, 32],
        "seeds": [1],
        "clock": "wall",
        "network": "ten_gigabit",
        "training": {
            "learning_rate": BASE_RATE,
            "target": TARGET,
            "max_epochs": MAX_EPOCHS,
        },
        "edge": {"rates": [0.001, 0.002, 0.003, 0.0042, 0.006], "epochs": EDGE_EPOCHS},
    }
    return build(Study, {**raw, **changes}, "study")


def write_study(results: Path, study: Study, script: Script = as_in_the_paper, name: str = "small") -> Path:
    folder = results / name
    folder.mkdir(parents=True)
    raw = {**plain(study), "name": name, "dataset_provenance": "phantom scans, seed 1"}
    (folder / "study.json").write_text(json.dumps(raw))
    if study.training.learning_rate == "edge":
        (folder / "learning_rate.json").write_text(json.dumps(search_at_base_rate()))
    for search in tuned.searches(study) if tuned.is_tuned(study) else ():
        write_json(folder / search.file, {"learning_rate": tuned_rate(search.batch), "warmup_steps": search.batch})
    if study.pilots:
        (folder / "target.json").write_text(json.dumps({"target_loss": TARGET}))
    if study.clock == "emulated":
        write_sources(results, study, name)
    for cell in all_cells(name, study):
        write_cell(results, study, cell, script(cell))
    return folder


def tuned_rate(batch: int) -> float:
    """What was found for a batch size: more for a larger one."""
    return BASE_RATE * batch / 32


def search_at_base_rate() -> dict[str, object]:
    """What a search for the edge says that ends at the base rate."""

    def run_seed(rate: float, seed: int) -> tuning.Outcome:
        losses = [loss(epoch) for epoch in range(1, EDGE_EPOCHS + 1)]
        trains = rate <= BASE_RATE
        return tuning.Outcome(
            seed=seed,
            status="exhausted" if trains else "diverged",
            diverged_because=None if trains else "collapsed",
            constant_loss=CONSTANT_LOSS,
            losses=losses if trains else [CEILING] * EDGE_EPOCHS,
        )

    search = tuning.Search(Edge(epochs=EDGE_EPOCHS), run_seed, rungs={BASE_RATE: loss(EDGE_EPOCHS)})
    found = tuning.Bracket(BASE_RATE, 1.15 * BASE_RATE)
    assert [search.passes(rate) for rate in (found.lower, found.upper)] == [True, False]
    return tuning.table(found, search)


def write_sources(results: Path, study: Study, name: str = "small") -> None:
    """What the emulated clock's seconds are made of, besides the runs."""
    if study.network == "measured":
        (results / name / "network.json").write_text(json.dumps(plain(MEASURED)))
    if study.timings is None:
        for line in {cell.strategy for cell in all_cells(name, study)} | set(study.strategies):
            write_timings(results / "timings" / name_of(study, line) / "timings.json", study, line)


def write_timings(path: Path, study: Study, line: str, factor: float = 1.0) -> Path:
    """Seconds of one worker, as if measured here, or so many times as long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    timings = Timings(
        origin="measured",
        device=DEVICE,
        work=work_of(study, line),
        steps=tuple(Duration(samples=size, seconds=factor * (STEP_S + SAMPLE_S * size)) for size in (1, 32)),
        update=Duration(seconds=factor * UPDATE_S),
        evaluation=(Duration(samples=study.training.evaluation_chunk, seconds=factor * EVALUATION_S),),
        epoch=Duration(seconds=factor * EPOCH_S),
    )
    path.write_text(json.dumps(plain(timings)))
    return path


def write_cell(results: Path, study: Study, cell: Cell, outcome: Outcome) -> None:
    folder = results / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_of(study, cell)
    (folder / "cell.json").write_text(json.dumps(plain(settings)))
    _write_epochs(folder / "epochs.csv", settings, outcome)
    (folder / "steps.json").write_text(json.dumps(_steps(settings, outcome)))
    (folder / "result.json").write_text(json.dumps(_result(settings, outcome)))


def settings_of(study: Study, cell: Cell) -> CellSettings:
    entry = study.strategies.get(cell.strategy)
    return CellSettings(
        study=cell.study,
        strategy=cell.strategy,
        kind=(entry.kind or cell.strategy) if entry else SEQUENTIAL,
        parameters=entry.parameters if entry else {},
        workers=cell.workers,
        seed=cell.seed,
        ranks=cell.workers if study.clock == "wall" else 1,
        clock=study.clock,
        dataset="../../../../data",
        dataset_hash="0123456789abcdef",
        task=study.task,
        model=study.model,
        training=_training_of(study, cell),
        checkpoints=study.checkpoints,
        trajectories=SHARED if shares_trajectories(study) else None,
    )


def _training_of(study: Study, cell: Cell) -> Training:
    training = own_part(study, cell.strategy).training
    if training.learning_rate == "edge":
        training = replace(training, learning_rate=BASE_RATE)
    if training.learning_rate == "tuned":
        batch = tuned.search_of(study, cell.strategy, cell.workers).batch
        training = replace(training, learning_rate=tuned_rate(batch), warmup_steps=batch)
    if not isinstance(training.target, SequentialEpochs):
        return training
    return replace(training, target=TARGET)


def _write_epochs(path: Path, settings: CellSettings, outcome: Outcome) -> None:
    strategy, step = settings.create_strategy(), 0
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        seconds = SECONDS if settings.clock == "wall" else {}
        writer.writerow([*COLUMNS, *seconds])
        training = settings.training
        each = planned(strategy, training.plan, settings.workers, NUM_TRAINING, training.course)
        for done, (value, plans) in enumerate(zip(outcome.losses, each, strict=False)):
            step += len(plans)
            epoch = [done + 1, step, (done + 1) * NUM_TRAINING, plans[-1].rate, 0.97 * value, value]
            times = _parts((done + 1) * outcome.epoch_s).values() if seconds else ()
            writer.writerow([*epoch, "0123456789abcdef", *times])


def _parts(time_s: float) -> dict[str, float]:
    """Seconds by part, as the columns of epochs.csv."""
    return dict(zip(SECONDS, (time_s, 0.8 * time_s, 0.1 * time_s, 0.06 * time_s), strict=True))


def _steps(settings: CellSettings, outcome: Outcome) -> object:
    strategy = settings.create_strategy()
    log = StepLog(
        workers=settings.workers,
        num_training=NUM_TRAINING,
        num_validation=NUM_VALIDATION,
        evaluation_chunk=settings.training.evaluation_chunk,
        gradient_bytes=GRADIENT_BYTES,
    )
    each = planned(strategy, settings.training.plan, settings.workers, NUM_TRAINING)
    for _, plans in zip(outcome.losses, each, strict=False):
        left = NUM_TRAINING
        for plan in plans:
            size = min(plan.batch, left)
            log.add(size, Synchronous().work(size, settings.workers, GRADIENT_BYTES))
            left -= size
        log.end_epoch()
    return plain(log.whole())


def _result(settings: CellSettings, outcome: Outcome) -> dict[str, object]:
    epochs = len(outcome.losses)
    finite = [value for value in outcome.losses if math.isfinite(value)]
    time_s = epochs * outcome.epoch_s
    reached = outcome.status == "converged"
    target = settings.training.target
    first = next((n for n, value in enumerate(outcome.losses, 1) if target and value <= target), epochs)
    seconds: dict[str, object] = {}
    if settings.clock == "wall":
        parts, reached_s = _parts(time_s), _parts(first * outcome.epoch_s)["time_s"]
        seconds = {"time_s": parts.pop("time_s"), "time_to_target_s": reached_s if reached else None, "parts": parts}
    return seconds | {
        "study": settings.study,
        "strategy": settings.strategy,
        "workers": settings.workers,
        "seed": settings.seed,
        "status": outcome.status,
        "diverged_because": outcome.diverged_because,
        "clock": settings.clock,
        "trajectory": Cell(settings.study, settings.strategy, settings.workers, settings.seed).folder,
        "target_loss": settings.training.target,
        "epochs_to_target": first if reached else None,
        "samples_to_target": first * NUM_TRAINING if reached else None,
        "epochs": epochs,
        "best_validation_loss": min(finite) if finite else None,
        "final_validation_loss": outcome.losses[-1] if math.isfinite(outcome.losses[-1]) else None,
        "null_loss": NULL_LOSS,
        "constant_loss": CONSTANT_LOSS,
        "minibatch": 32 if settings.kind == "strong" else 32 * settings.workers,
        "num_training": NUM_TRAINING,
        "learning_rate": settings.training.learning_rate,
        "startup_s": 1.5,
        "ranks": settings.ranks,
        "hosts": ["node1"],
        "device": DEVICE,
        "versions": {"torch": "2.7.0"},
        "git_commit": "0000000",
        "settings_hash": settings.hash,
        "code_hash": "feedfacefeedface",
        "started_at": "2024-01-01T00:00:00+00:00",
        "attempts": 1,
        "margins": margins().digest,
        "device_changed": False,
        "history": [{"ranks": settings.ranks, "device": DEVICE, "from_step": 0}],
        "code": {"trainer.py": "aa", f"strategies/{settings.kind}.py": settings.kind},
    }
