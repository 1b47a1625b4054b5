"""Seconds in which a run stood still: suspended by a scheduler (bstop, scontrol suspend), or by anybody's SIGSTOP.

The monotonic clock counts on through a suspension, so that it would pass for work. A thread that only wakes up, several
times a second, sees it: it wakes late. It wakes in time beside a long step, which leaves Python to others; and where it
was late because a loaded machine gave it no turn, or because somebody computed and let nobody else in, the process was
waiting for the processor, or using it. A process that is suspended does neither.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from strongscale.distributed.world import World

log = logging.getLogger(__name__)

PERIOD_S = 0.25
SHORTEST_S = 5.0
"""What is shorter counts as work: no scheduler suspends for so short a time, but a machine may stumble."""
ASLEEP = 0.5
"""Of a suspension, the process can't have spent more than this share on the processor, or queueing for it."""


class Watch:
    """Adds up how long this process stood still; while it isn't running, nothing is seen."""

    def __init__(self, *, tells: bool = True) -> None:
        self._tells, self._seconds, self._thread = tells, 0.0, threading.Thread()
        self._lock, self._ended, self._is_running = threading.Lock(), threading.Event(), False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Watch while what is inside goes on."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._wake_up_often, name="watch", daemon=True)
        self._last_s, self._last_awake_s = time.monotonic(), self._awake_s()
        self._is_running = True
        self._thread.start()
        try:
            yield
        finally:
            self.seconds()
            self._is_running = False
            self._ended.set()
            self._thread.join()

    def seconds(self) -> float:
        """How long this process has stood still so far, rather too little than too much."""
        if self._is_running and time.monotonic() - self._last_s > PERIOD_S + SHORTEST_S:
            self._look()
        return self._seconds

    def _wake_up_often(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            now_s, awake_s = time.monotonic(), self._awake_s()
            late_s, busy_s = now_s - self._last_s - PERIOD_S, awake_s - self._last_awake_s
            self._last_s, self._last_awake_s = now_s, awake_s
            if late_s > SHORTEST_S and busy_s < ASLEEP * late_s:
                self._seconds += late_s
                if self._tells:
                    log.warning("stood still for %.0f s: suspended, and goes on now; these seconds don't count", late_s)

    def _awake_s(self) -> float:
        """Seconds that this process used a processor, or that its main thread and the watch queued for one."""
        return time.process_time() + sum(_queued_s(thread) for thread in (threading.main_thread(), self._thread))


def _queued_s(thread: threading.Thread) -> float:
    """Seconds that a thread could have run and had no processor; 0 where Linux doesn't tell."""
    try:
        words = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_bytes().split()
        return int(words[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


@dataclass
class Suspension:
    """How long an attempt stood still. Ranks wait for one another: as long as the rank that stood longest."""

    world: World
    agreed_s: float = 0.0
    """As of the last agreement, and the same on all ranks."""
    own_s: float = 0.0
    """This rank's, as of the last agreement."""
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(tells=self.world.rank == 0)

    @property
    def seconds(self) -> float:
        """Until now, as far as this rank knows."""
        return self.agreed_s + self.watch.seconds() - self.own_s

    def agree(self) -> None:
        """Look at all ranks; a collective call."""
        own_s = self.watch.seconds()
        longest_s = max(self.world.all_gather(own_s - self.own_s))
        if self.world.rank == 0 and longest_s - (own_s - self.own_s) > SHORTEST_S:
            log.warning("a rank stood still for %.0f s: suspended; these seconds don't count", longest_s)
        self.agreed_s += longest_s
        self.own_s = own_s
