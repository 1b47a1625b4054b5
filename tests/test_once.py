"""A stage that is started twice works once."""

import subprocess
import sys

import pytest
from conftest import environment

from strongscale.common.errors import UserError
from strongscale.common.lock import locked
from strongscale.jobs import once


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A function that runs a stage which writes how often it has run; what it reads and makes lies in its folder."""
    runs = []

    def work(arguments):
        if "fail" in arguments:
            raise UserError("mend it")
        runs.append(arguments)
        (tmp_path / "made").write_text(f"run {len(runs)}")

    monkeypatch.setattr(once, "_main_of", lambda name: work)
    (tmp_path / "input").write_text("1")
    scans = tmp_path / "scans"
    scans.mkdir()
    (scans / "scan.raw").write_text("1")

    def run(*arguments):
        paths = [
            tmp_path / "receipts" / "work.json",
            "--inputs",
            tmp_path / "input",
            scans,
            "--makes",
            tmp_path / "made",
        ]
        once.main([*map(str, paths), "--run", "stage", *arguments])
        return len(runs)

    return run


def test_a_second_copy_writes_the_receipt_alone(stage, tmp_path):
    receipt = tmp_path / "receipts" / "work.json"
    assert stage("--settings", "1") == 1
    first = receipt.read_bytes()
    receipt.unlink()  # as Snakemake does before a job
    assert stage("--settings", "1") == 1
    assert receipt.read_bytes() == first


def change_settings(folder):
    return ["--settings", "2"]


def change_input(folder):
    (folder / "input").write_text("2")


def change_scan(folder):
    (folder / "scans" / "scan.raw").write_text("22")


def add_scan(folder):
    (folder / "scans" / "other.raw").write_text("1")


def damage_what_was_made(folder):
    (folder / "made").write_text("run 2")


def lose_what_was_made(folder):
    (folder / "made").unlink()


CHANGES = [change_settings, change_input, change_scan, add_scan, damage_what_was_made, lose_what_was_made]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_makes_it_work_again(stage, tmp_path, change):
    stage("--settings", "1")
    arguments = change(tmp_path) or ["--settings", "1"]
    assert stage(*arguments) == 2


def test_a_failure_leaves_no_receipt_and_what_was_made_before(stage, tmp_path):
    stage("--settings", "1")
    (tmp_path / "receipts" / "work.json").unlink()
    with pytest.raises(UserError, match="mend it"):
        stage("fail")
    assert not (tmp_path / "receipts" / "work.json").exists()
    assert (tmp_path / "made").read_text() == "run 1"
    assert stage("--settings", "1") == 2  # nobody knows what a failed run has left


def test_a_second_copy_waits_for_the_first(tmp_path):
    command = [tmp_path / "receipts/settings.json", "--makes", tmp_path / "page.md", "--run", "settings.page"]
    record = tmp_path / "receipts" / "records" / "settings"
    record.mkdir(parents=True)
    with locked(record, 0):
        second = subprocess.Popen(
            list(map(str, [sys.executable, "-m", "strongscale.jobs.once", *command, tmp_path / "page.md"])),
            env=environment(),
        )
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(timeout=1.5)
        assert not (tmp_path / "page.md").exists()
    assert second.wait(timeout=60) == 0
    assert (tmp_path / "receipts/settings.json").exists()


def test_a_stage_that_is_none_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="no stage 'nope'"):
        once.main([str(tmp_path / "receipts/x.json"), "--makes", str(tmp_path / "x"), "--run", "nope"])
