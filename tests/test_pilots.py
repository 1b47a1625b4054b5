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
        "edge": {"rates": [0.1, 0.2]},
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


def test_the_target_is_what_every_pilot_reaches_in_its_epochs_at_the_studys_rate(tmp_path):
    results = [
        pilot(tmp_path, 0.1, 11, [0.9, 0.5, 0.6, 0.1]),
        pilot(tmp_path, 0.1, 12, [0.9, 0.4, 0.3, 0.1]),
        pilot(tmp_path, 0.2, 11, [0.01]),
    ]
    told = pilots.set_target(results, 0.1, 3)
    assert told["target_loss"] == 0.5
    assert [one["best_validation_loss"] for one in told["pilots"]] == [0.5, 0.3]


def test_a_target_near_a_constants_loss_is_refused(tmp_path):
    results = [pilot(tmp_path, 0.1, 11, [0.85])]
    with pytest.raises(
        UserError, match=r"in 1 epochs the pilots reach 0\.85, which is 0\.85 of the best constant output's"
    ):
        pilots.set_target(results, 0.1, 1)
    assert pilots.set_target([pilot(tmp_path, 0.1, 12, [0.8])], 0.1, 1)["target_loss"] == 0.8


def test_a_pilot_that_diverged_sets_no_target(tmp_path):
    with pytest.raises(UserError, match=r"this pilot diverged \(collapsed\) at learning rate 0\.1"):
        pilots.set_target([pilot(tmp_path, 0.1, 11, [0.5], status="diverged")], 0.1, 1)


def test_on_the_command_line_the_rate_comes_from_the_edge_or_is_given(tmp_path):
    result = pilot(tmp_path, 0.1, 11, [0.5])
    write_json(tmp_path / "learning_rate.json", {"learning_rate": 0.1})
    for option in (["--rate", "0.1"], ["--learning-rate", str(tmp_path / "learning_rate.json")]):
        pilots.main([str(result), *option, "--epochs", "1", "--output", str(tmp_path / "target.json")])
        assert read_json(tmp_path / "target.json")["target_loss"] == 0.5
        (tmp_path / "target.json").unlink()


def test_pilots_try_the_rates_and_are_no_part_of_the_comparison():
    names = [(cell.strategy, cell.seed) for cell in cells.edge_cells("s", study())]
    assert names == [("rate_0.1", 11), ("rate_0.1", 12), ("rate_0.2", 11), ("rate_0.2", 12)]
    assert {cell.seed for cell in cells.matrix("s", study()).values()} == {1}


def test_with_a_rate_of_its_own_a_study_has_pilots_at_that_one_too():
    names = {cell.strategy for cell in cells.edge_cells("s", study(learning_rate=0.05))}
    assert names == {"rate_0.1", "rate_0.2", "rate_0.05"}


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

    tried = training_of("rate_0.1", 1, 11)
    assert (tried.target, tried.max_epochs, tried.learning_rate) == (None, 20, 0.1)
    for strategy, workers in (("sequential", 1), ("strong", 2)):
        raced = training_of(strategy, workers, 1)
        assert (raced.target, raced.max_epochs, raced.learning_rate) == (0.25, 32, 0.1)


def test_a_part_of_a_part_is_the_same_part():
    for strategy in ("rate_0.1", "sequential", "strong"):
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
