"""What a task tells of its trained models, over the number of workers: a table and a figure, only where there is anything."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from analysis_fixtures import paper_study, write_study

from strongscale.analysis import measures
from strongscale.analysis.load import load
from strongscale.analysis.runs import Distribution
from strongscale.common.errors import UserError


@pytest.fixture
def studied(tmp_path):
    """A function that gives a study's runs, each with measures as a test has them; the study's folder."""
    folder = write_study(tmp_path, paper_study(seeds=[1, 2, 3]))
    runs = load(folder)

    def with_measures(measures_of, distributions_of=lambda run: {}):
        told = [
            replace(run, result=replace(run.result, measures=measures_of(run), distributions=distributions_of(run)))
            for run in runs.runs
        ]
        return replace(runs, runs=tuple(told)), folder

    return with_measures


def dice_of(run):
    return {"dice": 0.9 - 0.01 * run.workers + 0.02 * run.seed}


def spread_of(run):
    return {"dice": Distribution(count=40, lower_quartile=0.5, median=0.6 + 0.1 * run.seed, upper_quartile=1.0)}


def test_the_table_has_the_mean_and_the_ends_over_seeds(studied):
    runs, folder = studied(dice_of)
    measures.write(runs, folder)
    table = pd.read_csv(folder / "tables" / "measures.csv").set_index(["measure", "strategy", "workers"])
    row = table.loc["dice", "weak", 8]
    assert row[["num_runs", "mean", "smallest", "largest"]].tolist() == pytest.approx([3, 0.86, 0.84, 0.88])
    assert len(table) == 4 * 5 + 3
    assert set(table["clock"]) == {"wall clock"}
    assert "groups" not in table


def test_how_a_measure_is_spread_over_groups_stands_beside_it(studied):
    runs, folder = studied(dice_of, spread_of)
    measures.write(runs, folder)
    row = pd.read_csv(folder / "tables" / "measures.csv").iloc[0]
    assert row[["groups", "lower_quartile", "median", "upper_quartile"]].tolist() == pytest.approx([40, 0.5, 0.8, 1])
    assert "0.93 [0.91, 0.95]; half of 40 lie from 0.5 to 1" in (folder / "tables" / "measures.md").read_text()


def test_a_number_that_a_run_lacks_counts_for_nothing(studied):
    runs, _ = studied(lambda run: dice_of(run) if run.seed > 1 else {"dice": None})
    assert {row["num_runs"] for row in measures.rows(runs)} == {2}
    runs, _ = studied(lambda run: {"dice": None})
    assert all(math.isnan(row["mean"]) for row in measures.rows(runs))


def test_each_measure_has_a_panel_with_a_line_for_each_strategy(studied):
    runs, _ = studied(lambda run: dice_of(run) | {"accuracy": 0.5})
    panels = measures.figure(runs, measures.rows(runs)).axes
    assert [panel.get_title() for panel in panels] == [
        "Final dice against the number of workers",
        "Final accuracy against the number of workers",
    ]
    assert panels[0].get_legend_handles_labels()[1] == ["strong", "weak", "linear", "warmup", "warmup10"]


def test_the_figure_is_written_in_every_format(studied):
    runs, folder = studied(dice_of)
    measures.write(runs, folder)
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"measures.{one}" for one in ("svg", "pdf", "png")
    }


def test_a_line_that_has_not_been_run_at_a_number_of_workers_says_so(studied):
    runs, folder = studied(dice_of)
    measures.write(runs, folder)
    lines = (folder / "tables" / "measures.md").read_text().splitlines()
    assert next(line for line in lines if line.startswith("| dice") and "| 4 " in line).count("not run") == 1


def test_a_study_without_measures_is_refused_and_nothing_is_written(studied):
    runs, folder = studied(lambda run: {})
    with pytest.raises(UserError, match="task autoencoding has no measures; allowed: a study whose task has"):
        measures.write(runs, folder)
    assert not (folder / "tables").exists()


def test_all_cells_have_columns_for_them(studied):
    runs, _ = studied(dice_of, spread_of)
    row = runs.matrix[0].row()
    assert row["measure_dice"] == pytest.approx(dice_of(runs.matrix[0])["dice"])
    assert (row["measure_dice_count"], row["measure_dice_upper_quartile"]) == (40, 1.0)


def test_the_best_output_that_ignores_its_input_stands_beside_them(studied):
    runs, folder = studied(dice_of)
    (folder / "samples").mkdir()
    (folder / "samples" / "dataset.json").write_text('{"constant_measures": {"dice": 0.53}}')
    assert "best constant output" in measures.figure(runs, measures.rows(runs)).axes[0].get_legend_handles_labels()[1]
    measures.write(runs, folder)
    assert "The best constant output: dice 0.53." in (folder / "tables" / "measures.md").read_text()
