import csv
from dataclasses import replace

import pytest
from analysis_fixtures import (
    CEILING,
    FIXED_TARGET,
    as_in_the_paper,
    collapsed,
    converged,
    exhausted,
    not_finite,
    paper_study,
    write_study,
)

from strongscale.analysis.claims import main, verdicts
from strongscale.analysis.load import load
from strongscale.analysis.verdict import FAILS, HOLDS, UNKNOWN


def test_a_study_like_the_papers_upholds_every_claim(tmp_path):
    runs = load(write_study(tmp_path, paper_study(seeds=[1, 2])))
    found = verdicts(runs)
    assert {number: verdict.outcome for number, verdict in found.items()} == dict.fromkeys(range(1, 11), HOLDS)


def verdict_of(tmp_path, number, script=as_in_the_paper, **changes):
    return verdicts(load(write_study(tmp_path, paper_study(**changes), script)))[number]


def instead(strategy, outcome, workers=None, seed=None):
    """The paper's picture, but for some runs."""

    def script(cell):
        matches = cell.strategy == strategy and workers in (None, cell.workers) and seed in (None, cell.seed)
        return outcome(cell) if matches else as_in_the_paper(cell)

    return script


def other_path(cell):
    own = converged(cell)
    return replace(own, losses=(1.01 * own.losses[0], *own.losses[1:]))


def slowly(cell):
    """A straight line from just below the null loss down to the best one."""
    own = converged(cell)
    last, count = own.losses[-1], len(own.losses)
    return replace(own, losses=tuple(last + 0.04 * (count - epoch) / count for epoch in range(1, count + 1)))


def quickly(cell):
    return replace(converged(cell), epoch_s=1e-3)


@pytest.mark.parametrize(
    ("number", "script", "words"),
    [
        (1, instead("strong", exhausted, 8), "8 workers seed 1 (exhausted at 80 epochs)"),
        (2, instead("strong", other_path, 4), "outside: 4 workers seed 1"),
        (3, instead("weak", collapsed, 4), "4 workers seed 1 (diverged (collapsed))"),
        (3, instead("weak", quickly, 8), "at 8 workers (seed 1)"),
        (4, instead("linear", converged, 2), "2 workers seed 1 (converged)"),
        (5, instead("warmup", collapsed, 4), "4 workers seed 1 (diverged (collapsed))"),
        (5, instead("warmup", converged, 8), "8 workers seed 1 (converged)"),
        (5, instead("warmup10", converged, 8), "10 epochs of warm-up"),
        (6, instead("warmup", exhausted, 8), "elsewhere ended 8 workers seed 1"),
        (6, instead("warmup", collapsed, 32), "not so 32 workers seed 1 (diverged (collapsed))"),
        (7, instead("weak", quickly, 2), "weak at 2 workers (seed 1)"),
        (7, instead("strong", exhausted, 2), "weak at 2 workers (seed 1)"),
        (8, instead("weak", quickly, 4), "At 4 workers"),
        (9, instead("rate_0.0042", exhausted), "the highest rate that didn't is 0.0042"),
        (10, instead("sequential", slowly), "counts as sharp"),
    ],
)
def test_a_claim_fails_on_runs_against_it(tmp_path, number, script, words):
    verdict = verdict_of(tmp_path, number, script)
    assert verdict.outcome == FAILS
    assert words in verdict.reason


def test_one_seed_against_a_claim_makes_it_fail(tmp_path):
    verdict = verdict_of(tmp_path, 4, instead("linear", converged, 2, seed=3), seeds=[1, 2, 3])
    assert verdict.outcome == FAILS
    assert "11 of 12 runs did not reach the target" in verdict.reason


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"strategies": {"weak": {}}, "edge": {}}, {3, 10}),
        ({"strategies": {"strong": {}}, "edge": {}}, {1, 2, 10}),
        ({"workers": [1], "strategies": {"strong": {}}, "edge": {}}, {10}),
        ({"workers": [1, 2, 4], "edge": {}}, {1, 2, 4, 7, 8, 10}),
    ],
)
def test_there_is_no_verdict_without_data(tmp_path, changes, known):
    if changes.get("workers") == [1, 2, 4]:
        changes = {**changes, "strategies": {name: {} for name in ("strong", "weak", "linear", "warmup")}}
    found = verdicts(load(write_study(tmp_path, paper_study(**changes))))
    assert {number for number, verdict in found.items() if verdict.outcome != UNKNOWN} == known


def test_equal_losses_are_said_to_be_equal(tmp_path):
    verdict = verdict_of(tmp_path, 2)
    assert "to the last digit" in verdict.reason


def test_rounding_differences_are_still_the_same_path(tmp_path):
    def rounded(cell):
        own = converged(cell)
        return replace(own, losses=tuple(value * (1 - 1e-7 * 1.5**i) for i, value in enumerate(own.losses)))

    verdict = verdict_of(tmp_path, 2, instead("strong", rounded))
    assert verdict.outcome == HOLDS
    assert "allowed: 0.001 in the first 5" in verdict.reason


def test_the_ceiling_is_compared_with_the_null_loss(tmp_path):
    verdict = verdict_of(tmp_path, 6)
    assert f"{CEILING:g}" in verdict.reason
    assert "predicting zero costs 0.048" in verdict.reason


def test_infinite_losses_below_32_workers_are_no_ceiling(tmp_path):
    assert verdict_of(tmp_path, 6, instead("warmup", not_finite, 8)).outcome == FAILS


def test_the_edge_says_nothing_if_the_base_rate_does_not_train(tmp_path):
    verdict = verdict_of(tmp_path, 9, instead("sequential", collapsed), training=FIXED_TARGET)
    assert verdict.outcome == UNKNOWN
    assert "0 of 1 sequential runs train" in verdict.reason


def test_warmup_of_ten_epochs_is_found_by_its_setting(tmp_path):
    strategies = {"warmup": {}, "mine": {"kind": "warmup", "workers": [8], "parameters": {"epochs": 10}}}
    verdict = verdict_of(tmp_path, 5, strategies=strategies)
    assert verdict.outcome == HOLDS
    assert "mine" in verdict.data


def test_the_files_hold_all_ten_claims_and_the_clock(tmp_path):
    folder = write_study(tmp_path, paper_study(clock="emulated"))
    main(["--study", str(folder)])
    with (folder / "claims.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == [str(number) for number in range(1, 11)]
    assert {row["clock"] for row in rows} == {"emulated clock (ten_gigabit network model)"}
    page = (folder / "claims.md").read_text()
    assert "emulated clock" in page
    assert "**10. Loss falls sharply first" in page


def test_a_study_in_which_all_diverges_gets_its_verdicts(tmp_path):
    found = verdicts(load(write_study(tmp_path, paper_study(training=FIXED_TARGET), all_diverged)))
    assert found[1].outcome == FAILS
    assert found[4].outcome == HOLDS
    assert found[10].outcome == UNKNOWN


def all_diverged(cell):
    return not_finite(cell) if cell.workers > 1 else collapsed(cell)


FOUR = {"strategies": {"strong": {}, "weak": {}, "warmup": {}}, "workers": [1, 2, 4], "edge": {}}


def outcomes(**by_strategy):
    """The paper's picture, but for the runs at 4 workers: an outcome for each seed, or one for all."""

    def script(cell):
        outcome = by_strategy.get(cell.strategy) if cell.workers == 4 else None
        if isinstance(outcome, list):
            outcome = outcome[cell.seed - 1]
        return outcome(cell) if outcome else as_in_the_paper(cell)

    return script


def exhausted_soon(cell):
    return replace(exhausted(cell), epoch_s=1e-4)


@pytest.mark.parametrize(
    ("strong", "weak", "outcome"),
    [
        (exhausted, exhausted, UNKNOWN),
        (collapsed, collapsed, UNKNOWN),
        (collapsed, exhausted, UNKNOWN),
        (collapsed, converged, FAILS),
        (exhausted_soon, converged, UNKNOWN),
        (exhausted, converged, FAILS),
        (converged, exhausted_soon, UNKNOWN),
        (converged, exhausted, HOLDS),
        (converged, collapsed, HOLDS),
    ],
)
def test_who_is_faster_is_open_where_neither_arrived_or_one_was_stopped_first(tmp_path, strong, weak, outcome):
    script = outcomes(strong=strong, weak=weak and slow(weak), warmup=collapsed if strong is converged else strong)
    changes = {**FOUR, "workers": [1, 4]}
    assert verdict_of(tmp_path, 7, script, **changes).outcome == outcome


def slow(outcome):
    """The same, at half the speed unless it was stopped at once."""
    return lambda cell: replace(own := outcome(cell), epoch_s=own.epoch_s if own.epoch_s < 1e-3 else 2 * own.epoch_s)


def test_the_open_rivals_of_strong_scaling_are_named(tmp_path):
    verdict = verdict_of(tmp_path, 7, outcomes(strong=exhausted, weak=exhausted, warmup=exhausted), **FOUR)
    assert "open against weak at 4 workers (seed 1) and warmup at 4 workers (seed 1), as neither" in verdict.reason


@pytest.mark.parametrize(
    ("warmup", "weak", "outcome", "words"),
    [
        (converged, converged, FAILS, "At 4 workers"),
        (converged, slow(converged), HOLDS, "At 4 workers"),
        (converged, exhausted_soon, UNKNOWN, "it might have been the faster"),
        (converged, collapsed, HOLDS, "against diverged (collapsed) (seed 1)"),
        ([converged, collapsed, collapsed], slow(converged), UNKNOWN, "doesn't converge: 4 workers seed 2"),
        ([converged, collapsed, collapsed], converged, FAILS, "doesn't converge: 4 workers seed 2"),
        (
            [converged, converged, converged],
            [slow(converged), slow(converged), exhausted_soon],
            UNKNOWN,
            "might have been",
        ),
        ([converged, converged, converged], [converged, slow(converged), exhausted_soon], FAILS, "At 4 workers"),
        (collapsed, converged, UNKNOWN, "doesn't converge: 4 workers seed 1 (diverged (collapsed)), "),
    ],
)
def test_warmup_beats_weak_only_where_every_seed_says_so(tmp_path, warmup, weak, outcome, words):
    verdict = verdict_of(
        tmp_path, 8, outcomes(warmup=warmup, weak=weak), **{**FOUR, "workers": [1, 4]}, seeds=[1, 2, 3]
    )
    assert verdict.outcome == outcome
    assert words in verdict.reason


def test_lines_count_as_what_they_are_not_as_what_they_are_called(tmp_path):
    strategies = {"strong": {"kind": "linear"}, "weak": {"kind": "strong"}, "mine": {"kind": "weak"}}

    def script(cell):
        return collapsed(cell) if cell.strategy == "strong" else converged(cell, 1.5 if cell.strategy == "mine" else 1)

    found = verdicts(load(write_study(tmp_path, paper_study(strategies=strategies, edge={}), script)))
    assert [found[number].outcome for number in (1, 2, 4, 7)] == [HOLDS] * 4
    assert found[3].data.startswith("mine at 2, 4, 8 and 32 workers")


def test_a_loss_that_is_no_longer_finite_is_no_ceiling(tmp_path):
    script = instead("warmup", lambda cell: replace(collapsed(cell), diverged_because="not finite"), 8)
    folder = write_study(tmp_path, paper_study(), script)
    path = folder / "cells/warmup/08workers/seed1/epochs.csv"
    *before, last = path.read_text().splitlines(keepends=True)
    values = last.split(",")
    path.write_text("".join(before) + ",".join([*values[:4], "nan", *values[5:]]))
    verdict = verdicts(load(folder))[6]
    assert verdict.outcome == FAILS
    assert "elsewhere ended 8 workers seed 1" in verdict.reason
