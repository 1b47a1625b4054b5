"""Runs that take the same path to the bit are trained once."""

import logging
from dataclasses import replace

import pytest
from conftest import TINY_MODEL, mpirun, rows
from own_parts_fixtures import ADDING_UP

from strongscale.common.files import read_json, write_json
from strongscale.distributed.world import World
from strongscale.recovery.finished import MADE, is_finished
from strongscale.settings.cells import WITHOUT_EFFECT
from strongscale.timing.steps import read_steps
from strongscale.training import setup
from strongscale.training.run import train

CURIOUS = """
    from strongscale.strategies.base import Strategy


    class Curious(Strategy):
        reads_statistics = True
"""
EXACT = {"reduction": "exact", "microbatch": 2, "max_epochs": 2}


@pytest.fixture
def make(make_cell):
    """A function that writes the cell.json of a study in which runs are shared; the cell's folder."""

    def write(strategy="weak", workers=2, **settings):
        return make_cell(strategy, workers, **{"share_trajectories": True, **EXACT, **settings})

    return write


@pytest.fixture
def run(caplog):
    """A function that trains a cell, or takes one over; what it logged, line by line."""

    def log_of(folder):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            train(folder, World())
        return caplog.messages

    return log_of


def was_trained(messages):
    return any(message.startswith("epoch ") for message in messages)


def result_of(folder):
    return read_json(folder / "result.json")


def records(folder):
    """The records of trajectories beside a study."""
    return sorted((folder.parents[4] / "trajectories").glob("*.json"))


def test_a_run_is_registered_with_what_it_made(make, run):
    folder = make()
    assert was_trained(run(folder))
    (record,) = records(folder)
    known = read_json(record)
    assert known["cell"] == "tiny/cells/weak/02workers/seed1"
    assert list(known["files"]) == list(MADE)


def test_a_second_study_takes_over_the_same_run(make, run):
    first, second = make(name="first"), make(name="second")
    run(first)
    messages = run(second)
    assert messages == ["first/cells/weak/02workers/seed1 took this very path, and is taken over"]
    for name in ("epochs.csv", "weights.safetensors", "steps.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes()
    assert {path.name for path in second.iterdir()} == {"cell.json", *MADE}  # and no checkpoint, lock or heartbeat
    assert is_finished(second)


def test_a_result_that_was_taken_over_says_whose_trajectory_it_is(make, run):
    first, second = make(name="first"), make(name="second")
    run(first)
    run(second)
    told, own = result_of(first), result_of(second)
    assert told["trajectory"] == own["trajectory"] == "first/cells/weak/02workers/seed1"
    differ = {name for name in own if own[name] != told[name]}
    assert differ == {"study", "settings_hash"}


def test_a_third_study_takes_over_from_the_first(make, run):
    folders = [make(name=name) for name in ("first", "second", "third")]
    for folder in folders:
        run(folder)
    assert len(records(folders[0])) == 1
    assert result_of(folders[2])["trajectory"] == "first/cells/weak/02workers/seed1"


def test_another_name_of_the_line_is_the_same_path(make, run):
    run(make("weak", name="first"))
    folder = make("mine", name="second", kind="weak")
    assert not was_trained(run(folder))
    assert (result_of(folder)["strategy"], result_of(folder)["workers"]) == ("mine", 2)


@pytest.mark.parametrize("who", ["first", "second"])
def test_nothing_is_taken_over_where_a_study_shares_nothing(make, run, who):
    run(make(name="first", share_trajectories=who != "first"))
    folder = make(name="second", share_trajectories=who != "second")
    assert was_trained(run(folder))
    assert result_of(folder)["trajectory"] == "second/cells/weak/02workers/seed1"


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"learning_rate": 0.004},
        {"batch_size": 8},
        {"max_epochs": 3},
        {"target": 0.001},
        {"evaluation_chunk": 5},
        {"model": replace(TINY_MODEL, components=3)},
        {"strategy": "linear"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_makes_other_weights_or_losses_is_another_path(make, run, changes):
    run(make(name="first"))
    assert was_trained(run(make(name="second", **changes)))


def test_other_passes_are_another_path(make, run):
    """Sums of other parts are rounded otherwise."""
    run(make("strong", 2, name="first"))
    assert was_trained(run(make("strong", 2, name="second", microbatch=1)))


def test_a_run_that_has_begun_goes_on_by_itself(make, run):
    first, second = make(name="first"), make(name="second")
    run(first)
    write_json(second / "heartbeat.json", {})
    assert was_trained(run(second))


@pytest.mark.parametrize("key", ["code_hash", "versions"])
def test_other_code_or_libraries_are_another_path(make, run, monkeypatch, key):
    run(make(name="first"))
    describe = setup.describe_origin
    if key == "code_hash":
        monkeypatch.setattr(setup.provenance, "code_hash", lambda code: "another")
    else:
        monkeypatch.setattr(setup, "describe_origin", lambda *ranks: describe(*ranks) | {"versions": {"torch": "0"}})
    assert was_trained(run(make(name="second")))


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_a_run_whose_files_are_not_what_they_were_is_trained_again(make, run, name, damage):
    first, second = make(name="first"), make(name="second")
    run(first)
    if damage == "removed":
        (first / name).unlink()
    else:
        (first / name).write_bytes((first / name).read_bytes() + b"\n")
    assert was_trained(run(second))
    assert result_of(second)["trajectory"] == "second/cells/weak/02workers/seed1"
    (record,) = records(second)
    assert read_json(record)["cell"] == "second/cells/weak/02workers/seed1"  # the next one takes over this


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cell": 5, "files": {}}', '{"cell": "x"}'])
def test_a_record_that_is_none_is_no_harm(make, run, text):
    first, second = make(name="first"), make(name="second")
    run(first)
    (record,) = records(first)
    record.write_text(text)
    assert was_trained(run(second))
    assert read_json(record)["cell"].startswith("second/")


def test_in_exact_mode_another_number_of_workers_is_the_same_path(make, run):
    first, second = make("strong", 1, name="first"), make("strong", 4, name="second")
    run(first)
    assert not was_trained(run(second))
    assert rows(second) == rows(first)
    steps = read_steps(second / "steps.json")
    assert steps.workers == 4
    assert steps.kinds[0].passes == ((4,),) * 4
    own = make("strong", 4, name="own", share_trajectories=False)
    run(own)
    assert read_steps(own / "steps.json") == steps
    assert rows(own) == rows(second)


def test_weak_scaling_of_another_number_of_workers_is_another_path(make, run):
    run(make("weak", 2, name="first"))
    assert was_trained(run(make("weak", 4, name="second")))


def test_fast_mode_is_never_shared(make, run):
    """Its sums depend on how many there are."""
    run(make("strong", 1, name="first", reduction="fast"))
    assert was_trained(run(make("strong", 4, name="second", reduction="fast")))
    assert was_trained(run(make("strong", 4, name="third", reduction="fast")))


def test_on_the_wall_clock_every_run_is_trained(make, run):
    """Its seconds are its own."""
    run(make("strong", 1, name="first", clock="wall"))
    assert was_trained(run(make("strong", 1, name="second", clock="wall")))


def test_a_strategy_that_asks_what_gradients_tell_shares_with_its_like_alone(make, run, own):
    """Its plan isn't known before it runs."""
    kind = own("curious.py", CURIOUS)
    run(make("mine", 2, name="first", kind=kind))
    assert was_trained(run(make("mine", 4, name="second", kind=kind)))
    assert not was_trained(run(make("other", 2, name="third", kind=kind)))


def test_an_update_rule_whose_path_depends_on_workers_shares_with_its_like_alone(make, run, own):
    kind = own("local.py", ADDING_UP)
    run(make("local", 2, name="first", kind=kind))
    assert was_trained(run(make("local", 4, name="second", kind=kind)))
    assert was_trained(run(make("local", 2, name="third", kind=kind, parameters={"steps": 3})))
    assert not was_trained(run(make("other", 2, name="fourth", kind=kind)))


def test_all_ranks_take_over_together(make, run):
    run(make("strong", 1, name="first"))
    folder = make("strong", 2, name="second")
    answer = mpirun(2, "strongscale.training", folder)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr.count("is taken over") == 1
    assert "epoch 1/" not in answer.stderr
    assert result_of(folder)["workers"] == 2


def test_a_cell_that_was_trained_somewhere_else_is_not_registered(make, run, tmp_path):
    folder = make(name="first")
    raw = read_json(folder / "cell.json")
    raw["study"] = "renamed"
    write_json(folder / "cell.json", raw)
    run(folder)
    assert records(folder) == []


def test_where_others_are_looked_up_is_no_part_of_a_runs_identity(make):
    own, alone = (read_json(make(share_trajectories=share) / "cell.json") for share in (True, False))
    assert (own["trajectories"], alone["trajectories"]) == ("../../../../../trajectories", None)
    assert "trajectories" in WITHOUT_EFFECT
    assert own | {"trajectories": None} == alone
