"""The set-up says in one line what is missing."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

REAL = f'exec "{sys.executable}" "$@"'


@pytest.fixture
def set_up(tmp_path):
    """A function that runs envs/setup.sh in a bare copy, with a python that behaves as told."""

    def run(python_script, name="python3"):
        project = tmp_path / "a project"
        (project / "envs").mkdir(parents=True)
        for file in ("setup.sh", "requirements.txt", "lock.txt"):
            shutil.copy(ROOT / "envs" / file, project / "envs" / file)
        python = tmp_path / name
        python.write_text(f"#!/bin/sh\n{python_script}\n")
        python.chmod(0o755)
        environment = os.environ | {"PYTHON": str(python), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nonexistent"}
        answer = subprocess.run(
            [project / "envs" / "setup.sh"], env=environment, capture_output=True, text=True, timeout=300
        )
        assert not (project / ".venv" / "complete").exists()
        assert answer.returncode != 0
        assert "Traceback" not in answer.stderr
        return answer.stderr

    return run


def test_an_old_python_is_named_with_what_is_needed(set_up):
    message = set_up('[ "$1" = --version ] && echo Python 3.9.2 && exit 0; exit 1')
    assert "setup: Python 3.9.2 is too old; Python 3.11 or newer is needed" in message


def test_a_python_without_venv_is_told_how_to_get_it(set_up):
    message = set_up(f'case "$2" in *ensurepip*) exit 1;; esac; {REAL}')
    assert "has no venv module" in message


def test_no_network_is_said(set_up):
    message = set_up(REAL)
    assert "setup: pip could not install envs/requirements.txt" in message
    assert "it needs PyPI or a mirror" in message
