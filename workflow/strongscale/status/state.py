"""The state of one cell, from the files in its folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strongscale.cells import Cell, num_ranks, own_part
from strongscale.config import Study
from strongscale.failure import NAME as FAILURE
from strongscale.failure import reason
from strongscale.status.reading import benchmark_s, changed_at, checkpoint_epoch, last_epoch, number, read

FINISHED = ("converged", "exhausted", "diverged")
STATES = (*FINISHED, "running", "failed", "silent", "paused", "queued", "waiting")

# A heartbeat comes every second, but a network file system may show it a minute late, and a step may take long.
SILENT_AFTER_S = 120.0
SILENT_AFTER_STEPS = 6
# A rank may die of another's failure a little later, its heart still beating.
LAST_BEATS_S = 6.0


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """What is known of a cell now."""

    cell: Cell
    folder: Path
    state: str
    words: str = ""
    """What there is to say of it, without its name."""
    ranks: int
    lived_s: float | None = None
    """Seconds that its processes have run, all attempts together."""
    epoch: int | None = None
    max_epochs: int
    validation_loss: float | None = None
    target: float | None = None
    epoch_s: float | None = None
    """Real seconds an epoch, on whatever clock the study is."""
    device: str | None = None
    scheduler: str | None = None
    job: str | None = None
    logs: tuple[str, ...] = ()

    @property
    def left_s(self) -> float | None:
        """Seconds until it has run all its epochs."""
        if self.state != "running" or self.epoch is None or self.epoch_s is None:
            return None
        return (self.max_epochs - self.epoch) * self.epoch_s


@dataclass(frozen=True, kw_only=True)
class Files:
    """What lies in a cell's folder, at one moment."""

    folder: Path
    has_lock: bool
    locked_at: float
    heartbeat: dict[str, Any]
    epoch: dict[str, float]
    epoch_at: float
    failed_at: float
    job: dict[str, Any]
    settings: dict[str, Any] | None
    result: dict[str, Any] | None

    @property
    def beat_at(self) -> float:
        """The last sign of life."""
        return number(self.heartbeat.get("at")) or 0.0

    @property
    def submitted_at(self) -> float:
        """When the job was handed to the scheduler."""
        return number(self.job.get("submitted_at")) or 0.0


def read_files(folder: Path) -> Files:
    """Read the folder; the result last, so that a run that ends meanwhile is seen to have ended."""
    lock = folder / "lock"
    return Files(
        folder=folder,
        has_lock=lock.exists(),
        locked_at=changed_at(lock),
        heartbeat=read(folder / "heartbeat.json") or {},
        epoch=last_epoch(folder / "epochs.csv"),
        epoch_at=changed_at(folder / "epochs.csv"),
        failed_at=changed_at(folder / FAILURE),
        job=read(folder / "job.json") or {},
        settings=read(folder / "cell.json"),
        result=read(folder / "result.json"),
    )


def state_of(study: Study, cell: Cell, folder: Path, now: float) -> CellStatus:
    """What is going on in a cell's folder; `now` is Unix time in seconds."""
    files = read_files(folder)
    facts = _facts(study, cell, files)
    if files.result is not None:
        return _ended(cell, files, facts)
    if files.failed_at and files.failed_at + LAST_BEATS_S >= files.beat_at and files.failed_at >= files.submitted_at:
        return CellStatus(state="failed", words=reason(folder), **facts)
    if files.submitted_at > max(files.beat_at, files.failed_at, files.locked_at):
        return CellStatus(state="queued", words=_queued(files, now), **facts)
    if files.has_lock:
        return _at_work(files, facts, now)
    if files.beat_at:  # the lock goes when a run leaves in order; of a killed one it stays
        return CellStatus(state="paused", words=f"to be continued from {_start(folder)}", **facts)
    return CellStatus(state="waiting", words="to be started", **facts)


def _facts(study: Study, cell: Cell, files: Files) -> dict[str, Any]:
    """What can be said of a cell in any state but a finished one."""
    own = own_part(study, cell.strategy).training
    settings = (files.settings or {}).get("training")
    training: dict[str, Any] = settings if isinstance(settings, dict) else {}
    names = {name: str(files.job[key]) for name, key in (("scheduler", "scheduler"), ("job", "id")) if key in files.job}
    logs = [str(files.folder / "train.log")]
    if isinstance(files.job.get("log"), str):
        logs.append(files.job["log"])
    return {
        "cell": cell,
        "folder": files.folder,
        "ranks": num_ranks(study, cell),
        "lived_s": number(files.heartbeat.get("lived_s")),
        "max_epochs": int(number(training.get("max_epochs")) or own.max_epochs),
        "target": number(training.get("target", own.target)),
        "logs": tuple(logs),
        **names,
    }


def _ended(cell: Cell, files: Files, facts: dict[str, Any]) -> CellStatus:
    """A run with a result, if it is a result of this cell."""
    result = files.result or {}
    own = {"strategy": cell.strategy, "workers": cell.workers, "seed": cell.seed, "study": cell.study}
    if result.get("status") not in FINISHED or any(result.get(key) != value for key, value in own.items()):
        path = files.folder / "result.json"
        words = f"result.json isn't readable, or of another run; remove {path} and run again"
        return CellStatus(state="failed", words=words, **facts)
    lived_s = number(result.get("lived_s"))
    if lived_s is None and result.get("clock") == "wall":
        lived_s = (number(result.get("startup_s")) or 0.0) + (number(result.get("time_s")) or 0.0)
    if lived_s is None:  # modelled seconds aren't those that passed
        lived_s = benchmark_s(files.folder / "benchmark.tsv")
    epoch = number(result.get("epochs"))
    found = {
        "ranks": int(number(result.get("ranks")) or facts["ranks"]),
        "lived_s": lived_s,
        "epoch": None if epoch is None else int(epoch),
        "validation_loss": number(result.get("final_validation_loss")),
        "target": number(result.get("target_loss")),
        "device": str(result.get("device") or "") or None,
    }
    because = str(result.get("diverged_because") or "")
    return CellStatus(state=result["status"], words=because, **{**facts, **found})


def _at_work(files: Files, facts: dict[str, Any], now: float) -> CellStatus:
    """A run that holds the folder's lock, or died holding it."""
    epoch, lived_s = files.epoch, facts["lived_s"] or 0.0
    step_s = lived_s / epoch["step"] if epoch.get("step") else 0.0
    age_s = now - max(files.beat_at, files.locked_at)
    if age_s > max(SILENT_AFTER_S, SILENT_AFTER_STEPS * step_s):
        words = (
            f"no sign of life for {duration(age_s)}: killed, out of memory, or its node lost; "
            f"Snakemake starts it again, from {_start(files.folder)}"
        )
        return CellStatus(state="silent", words=words, **facts)
    attempt = int(number(files.heartbeat.get("attempts")) or 1)
    if files.locked_at > files.beat_at:
        return CellStatus(state="running", words=f"starting from {_start(files.folder)}", **facts)
    if not epoch:
        words = f"epoch 1 of {facts['max_epochs']}{_attempt(attempt)}"
        return CellStatus(state="running", words=words, epoch=0, **facts)
    done = int(epoch["epoch"])
    lost_s = number(files.heartbeat.get("lost_s")) or 0.0
    since_s = max(0.0, files.beat_at - files.epoch_at)  # of the epoch that isn't done
    epoch_s = max(0.0, lived_s - lost_s - since_s) / done if done else None
    running = CellStatus(
        state="running",
        epoch=done,
        validation_loss=number(epoch["validation_loss"]),
        epoch_s=epoch_s or (epoch["time_s"] / done if done else None),
        **facts,
    )
    return _with_words(running, epoch["validation_loss"], attempt)


def _with_words(running: CellStatus, validation_loss: float, attempt: int) -> CellStatus:
    words = f"epoch {running.epoch} of {running.max_epochs}, validation {validation_loss:.6f}"
    if running.target is not None:
        words += f" (target {running.target:.6f})"
    if running.epoch_s is not None and running.left_s is not None:
        words += f", {duration(running.epoch_s)} an epoch, at most {duration(running.left_s)} left"
    return replace(running, words=words + _attempt(attempt))


def _attempt(attempt: int) -> str:
    return f", attempt {attempt}" if attempt > 1 else ""


def _queued(files: Files, now: float) -> str:
    scheduler, job = files.job.get("scheduler", "scheduler"), files.job.get("id", "?")
    words = f"{scheduler} job {job}, submitted {duration(now - files.submitted_at)} ago"
    return words + (f", goes on from {_start(files.folder)}" if files.beat_at else "")


def _start(folder: Path) -> str:
    """Where the next attempt begins."""
    epoch = checkpoint_epoch(folder)
    return "the beginning" if epoch is None else f"epoch {epoch}"


def duration(seconds: float) -> str:
    """Seconds in words."""
    for limit, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            value = max(0.0, seconds) / unit_s
            return f"{value:.1f} {unit}" if value < 10 and unit != "min" else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
