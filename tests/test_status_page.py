"""What is going on in a study, on a page: the matrix, hours, what runs and what failed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environment
from status_fixtures import NOW, Life, make_study, status_of
from workflow_fixtures import write_config

from strongscale.common.errors import UserError
from strongscale.settings.cells import Cell, all_cells
from strongscale.status import __main__ as command
from strongscale.status.page import Page
from strongscale.status.snapshot import as_table, take
from strongscale.status.state import duration


def test_hours_are_ranks_times_hours_of_finished_and_unfinished_cells(study):
    Life(study[1]).ended()  # 2 ranks, 1 hour
    Life(study[1], Cell("small", "strong", 4, 1)).locked(NOW - 9).beat(NOW, lived_s=1800.0)
    hours = take(study[1], NOW).hours
    assert (hours.unit, hours.spent) == ("GPU-hours", pytest.approx(4.0))


@pytest.mark.parametrize(
    ("training", "unit"),
    [
        ({"device": "cpu"}, "core-hours"),
        ({"device": "cpu", "threads": 2}, "rank-hours"),
        ({"device": "cuda"}, "GPU-hours"),
        ({"device": "auto"}, "rank-hours"),
    ],
)
def test_before_any_run_the_settings_tell_the_unit_of_hours(tmp_path, training, unit):
    _, folder = make_study(tmp_path / "results", training={"target": 0.005, "max_epochs": 40, **training})
    assert take(folder, NOW).hours.unit == unit


@pytest.mark.parametrize("told", [{"device": "CPU: Xeon, 1 thread"}, {"history": [{"device": "CPU: Xeon, 1 thread"}]}])
def test_a_heartbeat_tells_the_unit_of_hours_before_a_cell_has_finished(study, told):
    Life(study[1]).locked(NOW - 9).write("heartbeat.json", json.dumps({"at": NOW, "lived_s": 3.0} | told))
    assert take(study[1], NOW).hours.unit == "core-hours"


def test_runs_on_different_devices_have_ranks_in_common(study):
    Life(study[1]).ended()
    Life(study[1], Cell("small", "strong", 2, 1)).ended(device="CPU: Xeon, 1 thread")
    assert take(study[1], NOW).hours.unit == "rank-hours"


def test_hours_to_come_are_unknown_until_a_cell_has_finished(study):
    assert take(study[1], NOW).hours.to_come is None
    assert "unknown, for nothing has finished" in Page().write(take(study[1], NOW))


def test_hours_to_come_take_the_cells_of_the_same_strategy_first(study):
    Life(study[1]).ended()  # weak: 2 GPU-hours
    Life(study[1], Cell("small", "strong", 2, 1)).ended(time_s=8 * 3600 - 10.0)  # strong: 16
    # still to come: weak at 4 workers (2), strong at 4 (16), sequential: the median of both (9)
    assert take(study[1], NOW).hours.to_come == pytest.approx(2 + 16 + 9)


def test_a_run_takes_no_longer_than_all_its_epochs(study):
    for cell in all_cells("small", study[0]):
        Life(study[1], cell).ended(time_s=36000.0)
    running = Life(study[1]).locked(NOW - 9).beat(NOW, lived_s=390.0).epochs(39, at=NOW)
    (running.folder / "result.json").unlink()
    assert take(study[1], NOW).hours.to_come == pytest.approx(2 * 10 / 3600)


def test_a_run_that_takes_longer_than_those_before_still_has_hours_to_come(study):
    for cell in all_cells("small", study[0]):
        Life(study[1], cell).ended(time_s=90.0)
    running = Life(study[1]).locked(NOW - 9).beat(NOW, lived_s=400.0).epochs(10, at=NOW)
    (running.folder / "result.json").unlink()
    assert take(study[1], NOW).hours.to_come == pytest.approx(2 * 30 * 40 / 3600)  # 2 ranks, 30 epochs of 40 s


def test_modelled_seconds_arent_taken_for_hours(tmp_path):
    _, folder = make_study(tmp_path / "results", clock="emulated", max_ranks=1)
    life = Life(folder).ended(clock="emulated", ranks=1, time_s=1e9)
    assert take(folder, NOW).hours.num_unknown == 1
    life.write("benchmark.tsv", "s\th:m:s\n7200.0\t2:00:00\n")
    hours = take(folder, NOW).hours
    assert (hours.unit, hours.spent, hours.num_unknown) == ("rank-hours", pytest.approx(2.0), 0)


def test_seeds_are_counted_by_state_in_one_place_of_the_matrix(tmp_path):
    _, folder = make_study(tmp_path / "results", seeds=[1, 2, 3], workers=[1, 2])
    for seed in (1, 2, 3):
        Life(folder, Cell("small", "strong", 2, seed)).ended()
    for seed in (1, 2):
        Life(folder, Cell("small", "weak", 2, seed)).ended("exhausted")
    lines = Page().write(take(folder, NOW)).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("weak"))
    assert lines[place].split() == ["weak", "exhausted", "2/3"]
    assert lines[place + 1].split() == ["waiting", "1/3"]
    assert lines[place - 1].split() == ["strong", "converged", "3/3"]


def test_a_page_lists_what_runs_and_failed_with_the_log_to_read(study):
    Life(study[1]).submitted(NOW - 90).locked(NOW - 9).beat(NOW).failed(NOW)
    Life(study[1], Cell("small", "strong", 4, 1)).locked(NOW - 9).beat(NOW)
    text = Page().write(take(study[1], NOW))
    assert "weak, 2 workers, seed 1: rank 1 on host node7 failed: RuntimeError" in text
    assert f"    log: {study[1]}/cells/weak/02workers/seed1/train.log\n    log: logs/1234.log" in text
    assert "strong, 4 workers, seed 1: epoch 1 of 40" in text
    assert "5 cells: 1 running, 1 failed, 3 waiting" in text


def write_losses(folder, null_loss=0.04, constant_loss=0.02):
    """The data set's losses without input: others for models of fewer dimensions."""
    dataset = folder.parent / "datasets" / "tiny" / "dataset.json"
    dataset.parent.mkdir(parents=True)
    sides = {
        name: {"2": {"training": 9.0, "validation": 8.0}, "3": {"training": 7.0, "validation": loss}}
        for name, loss in (("null_loss", null_loss), ("constant_loss", constant_loss))
    }
    dataset.write_text(json.dumps(sides))


def test_the_heading_names_the_losses_by_which_to_judge(study):
    write_losses(study[1])
    line = Page().write(take(study[1], NOW)).splitlines()[1]
    assert line == "validation loss: target 0.005000; best constant output 0.020000; predicting zero 0.040000"


def test_the_losses_are_those_of_the_models_dimensions(tmp_path):
    _, folder = make_study(tmp_path / "results", model={"dimensions": 2})
    write_losses(folder)
    assert "best constant output 8.000000; predicting zero 8.000000" in Page().write(take(folder, NOW))


def test_a_result_tells_the_losses_where_the_data_set_is_gone(study):
    Life(study[1]).ended(null_loss=0.5, constant_loss=0.25)
    line = Page().write(take(study[1], NOW)).splitlines()[1]
    assert line == "validation loss: target 0.005000; best constant output 0.250000; predicting zero 0.500000"


def test_targets_of_their_own_are_told_from_the_lowest_to_the_highest(study):
    Life(study[1]).ended(target_loss=0.004)
    assert "validation loss: target 0.004000 to 0.005000\n" in Page().write(take(study[1], NOW))


@pytest.mark.parametrize("text", ["{", '{"null_loss": 3, "constant_loss": {"3": [1]}}', '{"null_loss": {"3": {}}}'])
def test_a_torn_data_set_only_costs_its_losses(study, text):
    write_losses(study[1])
    (study[1].parent / "datasets" / "tiny" / "dataset.json").write_text(text)
    assert Page().write(take(study[1], NOW)).splitlines()[1] == "validation loss: target 0.005000"


def test_a_cell_that_hasnt_beaten_the_best_constant_output_is_named(study):
    write_losses(study[1])
    Life(study[1]).locked(NOW - 9).beat(NOW).epochs(3, at=NOW, loss=0.02)
    Life(study[1], Cell("small", "strong", 2, 1)).locked(NOW - 9).beat(NOW).epochs(3, at=NOW, loss=0.0199)
    Life(study[1], Cell("small", "strong", 4, 1)).ended("exhausted", best_validation_loss=0.03, constant_loss=0.025)
    Life(study[1], Cell("small", "weak", 4, 1)).locked(NOW - 9).beat(NOW)  # in its first epoch
    snapshot = take(study[1], NOW)
    told = (
        Page().write(snapshot).split("nothing learnt from the input so far: no epoch below the best constant output:")
    )
    assert told[1].split("\n\n")[0].splitlines() == [
        "",
        "  strong, 4 workers, seed 1: exhausted, best 0.030000",
        "  weak, 2 workers, seed 1: running, best 0.020000",
    ]
    beats = {(one["strategy"], one["workers"]): one["beats_constant"] for one in as_table(snapshot)["cells"]}
    assert beats == {
        ("sequential", 1): None,
        ("strong", 2): True,
        ("strong", 4): False,
        ("weak", 2): False,
        ("weak", 4): None,
    }


def test_the_best_epoch_counts_not_the_last(study):
    write_losses(study[1])
    life = Life(study[1]).locked(NOW - 9).beat(NOW).epochs(1, at=NOW, loss=0.01)
    text = (
        life.folder / "epochs.csv"
    ).read_text() + "2,32,64,0.001,0.03,nan,2.0\n3,48,96,0.001,0.03,0.03,3.0\n4,64,1,1,1,0.0"
    life.write("epochs.csv", text)
    one = status_of(study[1])
    assert (one.best_validation_loss, one.validation_loss, one.beats_constant) == (0.01, 0.03, True)


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3], list(range(12))])
def test_a_page_fits_in_a_hundred_columns(tmp_path, seeds):
    strategies = {"strong": {}, "weak": {}, "linear": {}, "warmup10": {"kind": "warmup", "parameters": {"epochs": 10}}}
    edge = {"rates": [0.000525, 0.0021]}
    study, folder = make_study(
        tmp_path / "results", strategies=strategies, workers=[1, 2, 4, 8, 16, 32], seeds=seeds, edge=edge
    )
    for cell in all_cells("small", study):
        Life(folder, cell).failed(NOW, "many words " * 30).beat(NOW)
    text = Page().write(take(folder, NOW))
    assert max(len(line) for line in text.splitlines() if "log: " not in line) <= 100
    assert text.count("workers   ") == 1


def test_a_wide_matrix_goes_on_below(tmp_path):
    workers = [1, *range(2, 22)]
    study, folder = make_study(tmp_path / "results", workers=workers)
    for cell in all_cells("small", study):
        Life(folder, cell).ended()
    lines = Page(60).write(take(folder, NOW)).splitlines()
    heads = [line.split()[1:] for line in lines if line.startswith("workers")]
    assert [int(head) for line in heads for head in line] == workers
    assert max(map(len, lines)) <= 60


def test_colour_is_asked_for(study):
    snapshot = take(study[1], NOW)
    assert "\x1b[" not in Page().write(snapshot)
    assert "\x1b[2mwaiting" in Page(colour=True).write(snapshot)


def test_a_study_that_was_renamed_is_still_read(study):
    Life(study[1]).ended()
    renamed = study[1].rename(study[1].with_name("elsewhere"))
    assert status_of(renamed).state == "converged"


@pytest.mark.parametrize("text", ["{", "{}", '{"name": "small", "workers": 3}'])
def test_a_study_whose_settings_are_none_is_told_in_one_line(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(UserError, match=str(tmp_path)) as told:
        take(tmp_path, NOW)
    assert "\n" not in str(told.value)


@pytest.fixture
def begun(tmp_path):
    """A project whose data set is being made: its results folder."""
    write_config(tmp_path, name="config.yaml")
    data = tmp_path / "results/datasets/tiny"
    for name in ("scans/subset0/.snakemake_timestamp", "cubes/subset0.0.csv", "logs/cubes.log"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).touch()
    (data / "scans/subset1").mkdir()  # which is being written
    return tmp_path / "results"


def test_before_a_study_begins_its_data_set_is_told(begun):
    snapshot = take(begun / "tiny", NOW)
    steps = {step.what: (step.done, step.of) for step in snapshot.steps}
    assert steps == {"scans": (1, 2), "cubes": (1, 2), "ledger": (0, 1), "data set": (0, 1)}
    assert snapshot.counts == {"waiting": 11}  # strong scaling is the sequential run
    assert {one.words for one in snapshot.cells} == {"for the data set"}
    text = Page().write(snapshot)
    assert "data set tiny, not made yet" in text
    assert (
        f"cubes     1 of 2\n  ledger    0 of 1\n  data set  0 of 1\n    log: {begun}/datasets/tiny/logs/cubes.log"
        in text
    )
    assert as_table(snapshot)["steps"][0] == {"what": "scans", "done": 1, "of": 2}


def test_a_study_of_another_name_is_told_with_those_there_are(begun):
    make_study(begun)
    with pytest.raises(UserError) as told:
        take(begun / "tinny", NOW)
    assert str(told.value).endswith("no study.json in it; the studies there are: small, tiny, tiny_wall")


def test_a_config_that_cant_be_read_is_told_in_one_line(begun):
    (begun.parent / "config.yaml").write_text("studies: [")
    with pytest.raises(UserError, match="config.yaml: can't be read"):
        take(begun / "tiny", NOW)


def test_the_command_line_writes_text_or_json(study, capsys):
    Life(study[1]).ended()
    command.main([str(study[1])])
    assert "5 cells: 1 converged, 4 waiting" in capsys.readouterr().out
    command.main([str(study[1]), "--json"])
    table = json.loads(capsys.readouterr().out)
    assert table["states"] == {"converged": 1, "waiting": 4}
    assert {cell["state"] for cell in table["cells"] if cell["strategy"] == "weak"} == {"converged", "waiting"}


def test_a_watch_redraws_a_terminal_and_ends_at_ctrl_c(study, capsys, monkeypatch):
    naps = []

    def nap(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", nap)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command.main([str(study[1]), "--watch", "3"])
    assert naps == [3.0, 3.0]
    assert capsys.readouterr().out.count(command.CLEAR + "study small") == 2


def test_a_watch_into_a_file_writes_a_line_of_json_a_period(study, capsys, monkeypatch):
    def nap(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", nap)
    command.main([str(study[1]), "--watch", "--json"])
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out)["study"] == "small"


@pytest.mark.parametrize("period", ["0", "-1", "often", "nan"])
def test_a_period_that_is_none_is_refused(study, capsys, period):
    with pytest.raises(SystemExit):
        command.main([str(study[1]), f"--watch={period}"])
    assert "--watch" in capsys.readouterr().err


def test_no_colour_is_respected_on_a_terminal(study, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in command.show(study[1], as_json=False)
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[" in command.show(study[1], as_json=False)


def test_nothing_beyond_the_standard_library_is_imported(study):
    code = (
        "import sys; from strongscale.status.__main__ import main; main(sys.argv[1:]); "
        "sys.exit(str([name for name in sys.modules if name.partition('.')[0] not in "
        "{*sys.stdlib_module_names, 'strongscale', '__main__'} and not name.startswith('__')]))"
    )
    options = ["-S", "-c", code, str(study[1])]  # -S: without installed packages
    done = subprocess.run([sys.executable, *options], env=environment(), capture_output=True, text=True, timeout=30)
    assert done.stderr.strip() == "[]"
    assert "5 cells" in done.stdout


def test_the_module_is_a_command_that_fails_in_one_line(tmp_path):
    call = [sys.executable, "-m", "strongscale.status", str(tmp_path)]
    done = subprocess.run(call, env=environment(), capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "no study" in done.stderr


def test_durations_are_told_in_the_unit_that_fits():
    told = [duration(seconds) for seconds in (0.5, 45, 150, 3600 * 3.4, 86400 * 2.1, -3)]
    assert told == ["0.5 s", "45 s", "2 min", "3.4 h", "2.1 days", "0.0 s"]


QUICK = Path(__file__).parents[1] / "results/quick"


@pytest.mark.skipif(not (QUICK / "study.json").exists(), reason="needs the study quick")
def test_the_study_of_this_tree_is_read():
    assert "study quick" in Page().write(take(QUICK, NOW))
