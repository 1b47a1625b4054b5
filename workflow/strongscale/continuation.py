"""A run that dies is continued: when to checkpoint, how long it lived, where it goes on."""

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from strongscale.checkpoint import Checkpoint, Store
from strongscale.config import Checkpoints
from strongscale.interrupt import Interrupt, Interrupted, Timer
from strongscale.world import World

HEARTBEAT_S = 1.0
NOTHING, DUE, STOP = range(3)


class Continuable(Protocol):
    """What a run must offer to be continued."""

    def state(self) -> Checkpoint:
        """Everything, on every rank; a collective call."""

    def restore(self, checkpoint: Checkpoint, lost_s: float) -> None:
        """Go on from there."""


@dataclass
class Continuation:
    """The life of a run over its attempts: rank 0 writes, all ranks agree."""

    world: World
    store: Store
    settings: Checkpoints
    interrupt: Interrupt = field(default_factory=Interrupt)
    attempts: int = 1
    lost_s: float = 0.0
    """Seconds of work that died with earlier attempts and was done again."""
    _earlier_s: float = 0.0
    _start_s: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self._checkpoint_timer = Timer(self.settings.every_s)
        self._heartbeat_timer = Timer(HEARTBEAT_S)

    @property
    def lived_s(self) -> float:
        """Seconds that all attempts have lived together."""
        return self._earlier_s + time.perf_counter() - self._start_s

    def resume(self, run: Continuable) -> int | None:
        """Go on from the newest checkpoint, on all ranks; its step, or None for a fresh start."""
        checkpoint, heartbeat = self.store.load(), self._read_heartbeat()
        values = checkpoint.values["continuation"] if checkpoint else {"lived_s": 0.0, "lost_s": 0.0, "attempts": 0}
        self._earlier_s = max(heartbeat["lived_s"], values["lived_s"])
        newly_lost_s = self._earlier_s - values["lived_s"]
        self.lost_s = values["lost_s"] + newly_lost_s
        self.attempts = max(heartbeat["attempts"], values["attempts"]) + 1
        if not checkpoint:
            return None
        run.restore(checkpoint, self.lost_s - values["lost_s"])
        step: int = checkpoint.values["step"]
        return step

    def after_step(self, run: Continuable, step: int) -> None:
        """Checkpoint if it is time; leave if a signal came. All ranks decide the same."""
        wish = NOTHING
        if self.interrupt.received:
            wish = STOP
        elif self.world.rank == 0 and self._checkpoint_timer.due():
            wish = DUE
        wish = self.world.largest(wish)
        if wish != NOTHING:
            self.save(run, step)
        if self.world.rank == 0 and self._heartbeat_timer.due():
            self._write_heartbeat()
        if wish == STOP:
            raise Interrupted

    def after_epoch(self, run: Continuable, step: int, epoch: int) -> None:
        """Checkpoint every so many epochs."""
        if epoch % self.settings.every_epochs == 0:
            self.save(run, step)

    def save(self, run: Continuable, step: int) -> None:
        """Write a checkpoint now."""
        state = run.state()
        if self.world.rank == 0:
            life = {"lived_s": self.lived_s, "lost_s": self.lost_s, "attempts": self.attempts}
            self.store.save(step, Checkpoint(state.tensors, state.values | {"continuation": life, "step": step}))

    def end(self) -> None:
        """The run is done: nothing is left to be continued."""
        self._heartbeat.unlink(missing_ok=True)
        if not self.settings.keep:
            self.store.clear()

    @property
    def _heartbeat(self) -> Path:
        return self.store.folder / "heartbeat.json"

    def _write_heartbeat(self) -> None:
        """Not synced to the disk: it costs nothing, and only its seconds are lost with it."""
        beat = {"identity": self.store.identity, "lived_s": self.lived_s, "attempts": self.attempts}
        temporary = self._heartbeat.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(beat), encoding="utf-8")
            temporary.replace(self._heartbeat)

    def _read_heartbeat(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            beat: dict[str, Any] = json.loads(self._heartbeat.read_text(encoding="utf-8"))
            if beat["identity"] == self.store.identity:
                return beat
        return {"lived_s": 0.0, "attempts": 0}
