"""A trial: trained once, looked up afterwards, gone on with after a kill."""

import os
import signal

import pytest
from conftest import rows

from strongscale.common.errors import UserError
from strongscale.recovery.finished import read_settings
from strongscale.recovery.interrupt import EXIT_STATUS
from strongscale.training.loop import Trainer
from strongscale.tuning.trials import run_part, run_trial


@pytest.fixture
def settings_of(make_cell):
    """A function that makes the settings of a sequential run on the tiny data set."""
    return lambda **settings: read_settings(make_cell("sequential", **settings))


@pytest.fixture
def folder(tmp_path):
    """Where a trial lies; as deep as a cell."""
    return tmp_path / "results" / "tiny" / "edge" / "trials" / "0.003" / "seed1"


def test_a_trial_tells_its_result_and_where_its_epochs_stand(settings_of, folder):
    result = run_trial(settings_of(), folder)
    assert (result["status"], result["epochs"]) == ("exhausted", 3)
    assert result["epochs_table"] == str(folder / "epochs.csv")
    assert len(rows(folder)) == 3


def test_the_same_settings_are_trained_once(settings_of, folder):
    run_trial(settings_of(), folder)
    before = (folder / "result.json").stat().st_mtime_ns
    run_trial(settings_of(), folder)
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_other_settings_take_the_old_run_away(settings_of, folder):
    first = run_trial(settings_of(), folder)
    second = run_trial(settings_of(name="other", learning_rate=0.001), folder)
    assert (first["learning_rate"], second["learning_rate"]) == (0.003, 0.001)
    assert {float(row["learning_rate"]) for row in rows(folder)} == {0.001}


def test_a_trial_that_a_signal_ends_goes_on_where_it_was(settings_of, folder, tmp_path, monkeypatch):
    whole = tmp_path / "results" / "tiny" / "edge" / "trials" / "0.003" / "seed2"
    run_trial(settings_of(), whole)
    tell, listened = Trainer._tell, signal.getsignal(signal.SIGTERM)

    def warn(trainer):
        tell(trainer)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "_tell", warn)
    with pytest.raises(SystemExit) as left:
        run_trial(settings_of(), folder)
    assert left.value.code == EXIT_STATUS
    assert signal.getsignal(signal.SIGTERM) == listened
    monkeypatch.setattr(Trainer, "_tell", tell)
    assert run_trial(settings_of(), folder)["attempts"] == 2
    assert rows(folder) == rows(whole)


def test_a_trial_in_parts_ends_with_the_same_weights_as_one_that_was_never_left(settings_of, folder, tmp_path):
    whole = tmp_path / "results" / "tiny" / "edge" / "trials" / "0.003" / "seed2"
    run_trial(settings_of(), whole)
    losses = [run_part(settings_of(), folder, epochs)[0] for epochs in (1, 1, 2)]
    assert [len(found) for found in losses] == [1, 1, 2]
    assert not (folder / "result.json").exists()
    assert run_part(settings_of(), folder, 3) == (
        pytest.approx(losses[-1] + [float(rows(whole)[-1]["validation_loss"])]),
        False,
    )
    assert rows(folder) == rows(whole)
    assert (folder / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()


def test_a_part_that_was_done_is_not_trained_again(settings_of, folder):
    run_part(settings_of(), folder, 2)
    before = (folder / "epochs.csv").stat().st_mtime_ns
    assert len(run_part(settings_of(), folder, 1)[0]) == len(run_part(settings_of(), folder, 2)[0]) == 2
    assert (folder / "epochs.csv").stat().st_mtime_ns == before


def test_of_a_part_with_other_settings_nothing_stays(settings_of, folder):
    run_part(settings_of(), folder, 2)
    run_part(settings_of(name="other", learning_rate=0.001), folder, 1)
    assert [float(row["learning_rate"]) for row in rows(folder)] == [0.001]


def test_a_run_that_diverges_in_a_part_has_ended(settings_of, folder):
    losses, diverged = run_part(settings_of(learning_rate=1e30), folder, 2)
    assert diverged
    assert len(losses) < 3
    assert run_part(settings_of(learning_rate=1e30), folder, 3) == (pytest.approx(losses, nan_ok=True), True)


def test_a_trial_that_fails_leaves_the_reason_in_its_folder(settings_of, folder, tmp_path):
    settings = settings_of()
    folder = tmp_path / "elsewhere" / "far" / "off"
    with pytest.raises(UserError):
        run_trial(settings, folder)
    assert "dataset.json" in (folder / "failure.txt").read_text()
