import hashlib
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import FIXED_TARGET, as_in_the_paper, not_finite, paper_study, write_study

from strongscale.analysis import clock_check
from strongscale.analysis.curve_figures import failing_warmup
from strongscale.analysis.figures import FIGURE_OF_RUNS, FIGURES, main
from strongscale.analysis.load import load
from strongscale.common.errors import UserError
from strongscale.common.style import save, sentence_figure, theme


def check_written(folder, name):
    for extension, start in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
        content = (folder / "figures" / f"{name}.{extension}").read_bytes()
        assert content.startswith(start)
        assert len(content) > 1000


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("results"), paper_study(seeds=[1, 2, 3], clock="emulated"))


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_drawn_in_three_formats(three_seeds, name):
    main([name, "--study", str(three_seeds)])
    check_written(three_seeds, name)
    text = (three_seeds / "figures" / f"{name}.svg").read_text()
    assert "phantom scans" in text
    assert name == "figure1" or "emulated clock" in text


@pytest.mark.parametrize(
    ("script", "changes"),
    [
        (as_in_the_paper, {"strategies": {"strong": {}}, "workers": [1, 2], "edge": {}}),
        (as_in_the_paper, {"strategies": {"mine": {"kind": "weak"}}, "workers": [1], "edge": {}}),
        (not_finite, {"seeds": [1, 2, 3], "workers": [1, 8], "training": FIXED_TARGET}),
    ],
    ids=["one strategy", "one worker", "all diverged"],
)
def test_figures_of_poor_studies_are_drawn_too(tmp_path, script, changes):
    if script is not_finite:
        changes = {**changes, "strategies": {"strong": {}, "warmup": {}}}
    runs = load(write_study(tmp_path, paper_study(**changes), script))
    with theme():
        for name, draw in FIGURE_OF_RUNS.items():
            draw(runs).savefig(tmp_path / f"{name}.svg")


@pytest.mark.parametrize("name", ["figure3", "figure4", "figure5", "edge"])
def test_each_figure_of_losses_shows_what_ignoring_the_input_costs(three_seeds, name):
    runs = load(three_seeds)
    with theme():
        axes = FIGURE_OF_RUNS[name](runs).axes[0]
    dotted = {line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"}
    assert dotted == {runs.null_loss, runs.constant_loss}
    assert len(dotted) == 2


def test_losses_by_epoch_have_a_panel_for_each_strategy_with_both_losses(three_seeds):
    runs = load(three_seeds)
    with theme():
        panels = FIGURE_OF_RUNS["losses"](runs).axes
    assert [panel.get_title() for panel in panels if panel.get_title()] == list(runs.study.strategies)
    strong = next(panel for panel in panels if panel.get_title() == "strong")
    dashes = [line.get_linestyle() for line in strong.lines]
    assert dashes.count(":") == len(runs.workers("strong"))
    assert dashes.count("-") == sum(len(runs.of("strong", workers)) for workers in runs.workers("strong"))


def test_a_missing_figure_says_what_is_missing(tmp_path):
    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, workers=[1, 2]))
    main(["figure3", "--study", str(folder)])
    check_written(folder, "figure3")
    assert "No warm-up run of this study failed" in (folder / "figures" / "figure3.svg").read_text()


@pytest.mark.parametrize("shape", [(2, 16, 16, 16), (2, 16, 16), (2, 16)])
def test_nodules_of_any_dimension_are_drawn(tmp_path, shape):
    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, workers=[1]))
    values = np.random.default_rng(1).random(shape)
    np.savez(folder / "reconstructions.npz", input=values, reconstruction=values / 2, diameter_mm=[6, 9], loss=[1, 2])
    main(["figure1", "--study", str(folder)])
    assert "diameter 9.0 mm" in (folder / "figures" / "figure1.svg").read_text()


def test_unreadable_reconstructions_are_the_users_to_mend(tmp_path):
    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, workers=[1]))
    np.savez(folder / "reconstructions.npz", input=[1.0])
    with pytest.raises(UserError, match="reconstructions.npz: not readable"):
        main(["figure1", "--study", str(folder)])


def test_figure_three_takes_the_failing_warmup_nearest_to_eight_workers(tmp_path):
    run = failing_warmup(load(write_study(tmp_path, paper_study())))
    assert (run.strategy, run.workers) == ("warmup", 8)


def test_the_same_figure_has_the_same_bytes(tmp_path):
    def digests(folder):
        with theme():
            save(sentence_figure("Nothing to show."), folder, "one", "label")
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]

    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_the_theme_leaves_nothing_behind(three_seeds):
    before = dict(mpl.rcParams)
    main(["edge", "--study", str(three_seeds)])
    assert dict(mpl.rcParams) == before


def both_clocks(tmp_path, modelled=None, **changes):
    """The emulated one first: wherever both have a run, the wall clock tells a tenth more."""
    modelled = write_study(
        tmp_path, paper_study(clock="emulated", workers=[1, 2, 8], **modelled or {}), name="modelled"
    )
    epoch_s = {run.cell.folder.partition("/")[2]: run.result.time_s / run.result.epochs for run in load(modelled).runs}

    def slower(cell):
        return replace(as_in_the_paper(cell), epoch_s=1.1 * epoch_s.get(cell.folder.partition("/")[2], 1.0))

    return write_study(tmp_path, paper_study(workers=[1, 2, 4], **changes), slower, name="measured"), modelled


def test_the_clock_check_compares_what_both_studies_have(tmp_path):
    wall, emulated = both_clocks(tmp_path)
    clock_check.main(["--study", str(wall), "--other", str(emulated)])
    table = pd.read_csv(wall / "tables" / "clock_check.csv")
    assert set(table["workers"]) == {1, 2, 8, 32}  # warmup10 names its own numbers of workers
    assert table["relative_error"].to_list() == pytest.approx([1 / 1.1 - 1] * len(table))
    text = (wall / "tables" / "clock_check.md").read_text()
    assert "Measured: study measured, wall clock" in text
    assert "Emulated: study modelled, emulated clock (ten_gigabit network model)" in text
    check_written(wall, "clock_check")


def test_strong_scaling_that_was_not_trained_again_is_compared_too(tmp_path):
    training = {**FIXED_TARGET, "reduction": "exact", "microbatch": 1}
    wall, emulated = both_clocks(tmp_path, modelled={"training": training}, training=training)
    compared = clock_check.compare(load(wall), load(emulated))
    assert {one.workers for one in compared if one.strategy == "strong"} == {2}
    assert [one.workers for one in compared if one.strategy == "sequential"] == [1]


def test_runs_of_another_number_of_learners_are_not_compared(tmp_path):
    """As auto may find it where one study takes another machine's timings."""
    wall, emulated = map(load, both_clocks(tmp_path))
    learning = {"kind": "sma", "parameters": {"learners": 2}}
    runs = tuple(
        replace(run, settings=replace(run.settings, **learning)) if run.strategy == "weak" else run
        for run in emulated.runs
    )
    before, after = (clock_check.compare(wall, other) for other in (emulated, replace(emulated, runs=runs)))
    assert {one.strategy for one in before} - {one.strategy for one in after} == {"weak"}


def test_the_clock_check_refuses_the_clocks_the_other_way_round(tmp_path):
    wall, emulated = both_clocks(tmp_path)
    with pytest.raises(UserError, match="its clock is emulated; needed here: wall"):
        clock_check.main(["--study", str(emulated), "--other", str(wall)])
    assert not (emulated / "tables").exists()


def test_the_clock_check_refuses_other_work(tmp_path):
    wall, emulated = both_clocks(tmp_path, model={"components": 7})
    with pytest.raises(UserError, match="another model"):
        clock_check.main(["--study", str(wall), "--other", str(emulated)])


def test_seconds_of_another_reduction_are_other_work(tmp_path):
    wall, emulated = both_clocks(tmp_path, training={**FIXED_TARGET, "reduction": "exact"})
    with pytest.raises(UserError, match="another batch size, reduction"):
        clock_check.main(["--study", str(wall), "--other", str(emulated)])


def test_the_clock_check_says_so_if_nothing_is_common(tmp_path):
    clock_check.write_check([], tmp_path, "label")
    assert "no run in common" in (tmp_path / "tables" / "clock_check.md").read_text()
    check_written(tmp_path, "clock_check")
