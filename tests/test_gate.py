"""The gate of the new nodules: what is no draw of nodules doesn't pass it, and what is one does."""

from dataclasses import replace

import numpy as np
import pytest

from strongscale.common.files import write_json
from strongscale.synthesis import figures, gate, gate_measures, novelty
from strongscale.synthesis.gate import FAILS, PASSES, UNDECIDED
from strongscale.synthesis.novelty import Nodules

AXIS = np.linspace(-1, 1, 8)
GRID = np.stack(np.meshgrid(AXIS, AXIS, AXIS, indexing="ij"))
COUNT = 64


def blobs(count, seed):
    """Nodules with a scan's noise, and smooth reconstructions of them: rows of voxels."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-0.4, 0.4, (count, 3, 1, 1, 1))
    squares = ((GRID - centres) ** 2).sum(1) / random.uniform(0.1, 0.6, (count, 1, 1, 1))
    clean = random.uniform(0.4, 0.9, (count, 1, 1, 1)) * np.exp(-squares)
    noisy = np.clip(clean + random.normal(0, 0.03, clean.shape), 0, 1)
    return tuple(cubes.reshape(count, -1).astype(np.float32) for cubes in (noisy, clean))


TRAINING, TRAINING_RECONSTRUCTIONS = blobs(300, 0)
HELD_OUT, HELD_OUT_RECONSTRUCTIONS = blobs(100, 1)
OTHERS, OTHER_RECONSTRUCTIONS = blobs(COUNT, 2)


def nodules(new):
    return Nodules(new, TRAINING, TRAINING_RECONSTRUCTIONS, HELD_OUT, HELD_OUT_RECONSTRUCTIONS)


def judge(new, **changes):
    compared = replace(nodules(new), **changes)
    return gate.check(compared, novelty.check(compared))


def outcomes(judged):
    return {part.criterion.name: part.outcome for part in judged.parts}


def copies_of(one):
    return np.repeat(one[None], COUNT, axis=0)


# --- what passes


@pytest.mark.parametrize("new", [OTHERS, OTHER_RECONSTRUCTIONS], ids=["as scanned", "as a good model draws"])
def test_a_fresh_sample_passes(new):
    judged = judge(new)
    assert outcomes(judged) == dict.fromkeys(outcomes(judged), PASSES)
    assert gate.in_words(judged) == "The check passes."


def test_fresh_samples_hardly_ever_fail():
    found = []
    for seed in range(10, 30):
        (new, _), (held_out, reconstructions) = blobs(COUNT, seed), blobs(100, 100 + seed)
        sets = {"held_out_NxV": held_out, "held_out_reconstructions_NxV": reconstructions}
        found.append(judge(new, **sets).outcome)
    assert FAILS not in found
    assert found.count(PASSES) >= 14


# --- what doesn't


def test_copies_of_one_fresh_nodule_fail_by_diversity_and_coverage():
    found = outcomes(judge(copies_of(OTHERS[0])))
    assert (found["diversity"], found["coverage"]) == (FAILS, FAILS)


@pytest.mark.parametrize("mean", [TRAINING.mean(0), HELD_OUT.mean(0)])
def test_copies_of_the_mean_cube_fail_by_diversity_and_coverage(mean):
    found = outcomes(judge(copies_of(mean)))
    assert (found["diversity"], found["coverage"]) == (FAILS, FAILS)


def test_mean_cubes_with_a_little_noise_fail_too():
    noise = np.random.default_rng(0).normal(0, 0.03, (COUNT, TRAINING.shape[1]))
    assert outcomes(judge((TRAINING.mean(0) + noise).astype(np.float32)))["diversity"] == FAILS


def test_a_few_kinds_over_and_over_fail_by_coverage():
    assert outcomes(judge(np.tile(OTHERS[:4], (COUNT // 4, 1))))["coverage"] == FAILS


@pytest.mark.parametrize("known", [TRAINING, TRAINING_RECONSTRUCTIONS], ids=["cubes", "reconstructions"])
def test_copies_of_training_nodules_fail_by_copying(known):
    judged = judge(known[:COUNT])
    assert outcomes(judged) == dict.fromkeys(outcomes(judged), PASSES) | {"copying": FAILS}
    assert judged["copying"].value == 1
    assert gate.in_words(judged).startswith("The check fails: copying 1.00 (0.9")


def test_noise_fails_by_coverage_and_strangeness():
    noise = np.random.default_rng(0).uniform(size=(COUNT, TRAINING.shape[1])).astype(np.float32)
    found = outcomes(judge(noise))
    assert (found["coverage"], found["strangeness"]) == (FAILS, FAILS)


def test_a_model_that_makes_one_cube_of_all_fails_whatever_is_drawn():
    constant = np.broadcast_to(TRAINING.mean(0), HELD_OUT.shape).astype(np.float32)
    judged = judge(OTHERS, held_out_reconstructions_NxV=constant)
    assert outcomes(judged)["reconstruction"] == FAILS
    assert judged["reconstruction"].value >= 1


def test_a_fault_of_the_model_fails_whatever_the_numbers():
    compared = nodules(OTHERS)
    judged = gate.check(compared, novelty.check(compared), "it has collapsed")
    assert judged.outcome == FAILS
    assert gate.in_words(judged).startswith("The check fails: it has collapsed")


# --- what can't be told


def test_a_share_on_both_sides_of_what_is_tolerated_is_undecided():
    mixed = np.concatenate([TRAINING[:12], OTHERS[12:]])
    judged = judge(mixed)
    assert judged["copying"].low < gate.TOLERATED_SHARE < judged["copying"].high
    assert judged.outcome == UNDECIDED
    assert gate.in_words(judged).startswith("The check is undecided: copying 0.19 (")


def test_too_few_nodules_are_undecided_in_words(tmp_path):
    judged = judge(OTHERS[:9])
    assert set(outcomes(judged).values()) == {UNDECIDED}
    assert "fewer than 10 nodules" in gate.in_words(judged)
    write_json(tmp_path / "gate.json", gate.summary(judged))
    assert figures.novelty_figure(novelty.check(nodules(OTHERS[:9])), judged).axes


# --- the numbers


def test_the_diversity_is_the_ratio_of_mean_squared_distances_over_pairs():
    def by_pairs(rows):
        return np.mean([((a - b) ** 2).mean() for i, a in enumerate(rows) for b in rows[:i]])

    rows, own = OTHERS[:20].astype(float), HELD_OUT[:15].astype(float)
    compared = replace(nodules(OTHERS[:20]), held_out_NxV=HELD_OUT[:15])
    found = gate_measures.diversity(compared, None, np.random.default_rng(0))
    assert found.value == pytest.approx(np.sqrt(by_pairs(rows) / by_pairs(own)), rel=1e-5)


def test_training_nodules_cover_what_training_nodules_are_expected_to():
    shares = [judge(np.random.default_rng(seed).permutation(TRAINING)[:COUNT])["coverage"].value for seed in range(20)]
    assert np.mean(shares) == pytest.approx(1, abs=0.02)


def test_none_among_so_many_may_still_be_some():
    which = np.zeros(COUNT, dtype=bool)
    found = gate_measures._share(which, np.tile(which, (1000, 1)), np.random.default_rng(0))
    assert found.value == 0
    assert np.percentile(found.draws_R, 97.5) == pytest.approx(0.038, abs=0.005)  # Jeffreys' interval of 0 in 64


def test_the_same_nodules_give_the_same_verdict():
    assert gate.summary(judge(OTHERS)) == gate.summary(judge(OTHERS))
