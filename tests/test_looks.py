"""How many seeds are enough: what a look decides, how often it is wrong, and which runs the next one asks for."""

import json
import math

import pytest
import yaml
from analysis_fixtures import converged, paper_study, write_cell, write_study
from benchmarks.verdicts import looking
from workflow_fixtures import plan, snakemake

from strongscale.analysis.load import load
from strongscale.analysis.looks import look
from strongscale.analysis.tables import main as write_tables
from strongscale.common.errors import UserError
from strongscale.common.schema import plain
from strongscale.inference import looks
from strongscale.inference.contrast import of_numbers
from strongscale.settings.cells import all_cells
from strongscale.settings.config import LOOKS
from strongscale.settings.looks import asked, next_look, path_of, with_looks

MARGIN = math.log(1.1)
STUDIES = 100


@pytest.mark.parametrize("spread", [0.05, 0.1, 0.3])
def test_each_wrong_decision_is_made_in_few_of_a_hundred_contrasts(spread):
    just, _ = looking(1.1, spread, STUDIES)  # the margin itself: neither faster nor as fast is right
    assert just[looks.ABOVE] <= 0.05
    assert just[looks.WITHIN] <= 0.05
    same, _ = looking(1.0, spread, STUDIES)
    assert same[looks.ABOVE] + same[looks.BELOW] <= 0.03


def test_clear_contrasts_stop_at_once_and_open_ones_go_on():
    clear, few = looking(2.0, 0.1, STUDIES)
    assert clear[looks.ABOVE] == 1
    assert few < LOOKS[1]
    tie, more = looking(1.0, 0.1, STUDIES)
    assert tie[looks.WITHIN] > 0.3
    assert more > LOOKS[1]


def test_what_is_computed_needs_no_more_seeds():
    assert looks.decision(of_numbers([0.5] * 3), MARGIN) == looks.ABOVE
    assert looks.decision(of_numbers([-0.5] * 3), MARGIN) == looks.BELOW
    assert looks.decision(of_numbers([0.01] * 3), MARGIN) == looks.WITHIN
    assert looks.decision(of_numbers([0.5]), MARGIN) is None


def test_there_are_four_looks():
    assert [next_look(seeds) for seeds in (3, 5, 8, 12)] == [5, 8, 12, None]


AUTO = {"strategies": {"strong": {}, "weak": {}, "warmup": {}}, "workers": [1, 2], "seeds": "auto", "edge": {}}


def unsteady(cell):
    """Weak scaling is a third slower than strong scaling in every seed, the warm-up in some slower and in some faster."""
    slowdown = {"weak": 1.3, "warmup": 1.0 + 0.3 * (-1) ** cell.seed}
    return converged(cell, slowdown.get(cell.strategy, 1.0))


def test_more_seeds_are_asked_for_only_where_it_is_open_who_is_faster(tmp_path):
    study = paper_study(**AUTO)
    folder = write_study(tmp_path, study, unsteady)
    first = look(load(folder, before_look=0), None)
    assert {one["strategy"]: one["decision"] for one in first["contrasts"]} == {"weak": "slower", "warmup": None}
    assert first["asked"] == {"strong": {"2": 5}, "warmup": {"2": 5}}
    assert not first["is_done"]
    assert first["in_words"] == "1 of 2 contrasts are decided; 1 need more seeds."
    take(folder, 0, first)
    more = with_looks(study, folder)
    assert [len(more.seeds_of(line, 2)) for line in ("strong", "weak", "warmup")] == [5, 3, 5]
    assert more.all_seeds == (1, 2, 3, 4, 5)
    with pytest.raises(
        UserError, match="warmup, 2 workers, seed 4 is missing|sequential, 1 workers, seed 4 is missing"
    ):
        load(folder)  # what was asked for isn't trained yet
    for cell in all_cells("small", more):
        write_cell(tmp_path, more, cell, unsteady(cell))
    runs = load(folder)
    assert [len(runs.of(line, 2)) for line in ("strong", "weak", "warmup")] == [5, 3, 5]
    assert runs.num_seeds == "3 to 5 seeds"
    second = look(load(folder, before_look=1), first)
    assert second["asked"]["warmup"] == {"2": 8}
    assert len(load(folder, before_look=0).of("warmup", 2)) == 3  # as it was at the first look
    write_tables(["--study", str(folder)])
    assert "median of 3 to 5 seeds" in (folder / "tables" / "time_to_target.md").read_text()


def test_the_last_look_leaves_undecided_what_is_open(tmp_path):
    study = asked(paper_study(**AUTO), {line: {"2": LOOKS[-1]} for line in ("strong", "warmup")})
    folder = write_study(tmp_path, study, unsteady)
    (folder / "study.json").write_text(
        json.dumps({**plain(study), "name": "small", "dataset_provenance": "phantom scans, seed 1"})
    )
    told = look(load(folder, before_look=0), None)
    assert {one["strategy"]: one["decision"] for one in told["contrasts"]} == {"weak": "slower", "warmup": "undecided"}
    assert told["is_done"]
    assert told["in_words"] == "1 of 2 contrasts are decided, 1 stay undecided; no more seeds are needed."


def test_a_look_that_is_none_is_refused(tmp_path):
    folder = write_study(tmp_path, paper_study(**AUTO), unsteady)
    for text in ("{", '{"asked": {"weak": {"2": 4}}, "is_done": false}', "[]"):
        take(folder, 0, text)
        with pytest.raises(UserError, match=r"0\.json: not a look at a study; remove it and run again"):
            load(folder)


def take(folder, number, told):
    """As if this look had been taken."""
    path = path_of(folder, number)
    path.parent.mkdir(exist_ok=True)
    path.write_text(told if isinstance(told, str) else json.dumps(told))


@pytest.mark.slow
def test_one_command_goes_on_until_no_more_seeds_are_needed(tmp_path):
    training = {"learning_rate": 0.01, "target": 0.6, "max_epochs": 8}
    mine = {"like": "digits", "workers": [1, 2], "seeds": "auto", "training": training}
    studies = {"mine": mine | {"strategies": {"strong": {}, "weak": {}}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"study": "mine", "studies": studies}))
    done = snakemake(tmp_path, config="mine.yaml")
    assert done.returncode == 0, done.stdout
    looks_taken = sorted((tmp_path / "results/mine/looks").glob("*.json"))
    last = json.loads(looks_taken[-1].read_text())
    assert last["is_done"]
    (weak,) = last["contrasts"]
    assert len(list((tmp_path / "results/mine/cells/weak/02workers").glob("seed*/result.json"))) == weak["seeds"]
    assert weak["seeds"] == LOOKS[len(looks_taken) - 1]
    assert plan(tmp_path, config="mine.yaml").outputs == {}
