"""What tables, figures and claims make of the search for the edge."""

import json

import pandas as pd
import pytest
from analysis_fixtures import MAX_EPOCHS, PILOTED, paper_study, write_study

from strongscale.analysis.curve_figures import edge_figure
from strongscale.analysis.load import load
from strongscale.analysis.remarks import edge_not_found
from strongscale.analysis.tables import write_tables
from strongscale.inference.outcome import NONE
from strongscale.settings.margins import margins
from strongscale.verdicts.path_claims import higher_rate_diverges

SEARCHED = {"learning_rate": "edge", "target": PILOTED, "max_epochs": MAX_EPOCHS}


@pytest.fixture
def study(tmp_path):
    """A study whose rate was looked for: the edge is 0.003."""
    changes = {"strategies": {"strong": {}}, "workers": [1, 2], "edge": {"between": [0.003, 0.0035], "rates": []}}
    return write_study(tmp_path, paper_study(training=SEARCHED, **changes))


def lose_the_upper_end(study):
    """As if no rate had failed."""
    path = study / "learning_rate.json"
    told = json.loads(path.read_text())
    tries = [one for one in told["tries"] if one["passes"]]
    words = "Learning rate 0.003: every rate trains. The edge wasn't found, it lies above."
    path.write_text(json.dumps(told | {"bracket": [0.003, None], "tries": tries, "in_words": words}))


def test_claim_9_is_judged_by_the_searchs_own_criterion(study):
    base, *higher = higher_rate_diverges(load(study), margins()).parts
    assert base.leans == 1
    assert base.because.startswith("At the edge, 0.003, 4 of 4 short sequential runs reach a validation loss of")
    assert all(part.leans == 1 for part in higher)
    assert "Above it don't 2 of 2 at" in higher[0].because
    assert all(part.evidence == NONE for part in (base, *higher))


def test_where_the_edge_was_not_found_claims_figure_and_remarks_say_so(study):
    lose_the_upper_end(study)
    runs = load(study)
    (part,) = higher_rate_diverges(runs, margins()).parts
    assert part.evidence == NONE
    assert "The edge wasn't found" in part.because
    assert "The edge wasn't found" in edge_not_found(runs)
    assert "The edge wasn't found" in edge_figure(runs).axes[0].get_title()


def test_an_edge_that_was_found_is_no_remark(study):
    assert edge_not_found(load(study)) is None


def test_the_table_has_a_row_a_short_run_and_the_studys_own(study):
    write_tables(load(study), study / "tables")
    table = pd.read_csv(study / "tables" / "edge.csv")
    found = json.loads((study / "learning_rate.json").read_text())
    tries = table[table["is_try"]]
    assert len(tries) == sum(one["seeds"] for one in found["tries"])
    assert set(tries[tries["is_base_rate"]]["learning_rate"]) == {0.003}
    own = table[~table["is_try"]]
    assert (own["learning_rate"].tolist(), own["seed"].tolist()) == ([0.003], [1])


def test_the_figure_has_each_short_run_once_and_shades_the_bracket(study):
    found = json.loads((study / "learning_rate.json").read_text())
    shares, losses = edge_figure(load(study)).axes
    drawn = [tuple(point) for points in losses.collections for point in points.get_offsets()]
    assert len(drawn) == sum(one["seeds"] for one in found["tries"])
    assert shares.get_legend_handles_labels()[1].count("the edge's bracket") == 1
