"""What schedulers send ahead of a limit: finish the step, checkpoint, leave, and be started again."""

import logging
import signal
import time
from types import FrameType

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
EXIT_STATUS = 75  # "temporary failure; try again" (sysexits.h)


class Interrupt:
    """Remembers that a signal came, and after which epoch the run is to be left without one."""

    def __init__(self, *, after_epoch: int | None = None) -> None:
        self.received: signal.Signals | None = None
        self.after_epoch = after_epoch

    def listen(self) -> None:
        """Take the signals from now on."""
        for number in SIGNALS:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)


class Interrupted(Exception):
    """The run stopped at a checkpoint, to be continued."""


class Timer:
    """Says when so many seconds have passed since it last said so."""

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._last_s = time.monotonic()

    def due(self) -> bool:
        """Whether the period is over; starts the next one."""
        now_s = time.monotonic()
        if now_s - self._last_s < self.period_s:
            return False
        self._last_s = now_s
        return True
