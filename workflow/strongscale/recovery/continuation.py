"""A run that dies is continued: when to checkpoint, how long it lived, where it goes on."""

import contextlib
import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from strongscale.distributed.world import World
from strongscale.recovery.checkpoint import Checkpoint, Store
from strongscale.recovery.interrupt import Interrupt, Interrupted, Timer
from strongscale.recovery.suspension import Suspension
from strongscale.settings.config import Checkpoints

HEARTBEAT_S = 1.0
MOST = 1e12  # seconds, of Unix time too
NOTHING, DUE, STOP = range(3)
NO_LIFE: dict[str, Any] = {
    "lived_s": 0.0,
    "lost_s": 0.0,
    "between_s": 0.0,
    "checkpoint_s": 0.0,
    "attempts": 0,
    "history": [],
    "at": None,
}


class Continuable(Protocol):
    """What a run must offer to be continued."""

    def state(self) -> Checkpoint:
        """Everything, on every rank; a collective call."""

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from there."""

    def lose(self, lost_s: float) -> None:
        """Account for seconds of work that died with an earlier attempt."""


@dataclass
class Continuation:
    """The life of a run over its attempts: rank 0 writes, all ranks agree."""

    world: World
    store: Store
    settings: Checkpoints
    interrupt: Interrupt = field(default_factory=Interrupt)
    code: dict[str, str] = field(default_factory=dict)
    """The files that decide the result, each with a digest, as they were when this attempt began."""
    origin: dict[str, Any] = field(default_factory=dict)
    """What this attempt has to tell of itself: ranks, hosts, device, versions."""
    attempts: int = 1
    lost_s: float = 0.0
    """Seconds of work that died with earlier attempts and was done again."""
    between_s: float = 0.0
    """Seconds between the last sign of life of an attempt and the start of the next."""
    checkpoint_s: float = 0.0
    """Seconds spent on writing checkpoints."""
    from_step: int = 0
    _earlier: list[dict[str, Any]] = field(default_factory=list)
    _earlier_s: float = 0.0
    _start_s: float = field(default_factory=time.perf_counter)
    suspension: Suspension = field(init=False)

    def __post_init__(self) -> None:
        self.suspension = Suspension(self.world)
        self._checkpoint_timer = Timer(self.settings.every_s)
        self._heartbeat_timer = Timer(HEARTBEAT_S)

    @property
    def lived_s(self) -> float:
        """Seconds that all attempts have lived together; suspended, a run doesn't live."""
        return self._earlier_s + time.perf_counter() - self._start_s - self.suspension.seconds

    @property
    def suspended_s(self) -> float:
        """Seconds that all attempts were suspended together."""
        return float(sum(attempt["suspended_s"] for attempt in self.history))

    @property
    def history(self) -> list[dict[str, Any]]:
        """Every attempt that is known of, also those of which nothing is left, this one last."""
        own = {"from_step": self.from_step, "suspended_s": self.suspension.seconds}
        return [*self._earlier, self.origin | own]

    def resume(self, run: Continuable) -> int | None:
        """Go on from the newest checkpoint, on all ranks; its step, or None for a fresh start."""
        found, beat = (self.store.load(), self._read_heartbeat()) if self.world.rank == 0 else (None, NO_LIFE)
        checkpoint, heartbeat = Checkpoint.shared(found, self.world), self.world.all_gather(beat)[0]
        saved = checkpoint.values["life"] if checkpoint else NO_LIFE
        self._earlier_s = max(heartbeat["lived_s"], saved["lived_s"])
        self.lost_s = self._earlier_s - saved["lived_s"] + saved["lost_s"]
        self.checkpoint_s = saved["checkpoint_s"]
        self.attempts = max(heartbeat["attempts"], saved["attempts"]) + 1
        self._earlier = max(heartbeat["history"], saved["history"], key=len)
        self.from_step = checkpoint.values["step"] if checkpoint else 0
        self.between_s = heartbeat["between_s"]
        if heartbeat["at"]:
            self.between_s += max(0.0, time.time() - heartbeat["at"])
        if checkpoint:
            run.restore(checkpoint)
        run.lose(self.lost_s - saved["lost_s"])
        self.world.barrier()
        if self.world.rank == 0:
            self.store.sweep()
            self._write_heartbeat()
        return checkpoint.values["step"] if checkpoint else None

    def after_step(self, run: Continuable, step: int) -> None:
        """Checkpoint if it is time; leave if a signal came. All ranks decide the same."""
        wish = NOTHING
        if self.interrupt.received:
            wish = STOP
        elif self.world.rank == 0 and self._checkpoint_timer.due():
            wish = DUE
        wish = self.world.maximum(wish)
        if wish != NOTHING:
            self.save(run, step)
        if self.world.rank == 0 and self._heartbeat_timer.due():
            self._write_heartbeat()
        if wish == STOP:
            self.world.barrier()  # a rank that left before rank 0 has written would take rank 0 with it
            raise Interrupted

    def after_epoch(self, run: Continuable, step: int, epoch: int) -> None:
        """Checkpoint every so many epochs, leave after the one that is asked for; agree on how long the run was suspended."""
        self.suspension.agree()
        is_left = epoch == self.interrupt.after_epoch
        if is_left or epoch % self.settings.every_epochs == 0:
            self.save(run, step)
        if is_left:
            self.world.barrier()
            raise Interrupted

    def save(self, run: Continuable, step: int) -> None:
        """Write a checkpoint now."""
        start_s = time.perf_counter() - self.suspension.seconds
        state = run.state()
        if self.world.rank == 0:
            self.store.save(step, Checkpoint(state.tensors, state.values | {"life": self._life(), "step": step}))
        self.checkpoint_s += time.perf_counter() - self.suspension.seconds - start_s

    def end(self) -> None:
        """The run is done: nothing is left to be continued."""
        self._heartbeat.unlink(missing_ok=True)
        if self.settings.keep:
            self.store.put_aside()
        else:
            self.store.clear()

    def _life(self) -> dict[str, Any]:
        names = ("lived_s", "lost_s", "between_s", "checkpoint_s", "attempts", "history")
        return {name: getattr(self, name) for name in names}

    @property
    def _heartbeat(self) -> Path:
        return self.store.folder / "heartbeat.json"

    def _write_heartbeat(self) -> None:
        """Not synced to the disk: it costs nothing, and only its seconds are lost with it."""
        place = {"host": platform.node(), "pid": os.getpid()}  # by which to see whether it is suspended
        beat = {"identity": self.store.identity, "at": time.time()} | place | self._life()
        temporary = self._heartbeat.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(beat), encoding="utf-8")
            temporary.replace(self._heartbeat)

    def _read_heartbeat(self) -> dict[str, Any]:
        """The last sign of life of this very run; one that is torn, or that somebody has edited, is none."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            beat: Any = json.loads(self._heartbeat.read_text(encoding="utf-8"))
            is_ours = isinstance(beat, dict) and beat.get("identity") == self.store.identity
            if is_ours and all(_fits(beat[name], none) for name, none in NO_LIFE.items() if name in beat):
                return {**NO_LIFE, **beat}
        return NO_LIFE


def _fits(value: Any, none: Any) -> bool:
    """Whether it can be seconds, a count, or a list of attempts: what somebody has edited may be anything."""
    if isinstance(none, list):
        return isinstance(value, list) and all(isinstance(one, dict) for one in value)
    return type(value) in (int, float) and 0 <= value < MOST
