"""A file is written whole or not at all."""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from strongscale.common.errors import UserError
from strongscale.common.files import atomic, read_json, write_json


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"old": True})
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_one_line_and_nothing_half_written(tmp_path):
    """A limit on the size of files stands in for the full disk: the same error comes from the same call."""
    code = """
import sys
from pathlib import Path
from strongscale.common.command import run
from strongscale.common.files import write_json
run(lambda arguments: write_json(Path(arguments[0]), list(range(10000))))
"""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "result.json")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert answer.returncode == 1
    assert "File too large" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_nan_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_torn_json_is_named(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(UserError, match="result.json: not valid JSON"):
        read_json(path)
