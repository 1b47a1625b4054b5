"""What must be said of a study's numbers stands in its table, its claims, its figures and the terminal."""

from dataclasses import replace

import pandas as pd
import pytest
from analysis_fixtures import CONSTANT_LOSS, as_in_the_paper, converged, exhausted, paper_study, write_study

from strongscale.analysis.curve_figures import edge_figure, edge_outcome, warmup_figure
from strongscale.analysis.load import load
from strongscale.analysis.remarks import remarks
from strongscale.analysis.tables import write_tables
from strongscale.settings.cells import is_rate_name
from strongscale.verdicts import claims


def trains_at_every_rate(cell):
    return replace(converged(cell), status="exhausted") if is_rate_name(cell.strategy) else as_in_the_paper(cell)


def learns_nothing(cell):
    own = exhausted(cell)
    return replace(own, losses=(0.03, CONSTANT_LOSS, *[0.0195] * (len(own.losses) - 2)))


@pytest.fixture
def without_edge(tmp_path):
    """A study that tried rates up to 0.006, all of which train."""
    return write_study(tmp_path, paper_study(), trains_at_every_rate)


def test_an_edge_that_was_not_found_is_said_in_claims_and_terminal(without_edge, capsys):
    claims.main(["--study", str(without_edge)])
    words = "The edge of the learning rate wasn't found: 0.006, the largest tried, trains too"
    assert words in (without_edge / "claims.md").read_text()
    assert words in capsys.readouterr().out


def test_an_edge_that_was_not_found_is_the_title_of_its_figure(without_edge):
    title = edge_figure(load(without_edge)).axes[0].get_title()
    assert "wasn't found" in title
    assert "becomes too large" not in title


def test_an_edge_that_was_found_is_not_denied(tmp_path):
    runs = load(write_study(tmp_path, paper_study()))
    assert not any("edge" in remark for remark in remarks(runs))
    assert edge_figure(runs).axes[0].get_title() == "Where the learning rate becomes too large"


def test_a_run_that_learnt_less_than_a_constant_is_named_so_everywhere(tmp_path, capsys):
    def script(cell):
        return learns_nothing(cell) if cell.strategy == "weak" and cell.workers == 8 else as_in_the_paper(cell)

    folder = write_study(tmp_path, paper_study(), script)
    runs = load(folder)
    (run,) = runs.of("weak", 8)
    assert run.result.outcome == "exhausted at 80 epochs, no better than a constant output"
    assert (
        "Learnt less than the best constant output, whose validation loss is 0.019: weak, 8 workers, seed 1."
        in remarks(runs)
    )
    claims.main(["--study", str(folder)])
    assert "Learnt less than the best constant output" in capsys.readouterr().out


def test_a_try_that_learnt_less_than_a_constant_has_not_trained(tmp_path):
    def script(cell):
        return learns_nothing(cell) if cell.strategy == "rate_0.0042" else as_in_the_paper(cell)

    runs = load(write_study(tmp_path, paper_study(), script))
    assert {run.base_rate: edge_outcome(run) for run in runs.edge}[0.0042] == "no better than a constant"


def test_figures_show_both_losses_that_need_no_input(tmp_path):
    runs = load(write_study(tmp_path, paper_study()))
    for figure in (edge_figure(runs), warmup_figure(runs)):
        labels = figure.axes[0].get_legend_handles_labels()[1]
        assert {"predicting zero", "the best constant output"} <= set(labels)


def test_a_minibatch_that_takes_all_samples_is_remarked_in_the_table_and_the_claims(tmp_path):
    folder = write_study(tmp_path, paper_study())
    write_tables(load(folder), folder / "tables")
    table = pd.read_csv(folder / "tables" / "cells.csv").query("strategy == 'weak'").set_index("workers")
    assert "minibatch 1024, larger than the 512 training samples" in table.loc[32, "remark"]
    assert table.loc[8, "minibatch"] == 256
    assert pd.isna(table.loc[8, "remark"])
    claims.main(["--study", str(folder)])
    assert "weak, 32 workers: minibatch 1024, larger than the 512" in (folder / "claims.md").read_text()
