"""Programs in place of a scheduler's, and time that passes only by sleeping."""

import pytest

from strongscale.jobs.scheduler.patience import Patience


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.seconds = 1000.0
        self.slept = []

    def patience(self, **values):
        return Patience(now=lambda: self.seconds, sleep=self.sleep, **values)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def program(tmp_path):
    """A function that writes a program; its path."""

    def write(script, name="program"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\ncd '{tmp_path}'\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return write
