"""What an epoch of strong scaling is made of adds up to the clock's seconds; the law's band holds what it should."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from analysis_fixtures import (
    BASE_RATE,
    FIXED_TARGET,
    PILOTED,
    converged,
    not_finite,
    paper_study,
    write_study,
)

from strongscale.analysis import paper, speedup
from strongscale.analysis.load import load
from strongscale.analysis.speedup_law import SpeedupLaw, band, time_ratios
from strongscale.analysis.speedup_parts import BELOW, BETWEEN, BEYOND, MEASURED, TIMED, epochs_of, up_to_batch

LAW = SpeedupLaw(serial=0.05, parallel=0.9, communication=0.02)
TARGET = {"learning_rate": BASE_RATE, "target": PILOTED, "max_epochs": 80}
EMULATED = {
    "clock": "emulated",
    "strategies": {"strong": {}},
    "workers": [1, 2, 4],
    "edge": {},
    "training": {**TARGET, "reduction": "exact"},
}


def written(tmp_path, **changes):
    return write_study(tmp_path, paper_study(**EMULATED | changes), converged)


# --- the parts


@pytest.mark.parametrize("stragglers", [None, 0.1])
@pytest.mark.parametrize("reduction", ["exact", "fast"])
def test_the_parts_add_up_to_the_clocks_seconds(tmp_path, reduction, stragglers):
    runs = load(written(tmp_path, stragglers=stragglers, training={**TARGET, "reduction": reduction}))
    found = {epoch.workers: epoch for epoch in epochs_of(runs)}
    for workers in (1, 2, 4):
        result = runs.of("strong", workers)[0].result
        assert found[workers].total_s == pytest.approx(result.time_s / result.epochs, rel=1e-12)
        assert found[workers].parts["update"] > 0


def test_efficiency_and_losses_are_all_of_the_workers_seconds(tmp_path):
    epochs = epochs_of(load(written(tmp_path)))
    for epoch in epochs:
        assert epoch.efficiency(epochs[0]) + sum(epoch.lost(epochs[0]).values()) == pytest.approx(1)
    assert epochs[0].efficiency(epochs[0]) == 1


def test_it_is_computed_up_to_one_sample_a_worker(tmp_path):
    epochs = epochs_of(load(written(tmp_path)))
    assert [(epoch.workers, epoch.shard) for epoch in epochs] == [(1, 32), (2, 16), (4, 8), (8, 4), (16, 2), (32, 1)]


def test_numbers_of_workers_between_the_studys_own_are_not_made_up():
    assert up_to_batch([1, 4, 6], 20) == [1, 4, 6, 8, 16, 20]


def test_how_a_shards_seconds_are_known_is_told(tmp_path):
    folder = written(tmp_path)
    (path,) = (tmp_path / "timings").glob("*/timings.json")
    raw = json.loads(path.read_text())
    smallest, largest = raw["steps"]
    raw["steps"] = [smallest | {"samples": 4}, largest | {"samples": 16}]
    path.write_text(json.dumps(raw))
    known = {epoch.workers: epoch.shard_known for epoch in epochs_of(load(folder))}
    assert known == {1: BEYOND, 2: TIMED, 4: BETWEEN, 8: TIMED, 16: BELOW, 32: BELOW}
    speedup.main(["--study", str(folder)])
    text = (folder / "tables" / "speedup_parts.md").read_text()
    assert "With 32 workers the efficiency is at least" in text
    assert "shards smaller than 4 samples weren't timed" in text


def test_on_the_wall_clock_it_is_what_was_measured(tmp_path):
    folder = write_study(tmp_path, paper_study(strategies={"strong": {}}, edge={}), converged)
    runs = load(folder)
    epochs = epochs_of(runs)
    assert [epoch.workers for epoch in epochs] == [1, 2, 4, 8, 32]
    assert {epoch.shard_known for epoch in epochs} == {MEASURED}
    result = runs.of("strong", 8)[0].result
    assert epochs[3].total_s == pytest.approx(result.time_s / result.epochs)
    speedup.main(["--study", str(folder)])
    assert "The update is a part of the passes here" in (folder / "tables" / "speedup_parts.md").read_text()


@pytest.mark.parametrize("clock", ["emulated", "wall"])
def test_a_study_in_which_all_diverges_has_the_page_too(tmp_path, clock):
    study = paper_study(**EMULATED | {"clock": clock, "training": FIXED_TARGET})
    folder = write_study(tmp_path, study, not_finite)
    speedup.main(["--study", str(folder)])
    assert "This study: cannot be fitted" in (folder / "tables" / "speedup_law.md").read_text()
    assert (folder / "figures" / "speedup.png").stat().st_size > 0


def test_the_stage_writes_the_parts_and_the_figure(tmp_path):
    folder = written(tmp_path)
    speedup.main(["--study", str(folder)])
    table = pd.read_csv(folder / "tables" / "speedup_parts.csv")
    parts = ["passes_s", "update_s", "network_s", "evaluation_s", "other_s"]
    assert np.allclose(table[parts].sum(axis=1), table["epoch_s"])
    assert table["is_of_the_study"].tolist() == [True] * 3 + [False] * 3
    for name in ("tables/speedup_parts.html", "figures/speedup.svg", "figures/speedup.png", "figures/speedup.pdf"):
        assert (folder / name).stat().st_size > 0


# --- the law's band


def test_the_band_holds_a_known_law_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    workers, num_trials, held = (1, 2, 4, 8, 16), 60, 0
    for _ in range(num_trials):
        found = band({n: LAW.time_ratio(n) * (1 + 0.03 * random.standard_normal()) for n in workers})
        low, high = found.interval(8)
        held += low <= LAW.time_ratio(8) <= high
    assert held >= 0.88 * num_trials


def test_of_the_papers_points_the_serial_part_and_communication_are_one():
    found = band(time_ratios(paper.EFFICIENCY["strong"]))
    assert found.correlation < -0.9
    assert found.share_without_communication == pytest.approx(0.38, abs=0.05)


def test_as_many_points_as_parameters_have_no_band():
    assert band({n: LAW.time_ratio(n) for n in (1, 2, 4)}) is None


def test_exact_points_have_a_narrow_band_and_no_correlation():
    found = band({n: LAW.time_ratio(n) for n in (1, 2, 4, 8, 16)})
    assert found.interval(8) == pytest.approx((LAW.time_ratio(8),) * 2)
    assert math.isnan(found.correlation)


def test_seeds_that_differ_widen_the_band():
    observed = {n: LAW.time_ratio(n) for n in (1, 2, 4, 8, 16)}
    by_seed = [{n: ratio * (1 if n == 1 else factor) for n, ratio in observed.items()} for factor in (0.8, 1.0, 1.2)]
    found, alike = band(observed, by_seed), band(observed, [observed] * 3)
    assert found.over_seeds
    assert not alike.over_seeds
    widths = [one.interval(8)[1] - one.interval(8)[0] for one in (found, alike)]
    assert widths[0] > 0.05 > widths[1]


def test_the_page_says_how_the_band_was_made_and_what_it_tells_of_the_shares(tmp_path):
    folder = written(tmp_path, workers=[1, 2, 4, 8])
    speedup.main(["--study", str(folder)])
    text = (folder / "tables" / "speedup_law.md").read_text()
    assert "resampled relative residuals, for seeds that take the same steps say nothing" in text
    assert text.count("T_S and c are correlated at -0.9") == 2
    table = pd.read_csv(folder / "tables" / "speedup_law.csv")
    assert (table["low"] <= table["fitted"]).all()
    assert (table["fitted"] <= table["high"]).all()
