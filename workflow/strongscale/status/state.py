"""The state of one cell, from the files in its folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from strongscale.jobs.scheduler.submission import jobs_of
from strongscale.recovery.failure import NAME as FAILURE
from strongscale.recovery.failure import reason
from strongscale.settings.cells import Cell, num_ranks, own_part
from strongscale.settings.config import Study
from strongscale.status.reading import benchmark_s, best_loss, changed_at, checkpoint_epoch, last_epoch, number, read
from strongscale.status.whereabouts import AT_WORK, SUSPENDED, UNKNOWN, Owner, Told, process_state, read_owner, told_of

FINISHED = ("converged", "exhausted", "diverged")
STATES = (*FINISHED, "running", "suspended", "failed", "silent", "paused", "queued", "waiting")

# A heartbeat comes every second, but a network file system may show it a minute late, and a step may take long.
SILENT_AFTER_S = 120.0
SILENT_AFTER_STEPS = 6
# A rank may die of another's failure a little later, its heart still beating.
LAST_BEATS_S = 6.0
# With a heart that beat just now, a process that isn't found is one of another machine of the same name.
STILL_WARM_S = 10.0


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
    best_validation_loss: float | None = None
    null_loss: float | None = None
    """Of predicting zero, as its result tells, else its data set."""
    constant_loss: float | None = None
    """Of the best output that ignores its input, by the same."""
    target: float | None = None
    epoch_s: float | None = None
    """Real seconds an epoch, on whatever clock the study is."""
    device: str | None = None
    scheduler: str | None = None
    job: str | None = None
    logs: tuple[str, ...] = ()

    @property
    def beats_constant(self) -> bool | None:
        """Whether it has used its input: its best loss is below the best constant output's; None while one is unknown."""
        if self.best_validation_loss is None or self.constant_loss is None:
            return None
        return self.best_validation_loss < self.constant_loss

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
    jobs: list[dict[str, Any]]
    """Those that were submitted, the last one first."""
    settings: dict[str, Any] | None
    result: dict[str, Any] | None
    owner: Owner | None
    """Of the lock."""
    process: str | None
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the scheduler last said, by job."""

    @property
    def beat_at(self) -> float:
        """The last sign of life."""
        return number(self.heartbeat.get("at")) or 0.0

    @property
    def last_job(self) -> dict[str, Any]:
        """The job that was submitted last."""
        return self.jobs[0] if self.jobs else {}

    @property
    def submitted_at(self) -> float:
        """When that was handed to the scheduler."""
        return number(self.last_job.get("submitted_at")) or 0.0

    @property
    def job_at_work(self) -> dict[str, Any]:
        """The job that holds the lock, which need not be the last one."""
        owners = self.owner and self.owner.job
        return next((job for job in self.jobs if job["id"] == owners), self.last_job if not owners else {"id": owners})

    @property
    def told(self) -> Told | None:
        """What the scheduler last said of that job."""
        return told_of(self.job_at_work.get("id"), self.states)

    def is_at_work(self, now: float) -> bool:
        """Whether the lock's owner is known to be there still, however silent."""
        is_there = self.told is not None and self.told.state in (*AT_WORK, *SUSPENDED) and self.told.is_fresh(now)
        return self.has_lock and (self.process in ("alive", "stopped") or (is_there and self.owner_has_job))

    @property
    def owner_has_job(self) -> bool:
        """Whether the lock tells its owner's job."""
        return self.owner is not None and self.owner.job is not None


def read_files(folder: Path, states: Mapping[str, Mapping[str, Any]]) -> Files:
    """Read the folder; the result last, so that a run that ends meanwhile is seen to have ended."""
    lock = folder / "lock"
    owner = read_owner(lock)
    return Files(
        owner=owner,
        process=process_state(owner),
        states=states,
        folder=folder,
        has_lock=lock.exists(),
        locked_at=changed_at(lock),
        heartbeat=read(folder / "heartbeat.json") or {},
        epoch=last_epoch(folder / "epochs.csv"),
        epoch_at=changed_at(folder / "epochs.csv"),
        failed_at=changed_at(folder / FAILURE),
        jobs=jobs_of(folder),
        settings=read(folder / "cell.json"),
        result=read(folder / "result.json"),
    )


def state_of(
    study: Study, cell: Cell, folder: Path, now: float, states: Mapping[str, Mapping[str, Any]] | None = None
) -> CellStatus:
    """What is going on in a cell's folder; `now` is Unix time in seconds, `states` what the scheduler said of jobs."""
    files = read_files(folder, states or {})
    facts = _facts(study, cell, files)
    if files.result is not None:
        return _ended(cell, files, facts)
    if files.failed_at and files.failed_at + LAST_BEATS_S >= files.beat_at and files.failed_at >= files.submitted_at:
        return CellStatus(state="failed", words=reason(folder), **facts)
    if files.submitted_at > max(files.beat_at, files.failed_at, files.locked_at) and not files.is_at_work(now):
        return _submitted(files, facts, now)
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
    job = files.job_at_work if files.has_lock else files.last_job
    names = {name: str(job[key]) for name, key in (("scheduler", "scheduler"), ("job", "id")) if key in job}
    logs = [str(files.folder / "train.log")]
    if isinstance(job.get("log"), str):
        logs.append(job["log"])
    return {
        "cell": cell,
        "folder": files.folder,
        "ranks": num_ranks(study, cell),
        "lived_s": number(files.heartbeat.get("lived_s")),
        "best_validation_loss": best_loss(files.folder / "epochs.csv"),
        "max_epochs": int(number(training.get("max_epochs")) or own.max_epochs),
        "target": number(training.get("target", own.target)),
        "device": _device(files.heartbeat),
        "logs": tuple(logs),
        **names,
    }


def _device(heartbeat: dict[str, Any]) -> str | None:
    """What an attempt that hasn't ended yet runs on, as far as its heartbeat tells."""
    history = heartbeat.get("history")
    last = history[-1] if isinstance(history, list) and history else heartbeat
    device = last.get("device") if isinstance(last, dict) else None
    return device if isinstance(device, str) else None


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
        "null_loss": number(result.get("null_loss")),
        "constant_loss": number(result.get("constant_loss")),
        "device": str(result.get("device") or "") or None,
    }
    if (best := number(result.get("best_validation_loss"))) is not None:
        found["best_validation_loss"] = best
    because = str(result.get("diverged_because") or "")
    return CellStatus(state=result["status"], words=because, **{**facts, **found})


def _at_work(files: Files, facts: dict[str, Any], now: float) -> CellStatus:
    """A run that holds the folder's lock, or died holding it."""
    epoch, lived_s = files.epoch, facts["lived_s"] or 0.0
    step_s = lived_s / epoch["step"] if epoch.get("step") else 0.0
    age_s = now - max(files.beat_at, files.locked_at)
    if words := _suspended(files, now):
        return CellStatus(state="suspended", words=words + _second(files), epoch=_epoch(files), **facts)
    is_silent = age_s > max(SILENT_AFTER_S, SILENT_AFTER_STEPS * step_s)
    if is_silent or (files.process == "gone" and age_s > STILL_WARM_S):
        words = f"no sign of life for {duration(age_s)}: {_silent(files, now)}"
        return CellStatus(state="silent", words=words + _second(files), **facts)
    attempt = _attempt(int(number(files.heartbeat.get("attempts")) or 1)) + _second(files)
    if files.locked_at > files.beat_at:
        return CellStatus(state="running", words=f"starting from {_start(files.folder)}{_second(files)}", **facts)
    if not epoch:
        return CellStatus(state="running", words=f"epoch 1 of {facts['max_epochs']}{attempt}", epoch=0, **facts)
    done = int(epoch["epoch"])
    lost_s = number(files.heartbeat.get("lost_s")) or 0.0
    since_s = max(0.0, files.beat_at - files.epoch_at)  # of the epoch that isn't done
    epoch_s = max(0.0, lived_s - lost_s - since_s) / done if done else None
    running = CellStatus(
        state="running",
        epoch=done,
        validation_loss=number(epoch["validation_loss"]),
        epoch_s=epoch_s or (epoch["time_s"] / done if done and "time_s" in epoch else None),
        **facts,
    )
    return _with_words(running, epoch["validation_loss"], attempt)


def _epoch(files: Files) -> int | None:
    return int(files.epoch["epoch"]) if files.epoch else None


def _suspended(files: Files, now: float) -> str:
    """Who has suspended the run, and who lets it go on; nothing if nobody is known to have."""
    if files.process == "stopped" and files.owner:
        process = files.owner.process
        told = files.told
        if told is None or told.state not in SUSPENDED:
            return f"its process {process} on this machine is stopped; kill -CONT {process} lets it go on"
    told = files.told
    if told and told.state in SUSPENDED and told.at > files.beat_at and told.is_fresh(now):
        return f"by the scheduler, job {told.job} ({told.state}, said {duration(now - told.at)} ago); {told.in_words}"
    return ""


def _silent(files: Files, now: float) -> str:
    """What is known of a run that gives no sign of life, and no more than that."""
    goes_on, told = f"started again, it goes on from {_start(files.folder)}", files.told
    if files.process == "gone":
        return f"its process is gone (killed, or out of memory); {goes_on}"
    if files.process == "alive":
        return "its process is still there, on this machine: in a long step, or stuck"
    if told and told.has_ended:
        return f"job {told.job} has ended ({told.state}); {goes_on}"
    if told and told.state in UNKNOWN:
        return f"the scheduler has lost job {told.job} out of sight ({told.state}); {goes_on}"
    if told and told.state in AT_WORK and told.is_fresh(now):
        return (
            f"though the scheduler called job {told.job} running {duration(now - told.at)} ago: in a long step, stuck, "
            "or its files come late"
        )
    where = f" (host {files.owner.host}, process {files.owner.process})" if files.owner else ""
    return f"why can't be seen from here{where}; {goes_on}"


def _second(files: Files) -> str:
    """That another job waits for this one to end."""
    last, ours = files.last_job, files.job_at_work
    is_other = files.owner_has_job and last.get("id") != ours.get("id")
    told = told_of(last.get("id"), files.states)
    if not is_other or files.submitted_at < files.locked_at or (told and told.has_ended):
        return ""
    return f"; job {last.get('id')}, submitted later, waits for it"


def _with_words(running: CellStatus, validation_loss: float, more: str) -> CellStatus:
    words = f"epoch {running.epoch} of {running.max_epochs}, validation {validation_loss:.6f}"
    if running.target is not None:
        words += f" (target {running.target:.6f})"
    if running.epoch_s is not None and running.left_s is not None:
        words += f", {duration(running.epoch_s)} an epoch, at most {duration(running.left_s)} left"
    return replace(running, words=words + more)


def _attempt(attempt: int) -> str:
    return f", attempt {attempt}" if attempt > 1 else ""


def _submitted(files: Files, facts: dict[str, Any], now: float) -> CellStatus:
    """A job that was submitted and has given no sign of life: in the queue, as far as the scheduler says nothing else."""
    job = files.last_job
    scheduler, number_ = job.get("scheduler", "scheduler"), job["id"]
    told, ago = told_of(number_, files.states), duration(now - files.submitted_at)
    facts = facts | {"job": number_, "scheduler": scheduler}
    if told and told.at >= files.submitted_at:
        if told.state in SUSPENDED and told.is_fresh(now):
            words = f"by the scheduler, job {number_} ({told.state}), before it began; {told.in_words}"
            return CellStatus(state="suspended", words=words, **facts)
        if told.state in AT_WORK and told.is_fresh(now):
            words = f"{scheduler} job {number_} runs, as was told {duration(now - told.at)} ago; no rank has begun yet"
            return CellStatus(state="running", words=words, **facts)
        if told.has_ended:
            words = f"{scheduler} job {number_} has ended ({told.state}) before a rank began; see its log"
            return CellStatus(state="failed", words=words, **facts)
    words = f"{scheduler} job {number_}, submitted {ago} ago"
    words += f", goes on from {_start(files.folder)}" if files.beat_at else ""
    return CellStatus(state="queued", words=words, **facts)


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
