"""Do new nodules look like nodules: measures that mean what they say, a fair classifier, and verdicts in honest words."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special

from strongscale.common.files import read_json, write_json
from strongscale.synthesis import __main__ as synthesis
from strongscale.synthesis import figures, likeness, telling_apart
from strongscale.synthesis.measures import TITLES, measure

AXIS = np.arange(16) - 7.5
SQUARES = AXIS[:, None, None] ** 2 + AXIS[None, :, None] ** 2 + AXIS[None, None, :] ** 2


def ball(radius, height=0.6, rim=0.1):
    return np.where(radius**2 >= SQUARES, rim + height, rim)[None].astype(np.float32)


def blobs(count, seed, noise=0.0):
    """Normal densities of random width and height, with noise of each voxel."""
    random = np.random.default_rng(seed)
    widths, heights = random.uniform(4, 12, (count, 1, 1, 1)), random.uniform(0.4, 0.9, (count, 1, 1, 1))
    smooth = heights * np.exp(-SQUARES / widths)
    return (smooth + noise * random.uniform(size=smooth.shape)).astype(np.float32)


def five_sets(**changes):
    names = (likeness.NEW, likeness.OWN, likeness.RECONSTRUCTED, likeness.OTHER_OWN, likeness.OTHER_RECONSTRUCTED)
    noise = {likeness.OWN: 0.2, likeness.OTHER_OWN: 0.2}
    return {name: blobs(40, seed, noise.get(name, 0.0)) for seed, name in enumerate(names)} | changes


# --- measures


def test_a_balls_measures_are_those_of_a_ball():
    (found,) = measure(ball(5)).to_dict("records")
    assert found["size"] == pytest.approx(np.sqrt(3 / 5) * 5, rel=0.03)
    assert found["volume"] == pytest.approx((SQUARES <= 25).mean())
    assert found["centre"] == pytest.approx(0.7)
    assert found["contrast"] == pytest.approx(0.6)
    assert found["mean"] == pytest.approx(0.1 + 0.6 * found["volume"])
    assert list(found) == list(TITLES)


def test_size_doesnt_depend_on_place_or_height():
    moved = measure(np.roll(ball(4), 2, axis=1))["size"]
    assert np.allclose(moved, measure(ball(4, height=0.2))["size"])


def test_a_smoothed_ball_is_less_sharp_and_has_less_detail():
    smooth = (0.1 + 0.6 / (1 + np.exp(np.sqrt(SQUARES) - 5)))[None]
    sharp, soft = measure(ball(5)), measure(smooth)
    assert (sharp["sharpness"] > soft["sharpness"]).all()
    assert (sharp["detail"] > 2 * soft["detail"]).all()


def test_an_even_cube_has_measures_too():
    assert measure(np.full((1, 8, 8, 8), 0.3)).round(12).to_numpy().tolist() == [[0, 0, 0.3, 0.3, 0, 0, 0]]


# --- telling apart


def of_noise(count, seed, shift=0.0):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 30)) + shift, random.normal(size=(count, 3))


def attempt(ones, others):
    return telling_apart.tell_apart(ones[0], others[0], ones[1], others[1])


def test_sets_of_one_kind_are_told_apart_as_rarely_as_by_guessing():
    found = [attempt(of_noise(30, seed), of_noise(40, 100 + seed)) for seed in range(20)]
    assert sum(one.succeeds for one in found) <= 3  # expected: 1 in 40
    assert np.mean([one.auc for one in found]) == pytest.approx(0.5, abs=0.05)
    assert all(one.low < 0.5 < one.high for one in found)


def test_sets_of_two_kinds_are_told_apart():
    found = attempt(of_noise(30, 1), of_noise(40, 2, shift=3.0))
    assert found.succeeds
    assert found.auc > 0.99
    assert "can tell them apart" in found.in_words()


def test_a_measure_alone_tells_apart():
    voxels, measures = of_noise(40, 1)
    other_voxels, other_measures = of_noise(40, 2)
    assert attempt((voxels, measures), (other_voxels, other_measures + [0, 2, 0])).auc > 0.8


def test_too_few_samples_are_not_tried():
    assert attempt(of_noise(9, 1), of_noise(40, 2)) is None


def test_the_auc_is_the_share_of_pairs_in_the_right_order():
    scores = np.array([[3.0, 1.0, 1.0, 0.0, 2.0]])
    labels = np.array([[True, True, False, False, False]])
    assert telling_apart.auc(scores, labels) == pytest.approx([(3 + 1.5) / 6])


def test_the_fit_is_the_logistic_regressions_own():
    features, labels = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2 == 0
    (weights,) = telling_apart.fit(features, labels[None])

    def slopes(constant):
        return special.expit(features @ weights + constant) - labels

    constant = optimize.brentq(lambda value: slopes(value).sum(), -10, 10)
    assert np.allclose(features.T @ slopes(constant) + weights, 0, atol=1e-5)


# --- words


def test_new_ones_like_reconstructions_pass_and_the_models_limit_is_said():
    words = likeness.in_words(likeness.check(five_sets()), "phantom nodules", "")
    assert words.startswith(
        "The drawing passes: of new nodules and the model's reconstructions a classifier can't tell"
    )
    assert "Of new nodules and phantom nodules it can tell which is which" in words
    assert words.endswith("the model's own limit.")


def test_new_ones_duller_than_reconstructions_fail_and_their_distance_is_told():
    found = likeness.check(five_sets(new=0.6 * blobs(40, 0)))
    assert likeness.in_words(found, "phantom nodules", "").startswith("The drawing fails: ")
    table = likeness.measures_table(found).set_index(["measure", "set"])
    row = table.loc[("centre", likeness.RECONSTRUCTED)]
    assert row["ks_distance_of_new"] > 0.5
    assert row["ks_p_value"] < 1e-3
    assert table.loc[("centre", "new"), "median"] < row["lower_quartile"]


def test_a_failure_that_training_and_validation_share_is_said():
    found = likeness.check(five_sets(new=0.6 * blobs(40, 0)))
    own = found.attempts[likeness.NEW, likeness.RECONSTRUCTED]
    shared = {(likeness.OTHER_RECONSTRUCTED, likeness.RECONSTRUCTED): own}
    both = likeness.Likeness(measures=found.measures, attempts=found.attempts | shared)
    words = "But so it does of reconstructions of training and of validation nodules"
    assert words not in likeness.in_words(found, "phantom nodules", "")
    assert words in likeness.in_words(both, "phantom nodules", "")


def test_what_a_faulty_model_draws_is_not_judged():
    words = likeness.in_words(likeness.check(five_sets()), "phantom nodules", "it has collapsed")
    assert words == "The drawing isn't judged: it has collapsed."


def test_too_few_nodules_are_said_to_be_too_few(tmp_path):
    found = likeness.check({name: cubes[:4] for name, cubes in five_sets().items()})
    assert likeness.in_words(found, "phantom nodules", "").startswith("Too few phantom nodules to judge")
    assert "not tried" in likeness.page(found, "phantom nodules", "")
    write_json(tmp_path / "summary.json", likeness.summary(found, "phantom nodules", ""))
    assert read_json(tmp_path / "summary.json")["attempts"][0]["auc"] is None
    assert figures.likeness_figure(found, "phantom nodules").axes


def test_artificial_nodules_are_called_phantom_ones():
    assert likeness.nodules_of("phantom scans, seed 1") == "phantom nodules"
    assert likeness.nodules_of("scans of data/luna16") == "nodules of the data set"


# --- the stage


def test_the_stage_writes_the_comparison_and_calls_nothing_real(trained, tmp_path):
    made = tmp_path / "new"
    synthesis.main([str(trained), "--settings", json.dumps({"count": 3}), "--output", str(made)])
    table = pd.read_csv(made / "likeness.csv")
    assert set(table["set"]) == {"validation", "validation_reconstruction", "new"}
    assert (table["number"] == 19).all()  # as many new ones as validation cubes, whatever is asked for
    summary = read_json(made / "novelty.json")
    page = (made / "novelty.md").read_text()
    assert summary["likeness"]["verdict"] in page
    assert len(summary["likeness"]["attempts"]) == len(likeness.ATTEMPTS)
    assert (made / "likeness.png").stat().st_size > 0
    written = page + (made / "novelty.json").read_text() + (made / "nodules.csv").read_text()
    written += (made / "montage.svg").read_text() + (made / "novelty.svg").read_text()
    assert "phantom nodules" in page
    assert "real" not in written.lower().split()
    assert "_real" not in written


def test_the_montage_shows_cubes_above_their_reconstructions_and_then_new_ones():
    own, reconstructions, new = np.random.default_rng(0).uniform(size=(3, 100, 4, 4, 4)).astype(np.float32)
    (axes,) = figures.montage(own, reconstructions, new, "phantom nodules").axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:4] == ["phantom nodules", "reconstructions"] * 2
    assert labels[4:] == ["new: 1 to 12", "new: 13 to 24", "new: 25 to 36", "new: 37 to 48"]
    image = axes.images[0].get_array()
    assert np.array_equal(image[:4, :4], own[0, 2])
    assert np.array_equal(image[5:9, :4], reconstructions[0, 2])
    top = round(axes.get_yticks()[4] - 1.5)
    assert np.array_equal(image[top : top + 4, :4], new[0, 2])
    assert axes.images[0].get_clim() == (0, image.max())
