"""Two runs never write one folder."""

import os
import subprocess
import sys

import pytest
from conftest import environment

from strongscale.common.errors import UserError
from strongscale.common.lock import is_held, locked

HOLD = "import sys, time; from pathlib import Path; from strongscale.common.lock import locked\nwith locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"


def test_a_second_run_is_refused_and_told_who_has_the_folder(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], env=environment(), stdout=subprocess.PIPE)
    holder.stdout.readline()
    with pytest.raises(UserError, match=f"another run is at work here .*process {holder.pid}"), locked(tmp_path, 0):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path, 0):  # the lock died with its owner
        pass


def test_nothing_is_left_of_it(tmp_path):
    with locked(tmp_path, 0):
        assert (tmp_path / "lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_tells_its_owners_job(tmp_path, monkeypatch):
    monkeypatch.setenv("LSB_JOBID", "42")
    with locked(tmp_path, 0):
        assert (tmp_path / "lock").read_text().endswith(f"process {os.getpid()}, lsf job 42")


def test_whether_a_folder_is_held_is_seen_without_taking_or_making_the_lock(tmp_path):
    assert not is_held(tmp_path)
    (tmp_path / "lock").write_text("of a run that died")
    assert not is_held(tmp_path)
    with locked(tmp_path, 0):
        assert is_held(tmp_path)
    assert list(tmp_path.iterdir()) == []
