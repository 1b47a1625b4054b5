"""Ask a scheduler until it answers: its daemons restart, and its hosts are busy."""

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

PASSING = re.compile(
    r"LSF is down|Failed in an LSF library call|bad connection|not responding|try (again )?later|please wait"
    r"|timed? ?out|unable to contact|cannot connect|connection (refused|reset|failure)|communication|broken pipe"
    r"|temporarily un|standby|zero bytes|MaxSubmitJob|pending job threshold|authentication (credential|error)",
    re.IGNORECASE,
)
"""What schedulers say when they would answer otherwise a little later: their daemons restart, or are busy."""

SILENT = 124
"""The status of a command that didn't answer in time, as timeout(1) has it."""


@dataclass(frozen=True)
class Patience:
    """How long to ask; much longer than that is worth a person's look."""

    total_s: float = 600.0
    answer_s: float = 60.0
    pause_s: float = 10.0
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Answer:
    """What a command said at last."""

    status: int
    output: str
    words: str


ONCE = Patience(total_s=0.0, answer_s=20.0, pause_s=0.0)
"""For what is good to know, and can be done without."""


def ask(command: list[str], patience: Patience, good: re.Pattern[str] | None = None) -> Answer:
    """The first answer with status 0, or whose words match `good`; when patience ends, the last one."""
    deadline_s = patience.now() + patience.total_s
    while True:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=patience.answer_s)
            answer = Answer(done.returncode, done.stdout, done.stderr)
        except subprocess.TimeoutExpired:
            answer = Answer(SILENT, "", f"{command[0]}: no answer in {patience.answer_s:g} s\n")
        if answer.status == 0 or (good and good.search(answer.output + answer.words)):
            return answer
        if patience.now() >= deadline_s:
            return answer
        patience.sleep(patience.pause_s)
