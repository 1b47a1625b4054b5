"""Two runs never write one folder."""

import subprocess
import sys

import pytest
from conftest import environment

from strongscale.errors import UserError
from strongscale.lock import locked

HOLD = "import sys, time; from pathlib import Path; from strongscale.lock import locked\nwith locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"


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
