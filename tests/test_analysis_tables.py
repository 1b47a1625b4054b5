import re

import pandas as pd
import pytest
from analysis_fixtures import (
    EVALUATION_S,
    FIXED_TARGET,
    SAMPLE_S,
    STEP_S,
    as_in_the_paper,
    collapsed,
    converged,
    exhausted,
    not_finite,
    paper_study,
    write_study,
)

from strongscale.analysis import speedup, tables
from strongscale.analysis.load import load
from strongscale.analysis.statistics import summarise
from strongscale.common.output import escape_latex, number

NAMES = ["time_to_target", "epochs_to_target", "samples_to_target", "table1", "table2", "timings", "stragglers"]
NAMES += ["ratios", "targets", "decisions"]


def made(tmp_path, script=as_in_the_paper, **changes):
    folder = write_study(tmp_path, paper_study(**changes), script)
    tables.main(["--study", str(folder)])
    return folder / "tables"


def test_every_table_is_written_and_names_the_clock(tmp_path):
    folder = made(tmp_path, seeds=[1, 2, 3], clock="emulated")
    expected = {f"{name}.{suffix}" for name in NAMES for suffix in ("csv", "md", "tex", "html")}
    assert {path.name for path in folder.iterdir()} == expected | {"cells.csv", "edge.csv", "where_time_goes.csv"}
    for path in folder.iterdir():
        assert "emulated clock" in path.read_text()
        assert path.suffix != ".csv" or set(pd.read_csv(path)["clock"]) == {
            "emulated clock (ten_gigabit network model)"
        }


def test_every_run_has_a_row(tmp_path):
    folder = made(tmp_path, seeds=[1, 2])
    cells = pd.read_csv(folder / "cells.csv")
    assert len(cells) == (4 * 5 + 3) * 2 + 4 * 2
    assert cells.loc[cells["status"] != "converged", "time_to_target_s"].isna().all()


def test_a_run_that_did_not_converge_has_words_and_no_number(tmp_path):
    def script(cell):
        if (cell.strategy, cell.workers) == ("weak", 8):
            return exhausted(cell)
        return as_in_the_paper(cell)

    folder = made(tmp_path, script)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in _table_lines(folder / "time_to_target.md")]
    table = pd.DataFrame(rows[2:], columns=rows[0]).set_index("workers")
    assert table.loc["8", "weak"] == "exhausted at 80 epochs"
    assert table.loc["8", "linear"] == "diverged (collapsed)"
    assert table.loc["32", "warmup"] == "diverged (not finite)"
    assert table.loc["2", "warmup10"] == "not run"
    numbers = pd.read_csv(folder / "time_to_target.csv").set_index(["strategy", "workers"])
    assert numbers["median"].isna()[("weak", 8)]
    assert numbers["median"][("strong", 2)] == pytest.approx(20 * 2.05 * (0.05 + 0.475 + 0.004))


def _table_lines(path):
    return [line for line in path.read_text().splitlines() if line.startswith("|")]


def test_seeds_that_disagree_are_counted_beside_the_median(tmp_path):
    def script(cell):
        return collapsed(cell) if (cell.strategy, cell.workers, cell.seed) == ("strong", 2, 3) else converged(cell)

    folder = made(tmp_path, script, seeds=[1, 2, 3])
    text = (folder / "time_to_target.md").read_text()
    assert re.search(r"22\.\d+ \[21\.\d+, not reached\] \(2 of 3 converged\)", text)
    assert "with a probability of at least 75 %" in text


def test_table_one_stands_beside_the_papers(tmp_path):
    table = pd.read_csv(made(tmp_path) / "table1.csv").set_index("workers")
    assert table["paper_percent"].to_dict() == {1: 100.0, 2: 105.17, 4: 86.81, 8: 90.09, 32: 46.25}
    assert table["median"][2] == pytest.approx(100 / 2 / (0.05 + 0.475 + 0.004))


def test_table_two_keeps_the_papers_failures(tmp_path):
    text = (made(tmp_path) / "table2.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| 8 "))
    assert re.search(r"42\.32 .*diverged \(collapsed\) .*NaN", row)


def test_the_edge_lists_the_base_rate_too(tmp_path):
    table = pd.read_csv(made(tmp_path) / "edge.csv")
    assert table["learning_rate"].tolist() == [0.001, 0.002, 0.003, 0.0042, 0.006]
    assert table["is_base_rate"].tolist() == [False, False, True, False, False]


def test_shares_of_time_sum_to_one(tmp_path):
    table = pd.read_csv(made(tmp_path) / "where_time_goes.csv")
    shares = [name for name in table.columns if name.endswith("_share")]
    assert table[shares].sum(axis=1).tolist() == pytest.approx([1.0] * len(table))


def test_latex_is_balanced_and_escaped(tmp_path):
    folder = made(tmp_path, seeds=[1, 2, 3], clock="emulated")
    for path in folder.glob("*.tex"):
        text = path.read_text()
        assert text.count(r"\begin{") == text.count(r"\end{") == 2
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
        assert not re.search(r"(?<!\\)[_#$]", text.replace(f"tab:{path.stem}", ""))
        assert len({line.count("&") for line in text.splitlines() if line.endswith(r"\\")}) == 1
        assert r"\toprule" in text
        assert r"\bottomrule" in text


def test_the_seconds_that_the_emulated_clock_takes_have_a_table(tmp_path):
    folder = made(tmp_path, clock="emulated", strategies={"strong": {}}, workers=[1, 2], edge={})
    table = pd.read_csv(folder / "timings.csv").set_index(["work", "samples"])["seconds"]
    assert table["a step"].to_dict() == pytest.approx({1: STEP_S + SAMPLE_S, 32: STEP_S + 32 * SAMPLE_S})
    assert table["an evaluation chunk", 8] == EVALUATION_S
    assert "what else the machine did isn't known" in (folder / "timings.md").read_text()


def test_stragglers_cost_nothing_at_one_worker_and_more_at_more(tmp_path):
    folder = made(tmp_path, clock="emulated", strategies={"strong": {}}, workers=[1, 2, 4], edge={})
    table = pd.read_csv(folder / "stragglers.csv").set_index("workers")
    slower = table["5% spread"] / table["equally fast"]
    assert slower[1] == pytest.approx(1)
    assert 1 < slower[2] < slower[4]


def test_a_study_on_the_wall_clock_has_no_timings_of_single_steps(tmp_path):
    folder = made(tmp_path, strategies={"strong": {}}, workers=[1, 2], edge={})
    for name in ("timings", "stragglers"):
        assert "measured while it trained" in (folder / f"{name}.md").read_text()
        assert len(pd.read_csv(folder / f"{name}.csv")) == 0


def test_latex_specials_are_escaped():
    assert escape_latex("50 %, ten_gigabit & {x}") == r"50 \%, ten\_gigabit \& \{x\}"


def test_numbers_keep_four_digits():
    assert [number(value) for value in (12345.6, 12.3456, 0.00123456, float("nan"), None)] == [
        "12346",
        "12.35",
        "0.001235",
        "",
        "",
    ]


def test_a_study_without_the_papers_strategies_says_so(tmp_path):
    folder = made(tmp_path, strategies={"mine": {"kind": "warmup"}}, workers=[1, 2], edge={})
    assert "no strong scaling" in (folder / "table1.md").read_text()
    assert "no weak or warmup or linear scaling" in (folder / "table2.tex").read_text()
    assert "mine" in (folder / "time_to_target.md").read_text()


def test_a_study_in_which_all_diverges_has_tables(tmp_path):
    folder = made(tmp_path, not_finite, seeds=[1, 2, 3], training=FIXED_TARGET)
    assert "diverged (not finite)" in (folder / "time_to_target.tex").read_text()
    assert pd.read_csv(folder / "table1.csv")["median"].isna().all()


def test_the_speedup_law_is_fitted_to_both(tmp_path):
    folder = write_study(tmp_path, paper_study())
    speedup.main(["--study", str(folder)])
    table = pd.read_csv(folder / "tables" / "speedup_law.csv")
    own = table[table["source"] == "this study"]
    assert own["serial"].iloc[0] == pytest.approx(0.05)
    assert own["communication"].iloc[0] == pytest.approx(0.004)
    assert own["relative_residual"].abs().max() < 1e-9
    assert set(table["clock"]) == {
        "wall clock",
        "wall clock, POWER8 hosts with Tesla K80 GPUs, Gigabit Ethernet",
    }
    assert "saturates at" in (folder / "tables" / "speedup_law.md").read_text()


def test_a_law_without_enough_points_is_not_fitted(tmp_path):
    folder = write_study(tmp_path, paper_study(workers=[1, 2], strategies={"strong": {}}))
    speedup.write(load(folder), folder)
    assert "cannot be fitted: 2 converged" in (folder / "tables" / "speedup_law.md").read_text()
    table = pd.read_csv(folder / "tables" / "speedup_law.csv")
    assert set(table.loc[table["source"] == "this study", "status"]) == {"cannot be fitted"}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([5.0, None], "words [5, not reached]"),
        ([5.0, None, None], "words [5, not reached]"),
        ([5.0, 6.0, None], "6 [5, not reached] (words)"),
        ([5.0, 6.0], "5.5 [5, 6]"),
        ([None, None], "words"),
        ([None], "words"),
        ([5.0], "5"),
    ],
)
def test_a_number_that_is_known_is_shown_beside_those_not_reached(values, text):
    assert tables.text_of(summarise(values, "words")) == text


def test_efficiency_is_never_converged_without_the_sequential_times(tmp_path):
    def script(cell):
        return exhausted(cell) if cell.workers == 1 and cell.seed < 3 else converged(cell)

    changes = {"strategies": {"strong": {}}, "workers": [1, 2], "edge": {}, "training": FIXED_TARGET}
    text = (made(tmp_path, script, seeds=[1, 2, 3], **changes) / "table1.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| 2 "))
    assert "| the sequential run reached the target in 1 of 3 seeds [" in row


def test_a_line_called_strong_that_is_not_stands_beside_nothing_of_the_papers(tmp_path):
    folder = made(tmp_path, converged, strategies={"strong": {"kind": "weak"}}, workers=[1, 2, 4], edge={})
    assert "This study has no strong scaling" in (folder / "table1.md").read_text()
    speedup.write(load(folder.parent), folder.parent)
    assert "This study: cannot be fitted" in (folder / "speedup_law.md").read_text()
    assert "no whole epoch of strong scaling" in (folder / "speedup_parts.md").read_text()


def test_the_law_says_which_numbers_of_workers_it_leaves_out(tmp_path):
    def script(cell):
        return exhausted(cell) if cell.workers == 32 else converged(cell)

    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, edge={}), script)
    speedup.write(load(folder), folder)
    text = (folder / "tables" / "speedup_law.md").read_text()
    assert text.count("Left out: ") == 1
    assert "Left out: 32 workers, where the efficiency has no median." in text
