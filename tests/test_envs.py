"""The two ways to install, conda by stage and pip, give the same versions."""

import re
from pathlib import Path

import pytest
import yaml

ENVS = Path(__file__).parents[1] / "envs"
CONDA_NAMES = {"pytorch": "torch", "gdcm": "python-gdcm"}
PINNED = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ENVS / "requirements.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", sorted(ENVS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_conda_environment_has_the_pinned_versions(path):
    packages = yaml.safe_load(path.read_text())["dependencies"]
    versions = dict(package.split("=") for package in packages)
    assert versions.pop("python") == "3.11"
    assert versions == {name: PINNED[CONDA_NAMES.get(name, name)] for name in versions}


def test_the_lock_agrees_with_the_requirements():
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ENVS / "lock.txt").read_text(), re.MULTILINE))
    lower = {name.lower().replace("_", "-"): version for name, version in locked.items()}
    for name, version in PINNED.items():
        if name != "torch":  # its build depends on the machine, so it is pinned by the requirements alone
            assert lower[name.lower().replace("_", "-")] == version
