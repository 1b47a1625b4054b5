"""The search for the edge: seeds, their reference, and what is said of it; the runs are made up."""

import json
import math

import numpy as np
import pytest

from strongscale.analysis import edge as found_edge
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_json
from strongscale.settings.config import Edge
from strongscale.tuning.search import Search, table
from strongscale.tuning.seeds import Outcome, is_certain, num_needed

CONSTANT = 0.02
SEEDS = (101, 102, 103, 104, 105)


def short_run(rate, seed, threshold, *, falls=10.0, level=1.0):
    """A run that learns the faster the larger its rate is, up to its threshold; beyond it ends in a constant output."""
    if rate > threshold:
        return Outcome(
            seed=seed, status="diverged", diverged_because="collapsed", constant_loss=CONSTANT, losses=[0.03] * 5
        )
    losses = [level * (0.002 + 0.03 * math.exp(-falls * math.sqrt(rate) * epoch)) for epoch in range(1, 6)]
    return Outcome(seed=seed, status="exhausted", diverged_because=None, constant_loss=CONSTANT, losses=losses)


def search(threshold_of, between=(0.001, 0.016), level_of=lambda seed: 1.0, **settings):
    """The search with such runs, a threshold a seed; and how often each rate was tried."""
    asked = []

    def run_seed(rate, seed):
        asked.append((rate, seed))
        return short_run(rate, seed, threshold_of(seed), level=level_of(seed))

    made = Search(Edge(between=between, **settings), run_seed)
    return made, made.run(), asked


def test_the_edge_is_the_lower_end_of_a_bracket_that_holds_the_threshold():
    made, found, _ = search(lambda seed: 0.0031)
    assert found.lower <= 0.0031 < found.upper <= 1.2 * found.lower
    told = table(found, made)
    assert told["learning_rate"] == found.lower == told["bracket"][0]
    assert told["tries"] == sorted(told["tries"], key=lambda one: one["learning_rate"])
    assert (
        f"the edge lies between {found.lower:g} (4 of 4 seeds reach it) and {found.upper:g} (0 of 2" in told["in_words"]
    )


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("trial", range(10))
def test_other_starts_move_the_edge_by_less_than_the_resolution_with_noisy_seeds_too(noise, trial):
    """Seeds differ in where they break down, and in what they reach."""
    random = np.random.default_rng(trial)
    thresholds = {seed: 0.004 * math.exp(noise * random.normal()) for seed in SEEDS}
    levels = {seed: 1 + 0.2 * noise * random.random() for seed in SEEDS}
    starts = [
        (0.001, 0.016),
        (0.0007, 0.016),
        (0.001, 0.011),
        (0.0013, 0.03),
        (0.001, 0.002),
        (0.01, 0.02),
        (1e-4, 0.1),
    ]
    searches = [search(thresholds.get, between=start, level_of=levels.get) for start in starts]
    edges = [found.lower for _, found, _ in searches]
    assert len({made.loss for made, *_ in searches}) == 1
    assert max(edges) / min(edges) < 1.2
    enough = sorted(thresholds.values())[1]  # at which four of five still train
    assert min(edges) <= enough < 1.2 * min(edges)


def test_the_reference_is_near_what_all_seeds_reach_at_the_best_rung():
    made, *_ = search(lambda seed: 0.0041, tolerance=0.1)
    assert made.best == 0.004
    assert made.loss == pytest.approx(1.1 * short_run(0.004, 1, 1).best)
    assert made.tries[0.004].reached >= 4


def test_one_rung_that_is_worse_by_chance_does_not_end_the_climb():
    levels = {0.002: 1.8}

    def run_seed(rate, seed):
        return short_run(rate, seed, 0.009, level=levels.get(rate, 1.0))

    made = Search(Edge(between=(0.001, 0.1)), run_seed)
    made.run()
    assert made.best == 0.008


def test_no_seed_is_run_once_the_verdict_is_certain():
    made, *_ = search(lambda seed: 0.0031)
    assert {one.rate: len(one.outcomes) for one in made.tries.values() if not one.passes} == dict.fromkeys(
        [rate for rate, one in made.tries.items() if not one.passes], 2
    )
    assert all(len(one.outcomes) == 4 for one in made.tries.values() if one.passes)


def test_where_runs_diverge_at_the_lowest_rate_the_search_goes_lower():
    made, found, _ = search(lambda seed: 0.0011 if seed == 103 else 0.003, between=(0.002, 0.016))
    assert made.best == 0.001
    assert found.lower <= 0.003 < found.upper


def test_where_the_lowest_rate_is_too_slow_the_search_goes_higher():
    made, found, _ = search(lambda seed: 0.004, between=(1e-4, 2e-4))
    assert made.best == 0.004
    assert found.lower <= 0.004 < found.upper


@pytest.mark.parametrize(("threshold", "falls"), [(1e-9, 30.0), (1.0, 0.01)])
def test_where_no_rate_trains_it_is_said(threshold, falls):
    made = Search(Edge(between=(0.001, 0.01)), lambda rate, seed: short_run(rate, seed, threshold, falls=falls))
    with pytest.raises(
        UserError, match=r"at none of the rates .*, 0\.001, .* 0\.8 of the best .* in 20 epochs .*allowed: more"
    ):
        made.run()


def test_an_edge_that_is_not_found_is_said():
    made, found, _ = search(lambda seed: math.inf)
    told = table(found, made)
    assert told["bracket"][0] >= 0.256
    assert told["bracket"][1] is None
    assert "The edge wasn't found, it lies above: try larger ones (edge.between)" in told["in_words"]


def test_a_run_that_reached_the_reference_and_fell_back_to_a_constant_does_not_count():
    fell = Outcome(
        seed=1, status="exhausted", diverged_because=None, constant_loss=CONSTANT, losses=[0.01, 0.004, 0.019]
    )
    assert fell.epochs_to(0.005) == 2
    assert not fell.reaches(0.005)


@pytest.mark.parametrize(
    ("reached", "tried", "expected"),
    [(0, 1, False), (0, 2, True), (3, 3, False), (4, 4, True), (3, 5, True), (1, 2, False)],
)
def test_a_verdict_is_certain_when_the_other_seeds_cannot_change_it(reached, tried, expected):
    assert is_certain(reached, tried, 5, 0.8) is expected


@pytest.mark.parametrize(
    ("share", "seeds", "needed"), [(0.8, 5, 4), (0.8, 10, 8), (0.7, 10, 7), (1.0, 3, 3), (0.5, 3, 2)]
)
def test_a_share_of_seeds_is_rounded_up(share, seeds, needed):
    assert num_needed(share, seeds) == needed


@pytest.fixture
def written(tmp_path):
    """learning_rate.json of a search, in a study's folder."""
    made, found, _ = search(lambda seed: 0.0031)
    write_json(tmp_path / "learning_rate.json", table(found, made))
    return tmp_path


def test_the_analysis_reads_what_the_search_has_written(written):
    read = found_edge.read(written)
    assert read.bracket[0] <= 0.0031 < read.bracket[1]
    rate, seeds, reached, words, *_ = found_edge.tries(written)[0]
    assert (rate, seeds, reached, words) == (0.002, 4, 4, "4 of 4 seeds reach it")


def test_without_a_search_it_is_said_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match=r"no such file; make it with `snakemake .*receipts.learning_rate\.json`"):
        found_edge.read(tmp_path)


@pytest.mark.parametrize("change", [{"learning_rate": 0.5}, {"bracket": [True, None]}, {"tries": 3}, {"bracket": None}])
def test_a_spoilt_file_is_refused_in_one_line(written, change):
    path = written / "learning_rate.json"
    path.write_text(json.dumps(read_json(path) | change))
    with pytest.raises(UserError, match=r"learning_rate\.json: .*; remove it and run again"):
        found_edge.read(written)
