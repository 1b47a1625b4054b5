"""The code behind a result: what a run uses, all of it and nothing else, as it was when the run began."""

import shutil
import subprocess
import sys

import pytest
from conftest import environment

from strongscale.common import provenance
from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.distributed.world import World
from strongscale.training import loop, setup
from strongscale.training.run import train

WARMUP = ("strongscale.models.deepdensity", "strongscale.strategies.warmup")
MINE = "from strongscale.strategies.base import Strategy\n\n\nclass Mine(Strategy):\n    pass\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, to be edited; only its files' contents count."""
    copy = tmp_path / "strongscale"
    shutil.copytree(provenance.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    return copy


def edit(path):
    path.write_text(path.read_text() + "\n# edited\n")


def changes(package, name):
    """Whether an edit of this file changes the hash of a warm-up cell's code."""
    before = provenance.code_hash(provenance.code(*WARMUP))
    edit(package / name)
    return provenance.code_hash(provenance.code(*WARMUP)) != before


@pytest.mark.parametrize("text", [MINE, "this is no Python ("], ids=["good", "broken"])
def test_a_strategy_that_the_cell_does_not_name_is_none_of_its_code(package, text):
    before = provenance.code(*WARMUP)
    (package / "strategies" / "mine.py").write_text(text)
    assert provenance.code(*WARMUP) == before


@pytest.mark.parametrize(
    "name",
    [
        "data/dataset.py",
        "data/tables.py",
        "training/loop.py",
        "gradients/reduction.py",
        "models/density/triton_kernel.py",
        "strategies/warmup.py",
        "optimizers/adam.py",
        "updates/synchronous.py",
        "timing/clock.py",
        "common/schema.py",
    ],
)
def test_what_decides_the_result_is_part_of_it(package, name):
    assert changes(package, name)


@pytest.mark.parametrize(
    "name",
    [
        "jobs/launch.py",
        "common/lock.py",
        "recovery/failure.py",
        "analysis/load.py",
        "data/cubes.py",
        "strategies/linear.py",
    ],
)
def test_what_does_not_decide_the_result_is_no_part_of_it(package, name):
    assert not changes(package, name)


def test_a_module_of_a_strategys_own_is_part_of_it(package):
    (package / "strategies" / "mine.py").write_text("from ..rates import slow\nfrom . import weak\n" + MINE)
    (package / "rates.py").write_text("slow = 0.1\n")
    assert {"rates.py", "strategies/mine.py", "strategies/weak.py"} <= provenance.code(
        "strongscale.strategies.mine"
    ).keys()


def test_lines_that_end_otherwise_are_the_same_code(package):
    before = provenance.code(*WARMUP)
    path = package / "training/loop.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert provenance.code(*WARMUP) == before


def test_a_strategy_that_is_no_python_is_one_line(package):
    (package / "strategies" / "mine.py").write_text("x = 1\nthis is no Python (\n")
    with pytest.raises(UserError, match=r"mine.py: line 2: "):
        provenance.code("strongscale.strategies.mine")


def test_what_is_left_out_is_there(package):
    """A file that moved would silently count again."""
    for name in provenance.WITHOUT_EFFECT:
        assert package.joinpath(*name.split(".")[1:]).with_suffix(".py").is_file()


def test_the_hash_does_not_depend_on_what_the_process_has_imported():
    """Here everything is imported; there nothing but this module."""
    code = f"from strongscale.common import provenance; print(provenance.code_hash(provenance.code(*{WARMUP})))"
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.strip() == provenance.code_hash(provenance.code(*WARMUP))


def test_an_edit_during_the_run_is_not_credited_to_it(make_cell, package, monkeypatch):
    folder = make_cell("strong", 2, max_epochs=1)
    before = provenance.code(*WARMUP)["training/loop.py"]
    run = loop.Trainer.run

    def run_while_somebody_edits(self):
        edit(package / "training/loop.py")
        return run(self)

    monkeypatch.setattr(loop.Trainer, "run", run_while_somebody_edits)
    train(folder, World())
    result = read_json(folder / "result.json")
    assert result["code"]["training/loop.py"] == before
    assert result["code_hash"] == provenance.code_hash(result["code"])


def test_a_run_goes_on_from_its_checkpoints_after_a_strategy_was_added(make_cell, package, monkeypatch):
    folder = make_cell("strong", 2)
    trainer = setup.prepare(folder, World())
    trainer.continuation.resume(trainer)
    trainer.continuation.save(trainer, 0)
    (package / "strategies" / "mine.py").write_text(MINE)
    train(folder, World())
    assert read_json(folder / "result.json")["attempts"] == 2
