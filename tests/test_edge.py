"""The learning rate at the edge: the largest that trains, and what is said of it."""

import json

import pytest

from strongscale.analysis import edge
from strongscale.common.errors import UserError
from strongscale.common.schema import build
from strongscale.settings.cells import own_part, rate_name
from strongscale.settings.config import Study

CONSTANT = 0.02


def tried(rate, best, status="exhausted", seed=1, epochs=20, target=None):
    """The result of one try."""
    return {
        "learning_rate": rate,
        "seed": seed,
        "status": status,
        "diverged_because": "collapsed" if status == "diverged" else None,
        "epochs": epochs,
        "target_loss": target,
        "best_validation_loss": best,
        "constant_loss": CONSTANT,
    }


def chosen(folder, *results):
    """What the stage writes."""
    paths = []
    for number, result in enumerate(results):
        paths.append(folder / f"{number}.json")
        paths[-1].write_text(json.dumps(result))
    edge.main([*map(str, paths), "--output", str(folder / "rate.json"), "--tolerance", "0.15"])
    return json.loads((folder / "rate.json").read_text())


def test_the_largest_rate_up_to_which_all_train_is_chosen(tmp_path):
    results = [tried(0.001, 0.015), tried(0.002, 0.016), tried(0.003, 0.018), tried(0.004, 0.015)]
    assert chosen(tmp_path, *results)["learning_rate"] == 0.002


def test_a_rate_that_never_beat_a_constant_output_does_not_train(tmp_path):
    results = [tried(0.001, 0.0195), tried(0.002, 0.0205)]
    found = chosen(tmp_path, *results)
    assert found["learning_rate"] == 0.001
    assert "never beat the best constant output: 0.0205 against 0.02" in found["outcomes"][1]["why_not"]


def test_rates_too_small_to_get_anywhere_are_passed_over(tmp_path):
    assert (
        chosen(tmp_path, tried(1e-6, 0.04), tried(0.001, 0.015), tried(0.004, 0.03, "diverged"))["learning_rate"]
        == 0.001
    )


def test_where_no_rate_beats_a_constant_it_is_said_with_its_numbers_and_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match=r"no rate trains: 0\.001 never beat .* 0\.021 against 0\.02; 0\.004 diverged"):
        chosen(tmp_path, tried(0.001, 0.021), tried(0.004, 0.03, "diverged"))
    assert not (tmp_path / "rate.json").exists()


def test_a_rate_that_fails_late_gives_way_to_the_next_and_it_is_said(tmp_path, capsys):
    found = chosen(tmp_path, tried(0.001, 0.015), tried(0.002, 0.014, "diverged", epochs=57))
    assert found["learning_rate"] == 0.001
    assert (
        "Learning rate 0.001, the largest that trains: 0.002 diverged (collapsed) after 57 epochs."
        in capsys.readouterr().out
    )


def test_a_rate_counts_only_if_it_trains_for_every_seed(tmp_path):
    results = [tried(rate, 0.015, seed=seed) for rate in (0.001, 0.002) for seed in (1, 2)]
    results[-1]["status"] = "diverged"
    assert chosen(tmp_path, *results)["learning_rate"] == 0.001


def test_an_edge_that_was_not_found_is_said_where_somebody_looks(tmp_path, capsys):
    found = chosen(tmp_path, tried(0.001, 0.015), tried(0.002, 0.015))
    assert found["is_the_largest_tried"]
    assert "The edge wasn't found" in capsys.readouterr().out


def test_a_rate_that_misses_the_target_that_a_smaller_one_reached_does_not_train(tmp_path):
    assert (
        chosen(tmp_path, tried(0.001, 0.01, "converged", target=0.01), tried(0.002, 0.0105, target=0.01))[
            "learning_rate"
        ]
        == 0.001
    )


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ({"learning_rate": "edge", "target": {"sequential_epochs": 100}}, (100, None)),
        ({"learning_rate": "edge", "target": {"sequential_epochs": 5}}, (20, None)),
        ({"learning_rate": "edge", "target": 0.001}, (400, 0.001)),
        ({"learning_rate": 0.01, "target": 0.001}, (20, None)),
    ],
)
def test_a_rate_to_be_chosen_is_tried_for_as_long_as_the_sequential_run(training, expected):
    raw = {"dataset": "small", "strategies": {"strong": {}}, "edge": {"rates": [0.002]}, "training": training}
    own = own_part(build(Study, raw, "study"), rate_name(0.002))
    assert own_part(own, rate_name(0.002)) == own
    tried = own.training
    assert (tried.max_epochs, tried.target) == expected
    assert tried.learning_rate == 0.002
