import csv
import json
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

from strongscale.analysis.load import load
from strongscale.inference.outcome import CONTRADICTED, EQUIVALENT, SUPPORTED, UNDECIDED
from strongscale.settings.margins import margins
from strongscale.verdicts.claims import judge, main, outcomes, verdicts

MANY = list(range(1, 13))
"""Seeds enough for any verdict."""


def test_a_study_like_the_papers_supports_every_claim(tmp_path):
    found = judge(load(write_study(tmp_path, paper_study(seeds=MANY))))
    assert {number: one.outcome for number, one in found.items()} == dict.fromkeys(range(1, 11), SUPPORTED)


def test_one_seed_decides_nothing_and_says_so(tmp_path):
    folder = write_study(tmp_path, paper_study())
    found = verdicts(load(folder))
    assert {verdict.outcome(0.05) for verdict in found.values()} == {UNDECIDED}
    main(["--study", str(folder)])
    page = (folder / "claims.md").read_text()
    assert "With one seed there is no interval" in page
    assert "one seed, no interval" in page
    assert page.count("Undecided; what there is speaks for it") == 10


def verdict_of(tmp_path, number, script=as_in_the_paper, **changes):
    return verdicts(load(write_study(tmp_path, paper_study(**{"seeds": MANY, **changes}), script)))[number]


def outcome_of(*arguments, **changes):
    return verdict_of(*arguments, **changes).outcome(0.05)


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


def dimly(cell):
    own = collapsed(cell)
    return replace(own, losses=tuple(value / 2 for value in own.losses))


@pytest.mark.parametrize(
    ("number", "script", "words"),
    [
        (1, instead("strong", collapsed, 8), "8 workers seeds 1 to 12 (diverged (collapsed))"),
        (2, instead("strong", other_path, 4), "outside: 4 workers seed 1"),
        (3, instead("weak", collapsed, 4), "4 workers seeds 1 to 12 (diverged (collapsed))"),
        (3, instead("weak", quickly, 8), "times as long as at 8; below 2 times"),
        (4, instead("linear", converged, 2), "2 workers seeds 1 to 12 (converged)"),
        (5, instead("warmup", collapsed, 4), "4 workers seeds 1 to 12 (diverged (collapsed))"),
        (5, instead("warmup", converged, 8), "8 workers seeds 1 to 12 (converged)"),
        (5, instead("warmup10", converged, 8), "10 epochs of warm-up"),
        (6, instead("warmup", dimly, 8), "elsewhere ended 8 workers seeds 1 to 12"),
        (7, instead("weak", quickly, 2), "weak at 2 workers takes 0.000"),
        (7, instead("strong", collapsed, 2), "weak at 2 workers takes longer than strong in 0, less in 12 of 12 seeds"),
        (8, instead("weak", quickly, 4), "weak at 4 workers takes"),
        (9, instead("rate_0.0042", converged), "At 0.0042 0 of 12 don't train"),
        (10, instead("sequential", slowly), "counts as sharp"),
    ],
)
def test_a_claim_is_contradicted_by_runs_against_it(tmp_path, number, script, words):
    verdict = verdict_of(tmp_path, number, script)
    assert verdict.outcome(0.05) == CONTRADICTED
    assert words in verdict.reason


def test_a_run_that_was_ended_for_having_collapsed_might_have_become_infinite(tmp_path):
    script = instead("warmup", collapsed, 32)
    changes = {"strategies": {"warmup": {}}, "workers": [1, 8, 32], "edge": {}}
    stopped = verdict_of(tmp_path / "stopped", 6, script, **changes)
    assert stopped.outcome(0.05) == UNDECIDED
    assert "not so 32 workers seeds 1 to 12 (diverged (collapsed))" in stopped.reason
    to_the_end = FIXED_TARGET | {"collapse": {"stop": False}}
    assert outcome_of(tmp_path / "end", 6, script, training=to_the_end, **changes) == CONTRADICTED


@pytest.mark.parametrize("number", [1, 3, 4, 5])
def test_a_run_that_was_stopped_first_leaves_a_claim_open(tmp_path, number):
    line = {1: "strong", 3: "weak", 4: "linear", 5: "warmup"}[number]
    verdict = verdict_of(tmp_path, number, instead(line, exhausted, 4))
    assert verdict.outcome(0.05) == UNDECIDED
    assert "stopped first, which leaves open whether later they would have" in verdict.reason
    assert "4 workers seeds 1 to 12 (exhausted at 80 epochs, so it takes more than" in verdict.reason


def test_one_seed_of_twelve_does_not_turn_a_verdict_round(tmp_path):
    verdict = verdict_of(tmp_path, 4, instead("linear", converged, 2, seed=3))
    assert verdict.outcome(0.05) == SUPPORTED
    assert "47 of 48 runs did not reach the target" in verdict.reason
    assert "11/12 [0.67, 0.99] at 2" in verdict.reason


def test_equally_fast_is_an_outcome_of_its_own(tmp_path):
    def script(cell):
        return converged(cell, 1.05 if cell.strategy == "weak" else 1.0)

    changes = {"strategies": {"strong": {}, "weak": {}}, "edge": {}}
    assert outcome_of(tmp_path, 7, script, **changes) == EQUIVALENT


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
    found = verdicts(load(write_study(tmp_path, paper_study(seeds=MANY, **changes))))
    assert {number for number, verdict in found.items() if verdict.outcome(0.05) != UNDECIDED} == known


def test_the_level_is_shared_by_all_claims_but_for_proofs(tmp_path):
    found = verdicts(load(write_study(tmp_path, paper_study(seeds=list(range(1, 7))))))
    among = outcomes(found, margins())
    assert found[4].outcome(0.05) == SUPPORTED
    assert among[4][0] == UNDECIDED
    assert among[4][1] > found[4].p


def test_margins_are_as_old_as_the_results_or_the_page_says_not(tmp_path):
    folder = write_study(tmp_path, paper_study(seeds=MANY))
    main(["--study", str(folder)])
    assert f"({margins().digest})" in (folder / "claims.md").read_text()
    assert "they stood before the first of these results" in (folder / "claims.md").read_text()
    path = folder / "cells/weak/02workers/seed1/result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"margins": "another"}))
    main(["--study", str(folder)])
    assert "1 of " in (folder / "claims.md").read_text()
    assert "weren't stated blindly" in (folder / "claims.md").read_text()


def test_a_verdict_tells_what_it_hangs_on(tmp_path):
    def script(cell):
        return converged(cell, 1.15 if cell.strategy == "weak" else 1.0)

    changes = {"strategies": {"strong": {}, "weak": {}}, "edge": {}}
    judged = judge(load(write_study(tmp_path, paper_study(seeds=MANY, **changes), script)))[7]
    assert (judged.outcome, judged.at_half, judged.at_double) == (SUPPORTED, SUPPORTED, EQUIVALENT)
    assert len(judged.at_targets) == 2


def test_equal_losses_are_said_to_be_equal(tmp_path):
    verdict = verdict_of(tmp_path, 2)
    assert "to the last digit" in verdict.reason


def test_rounding_differences_are_still_the_same_path(tmp_path):
    def rounded(cell):
        own = converged(cell)
        return replace(own, losses=tuple(value * (1 - 1e-7 * 1.5**i) for i, value in enumerate(own.losses)))

    verdict = verdict_of(tmp_path, 2, instead("strong", rounded))
    assert verdict.outcome(0.05) == SUPPORTED
    assert "allowed: 0.001 in the first 5" in verdict.reason


def test_the_ceiling_is_compared_with_the_null_loss(tmp_path):
    verdict = verdict_of(tmp_path, 6)
    assert f"{CEILING:g}" in verdict.reason
    assert "predicting zero costs 0.048" in verdict.reason


def test_infinite_losses_below_32_workers_are_no_ceiling(tmp_path):
    strategies = {"warmup": {}}
    changes = {"strategies": strategies, "workers": [1, 8, 32], "edge": {}}
    assert outcome_of(tmp_path, 6, instead("warmup", not_finite, 8), **changes) == CONTRADICTED


def test_the_edge_says_nothing_if_the_base_rate_does_not_train(tmp_path):
    verdict = verdict_of(tmp_path, 9, instead("sequential", collapsed), training=FIXED_TARGET, seeds=[1, 2, 3])
    assert verdict.outcome(0.05) == UNDECIDED
    assert "0 of 3 sequential runs train" in verdict.reason


def test_warmup_of_ten_epochs_is_found_by_its_setting(tmp_path):
    strategies = {"warmup": {}, "mine": {"kind": "warmup", "workers": [8], "parameters": {"epochs": 10}}}
    verdict = verdict_of(tmp_path, 5, strategies=strategies)
    assert verdict.outcome(0.05) == SUPPORTED
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
    found = verdicts(load(write_study(tmp_path, paper_study(seeds=MANY, training=FIXED_TARGET), all_diverged)))
    assert found[1].outcome(0.05) == CONTRADICTED
    assert found[4].outcome(0.05) == SUPPORTED
    assert found[10].outcome(0.05) == UNDECIDED


def all_diverged(cell):
    return not_finite(cell) if cell.workers > 1 else collapsed(cell)


FOUR = {"strategies": {"strong": {}, "weak": {}, "warmup": {}}, "workers": [1, 4], "edge": {}}


def at_four(**by_strategy):
    """The paper's picture, but for the runs at 4 workers: an outcome for each seed, or one for all."""

    def script(cell):
        outcome = by_strategy.get(cell.strategy) if cell.workers == 4 else None
        if isinstance(outcome, list):
            outcome = outcome[(cell.seed - 1) % len(outcome)]
        return outcome(cell) if outcome else as_in_the_paper(cell)

    return script


def exhausted_soon(cell):
    return replace(exhausted(cell), epoch_s=1e-4)


@pytest.mark.parametrize(
    ("strong", "weak", "outcome"),
    [
        (exhausted, exhausted, UNDECIDED),
        (collapsed, collapsed, UNDECIDED),
        (collapsed, exhausted, UNDECIDED),
        (collapsed, converged, CONTRADICTED),
        (exhausted_soon, converged, UNDECIDED),
        (exhausted, converged, CONTRADICTED),
        (converged, exhausted_soon, UNDECIDED),
        (converged, exhausted, SUPPORTED),
        (converged, collapsed, SUPPORTED),
    ],
)
def test_who_is_faster_is_open_where_neither_arrived_or_one_was_stopped_first(tmp_path, strong, weak, outcome):
    script = at_four(strong=strong, weak=slow(weak), warmup=collapsed if strong is converged else strong)
    assert outcome_of(tmp_path, 7, script, **FOUR) == outcome


def slow(outcome):
    """The same, at half the speed unless it was stopped at once."""
    return lambda cell: replace(own := outcome(cell), epoch_s=own.epoch_s if own.epoch_s < 1e-3 else 2 * own.epoch_s)


@pytest.mark.parametrize(
    ("warmup", "weak", "outcome", "words"),
    [
        (converged, converged, EQUIVALENT, "weak at 4 workers takes 1 (in every seed) times as long as warmup"),
        (converged, slow(converged), SUPPORTED, "weak at 4 workers takes 2"),
        (slow(converged), converged, CONTRADICTED, "weak at 4 workers takes 0.5"),
        (converged, exhausted_soon, UNDECIDED, "not all have a ratio"),
        (converged, collapsed, SUPPORTED, "longer than warmup in 12, less in 0 of 12 seeds"),
        ([converged, collapsed, collapsed], slow(converged), UNDECIDED, "doesn't converge: 4 workers seeds 2,"),
        (collapsed, converged, UNDECIDED, "doesn't converge: 4 workers seeds 1 to 12 (diverged (collapsed))"),
    ],
)
def test_warmup_beats_weak_where_it_converges(tmp_path, warmup, weak, outcome, words):
    verdict = verdict_of(tmp_path, 8, at_four(warmup=warmup, weak=weak), **FOUR)
    assert verdict.outcome(0.05) == outcome
    assert words in verdict.reason


def test_lines_count_as_what_they_are_not_as_what_they_are_called(tmp_path):
    strategies = {"strong": {"kind": "linear"}, "weak": {"kind": "strong"}, "mine": {"kind": "weak"}}

    def script(cell):
        return collapsed(cell) if cell.strategy == "strong" else converged(cell, 1.5 if cell.strategy == "mine" else 1)

    found = verdicts(load(write_study(tmp_path, paper_study(seeds=MANY, strategies=strategies, edge={}), script)))
    assert [found[number].outcome(0.05) for number in (1, 2, 4, 7)] == [SUPPORTED] * 4
    assert found[3].data.startswith("mine at 2, 4, 8 and 32 workers")


def test_a_loss_that_is_no_longer_finite_is_no_ceiling(tmp_path):
    script = instead("warmup", lambda cell: replace(collapsed(cell), diverged_because="not finite"), 8)
    folder = write_study(tmp_path, paper_study(seeds=[1]), script)
    path = folder / "cells/warmup/08workers/seed1/epochs.csv"
    *before, last = path.read_text().splitlines(keepends=True)
    values = last.split(",")
    path.write_text("".join(before) + ",".join([*values[:4], "nan", *values[5:]]))
    verdict = verdicts(load(folder))[6]
    assert "elsewhere ended 8 workers seed 1" in verdict.reason
