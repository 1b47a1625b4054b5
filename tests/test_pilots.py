"""One target for all cells, set by the runs of pilots."""

import pytest

from strongscale.analysis import pilots
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.common.schema import build
from strongscale.settings import cells, config_file
from strongscale.settings.cells import Cell
from strongscale.settings.config import Study
from strongscale.training.prepare import resolve

TARGET = {"sequential_epochs": 3, "pilots": [11, 12]}


def study(**training):
    raw = {
        "dataset": "tiny",
        "strategies": {"strong": {}},
        "workers": [1, 2],
        "seeds": [1],
        "edge": {"rates": [0.1, 0.2], "between": [0.05, 0.4]},
    }
    return build(
        Study, raw | {"training": {"target": TARGET, "learning_rate": "edge", "max_epochs": 9} | training}, "study"
    )


def pilot(folder, rate, seed, losses, constant=1.0, status="exhausted"):
    folder = folder / f"{rate}" / f"{seed}"
    folder.mkdir(parents=True)
    lines = ["epoch,validation_loss", *(f"{epoch},{loss}" for epoch, loss in enumerate(losses, 1))]
    (folder / "epochs.csv").write_text("\n".join(lines) + "\n")
    because = "collapsed" if status == "diverged" else None
    told = {
        "learning_rate": rate,
        "seed": seed,
        "status": status,
        "diverged_because": because,
        "constant_loss": constant,
    }
    write_json(folder / "result.json", told)
    return folder / "result.json"


def test_the_target_is_what_every_pilot_reaches_in_its_epochs(tmp_path):
    results = [pilot(tmp_path, 0.1, 11, [0.9, 0.5, 0.6, 0.1]), pilot(tmp_path, 0.1, 12, [0.9, 0.4, 0.3, 0.1])]
    told = pilots.set_target(results, 3)
    assert (told["target_loss"], told["learning_rate"]) == (0.5, 0.1)
    assert [one["best_validation_loss"] for one in told["pilots"]] == [0.5, 0.3]


def test_a_target_near_a_constants_loss_is_refused(tmp_path):
    results = [pilot(tmp_path, 0.1, 11, [0.85])]
    with pytest.raises(
        UserError, match=r"in 1 epochs the pilots reach 0\.85, which is 0\.85 of the best constant output's"
    ):
        pilots.set_target(results, 1)
    assert pilots.set_target([pilot(tmp_path, 0.1, 12, [0.8])], 1)["target_loss"] == 0.8


def test_a_pilot_that_diverged_sets_no_target(tmp_path):
    with pytest.raises(UserError, match=r"this pilot diverged \(collapsed\) at learning rate 0\.1"):
        pilots.set_target([pilot(tmp_path, 0.1, 11, [0.5], status="diverged")], 1)


def test_on_the_command_line_the_target_is_written(tmp_path):
    result = pilot(tmp_path, 0.1, 11, [0.5])
    pilots.main([str(result), "--epochs", "1", "--output", str(tmp_path / "target.json")])
    assert read_json(tmp_path / "target.json")["target_loss"] == 0.5


def test_pilots_are_a_line_of_their_own_and_no_part_of_the_comparison():
    assert [(cell.strategy, cell.seed) for cell in cells.pilot_cells("s", study())] == [("pilot", 11), ("pilot", 12)]
    assert {cell.seed for cell in cells.matrix("s", study()).values()} == {1}
    assert cells.pilot_cells("s", study(target=0.001)) == []


def test_runs_at_given_rates_are_of_the_studys_seeds():
    names = [(cell.strategy, cell.seed) for cell in cells.rate_cells("s", study(learning_rate=0.1))]
    assert names == [("rate_0.2", 1)]


@pytest.mark.parametrize("own_rate", ["edge", 0.1])
def test_pilots_run_their_epochs_and_all_others_race_to_the_target(tmp_path, own_rate):
    write_json(tmp_path / "target.json", {"target_loss": 0.25})
    write_json(tmp_path / "learning_rate.json", {"learning_rate": 0.1})

    def training_of(strategy, workers, seed):
        return resolve(
            study(learning_rate=own_rate, target=TARGET | {"sequential_epochs": 8}, max_epochs=32),
            Cell("s", strategy, workers, seed),
            folder=tmp_path,
            dataset=tmp_path,
            dataset_hash="0",
            learning_rate=tmp_path / "learning_rate.json",
            target=tmp_path / "target.json",
        ).training

    own = training_of("pilot", 1, 11)
    assert (own.target, own.max_epochs, own.learning_rate) == (None, 8, 0.1)
    other = training_of("rate_0.2", 1, 1)
    assert (other.target, other.max_epochs, other.learning_rate) == (None, 20, 0.2)
    for strategy, workers in (("sequential", 1), ("strong", 2)):
        raced = training_of(strategy, workers, 1)
        assert (raced.target, raced.max_epochs, raced.learning_rate) == (0.25, 32, 0.1)


def test_a_part_of_a_part_is_the_same_part():
    for strategy in ("rate_0.1", "pilot", "sequential", "strong"):
        own = cells.own_part(study(learning_rate=0.1), strategy)
        assert cells.own_part(own, strategy) == own


def test_a_pilot_among_the_studys_seeds_is_refused(tmp_path):
    raw = {"target": TARGET | {"pilots": [11, 1]}}
    config = {
        "study": "s",
        "datasets": {"tiny": {"phantom": {}}},
        "studies": {"s": {"dataset": "tiny", "strategies": {"strong": {}}, "training": raw}},
    }
    with pytest.raises(UserError, match=r"target\.pilots: 1 is not allowed; allowed: seeds that aren't among"):
        config_file.parse(config)
