"""Two data sets side by side: pairs of one size, measures whose values are known, a page with its command."""

import numpy as np
import pandas as pd
import pytest

from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.data import dataset
from strongscale.data.resemblance.__main__ import main
from strongscale.data.resemblance.measures import (
    PROFILE_EDGES,
    detail,
    distances,
    explained,
    interval,
    measure,
    profile,
    spectrum,
    steepness,
)
from strongscale.data.resemblance.page import stratify
from strongscale.data.resemblance.pairs import MOST_APART, Side, pair, read
from strongscale.settings.datasets import Dataset, Phantom


def balls(diameters_mm, brightness, voxels=12, voxel_mm=1.0):
    """Uniform balls in darkness, with a little noise: (N, D, H, W)."""
    radii = distances((voxels,) * 3, np.full(len(diameters_mm), voxel_mm), np.asarray(diameters_mm, dtype=float))
    noise = np.random.default_rng(0).uniform(0, 0.01, radii.shape)
    return (np.where(radii < 1, brightness, 0.1) + noise).astype(np.float32)


def manifest_of(diameters_mm, num_validation):
    count = len(diameters_mm)
    return pd.DataFrame(
        {
            "seriesuid": [f"scan{number}" for number in range(count)],
            "diameter_mm": diameters_mm,
            "voxel_mm": 1.0,
            "air_share": np.where(np.arange(count) % 4 == 1, 0.25, 0.0),
            "state": "cube",
            "split": ["training"] * (count - num_validation) + ["validation"] * num_validation,
        }
    )


def side_of(diameters_mm, num_validation=0, name="ours"):
    manifest = manifest_of(diameters_mm, num_validation)
    return Side(name, balls(diameters_mm, 0.8), manifest, (-1000.0, 400.0))


def write_dataset(folder, brightness, count=24):
    diameters_mm = np.random.default_rng(1).uniform(4, 9, count)
    cubes, manifest = balls(diameters_mm, brightness), manifest_of(diameters_mm, count // 3)
    folder.mkdir()
    np.save(folder / "cubes.npy", cubes)
    manifest.to_csv(folder / "manifest.csv", index=False)
    settings = Dataset(phantom=Phantom(), num_validation=count // 3)
    write_json(folder / "dataset.json", dataset.summarise(cubes, manifest, settings))
    return folder


def test_pairs_have_one_diameter_within_a_tenth_and_one_side_of_the_split():
    random = np.random.default_rng(2)
    first, second = side_of(random.uniform(3, 30, 40), 10), side_of(random.uniform(3, 12, 70), 30)
    ours, theirs = pair(first, second)
    assert 10 < len(ours.manifest) == len(theirs.manifest) < 40
    assert (np.abs(np.log(ours.diameters_mm / theirs.diameters_mm)) <= np.log1p(MOST_APART)).all()
    assert ours.manifest["split"].tolist() == theirs.manifest["split"].tolist()
    assert ours.manifest["seriesuid"].is_unique
    assert theirs.manifest["seriesuid"].is_unique


def test_one_nodule_far_from_all_costs_no_other_its_pair():
    ours, theirs = pair(side_of([5.0, 6.0, 30.0]), side_of([6.1, 5.1, 3.0]))
    assert list(zip(ours.diameters_mm, theirs.diameters_mm, strict=True)) == [(5.0, 5.1), (6.0, 6.1)]


def test_cubes_stay_with_their_rows():
    ours, _ = pair(side_of([9.0, 5.0]), side_of([5.0]))
    assert np.array_equal(ours.cubes_NDHW, balls([9.0, 5.0], 0.8)[1:])


def test_groups_are_all_pairs_between_the_limits_and_then_each_range():
    sides = pair(side_of([4.0, 7.9, 8.0, 15.0]), side_of([4.0, 7.9, 8.0, 15.0]))
    found = {group.name: sorted(group.sides[0].diameters_mm) for group in stratify(sides, [4, 8, 15], 2)}
    assert found == {"4 to 15 mm": [4.0, 7.9, 8.0], "4 to 8 mm": [4.0, 7.9], "8 to 15 mm": [8.0]}
    assert [group.name for group in stratify(sides, [4, 8], 2)] == ["4 to 8 mm"]


def test_cubes_beyond_their_scan_can_be_left_out(tmp_path):
    folder = write_dataset(tmp_path / "ours", 0.7)
    assert len(read(folder, "ours", whole_only=False).manifest) == 24
    assert (read(folder, "ours", whole_only=True).manifest["air_share"] == 0).sum() == 18


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_balls_profile_falls_at_its_radius(dimensions):
    cubes = balls([8.0], 0.8)
    sections = dataset.central_section(cubes, dimensions)
    radii = distances(sections.shape[1:], np.array([1.0]), np.array([8.0]))
    found = profile(sections, radii)[0]
    inside = PROFILE_EDGES[1:] <= 1
    assert found[inside] == pytest.approx(0.805, abs=0.02)
    assert found[~inside & ~np.isnan(found)] == pytest.approx(0.105, abs=0.02)
    values = {name: value[0] for name, value in measure(sections, radii).items()}
    assert values["centre (to 0.5 radii)"] == pytest.approx(0.805, abs=0.01)
    assert values["around (from 1.5 radii on)"] == pytest.approx(0.105, abs=0.01)
    assert 0.3 < values["rim (0.75 to 1.25 radii)"] < 0.6


def test_distances_are_in_radii_whatever_the_voxels():
    near, far = distances((8, 8), np.array([0.5, 2.0]), np.array([4.0, 16.0]))
    assert np.allclose(near, far)
    assert near[0, 0] == pytest.approx(np.hypot(3.5, 3.5) * 0.5 / 2)


def test_where_no_voxel_lies_a_measure_is_unknown():
    radii = distances((12,) * 3, np.ones(1), np.array([20.0]))
    assert np.isnan(measure(balls([20.0], 0.8), radii)["around (from 1.5 radii on)"]).all()


def test_the_steepness_of_a_slope_is_its_slope():
    slope = np.broadcast_to(0.03 * np.arange(10.0), (1, 10, 10)) + 0.04 * np.arange(10.0)[:, None]
    assert steepness(slope.astype(np.float32)) == pytest.approx(0.05, abs=1e-6)


def test_only_short_waves_are_detail():
    place = np.arange(32)
    long, short = (np.cos(2 * np.pi * place / length) * np.ones((1, 32, 1)) for length in (16, 2.5))
    assert detail(long) < 0.01
    assert detail(short) == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert spectrum(short)[0].argmax() > spectrum(long)[0].argmax()


def test_noise_has_the_same_power_at_all_frequencies():
    power = spectrum(np.random.default_rng(0).normal(0, 0.1, (400, 16, 16)).astype(np.float32)).mean(axis=0)
    assert power == pytest.approx(0.01, rel=0.15)


def test_cubes_that_differ_in_two_ways_are_explained_by_two_components():
    random = np.random.default_rng(0)
    ways = random.uniform(0, 0.05, (2, 64))
    logarithms = 0.1 + random.normal(size=(50, 2)) @ ways
    cubes = np.expm1(logarithms).reshape(50, 4, 4, 4)
    found = explained(cubes[:30], cubes[30:], (1, 2, 5, 40))
    assert found[1] < 0.999
    assert found[2] == pytest.approx(1)
    assert list(found) == [1, 2, 5]  # no 40 components of 30 cubes


def test_what_is_explained_starts_from_the_best_constant():
    training, validation = balls(np.linspace(4, 8, 20), 0.8), balls(np.linspace(4, 8, 10), 0.6)
    share = explained(training, validation, (1, 10))[10]
    known, unknown = (np.log1p(cubes.reshape(len(cubes), -1).astype(float)) for cubes in (training, validation))
    directions = np.linalg.svd(known - known.mean(axis=0), full_matrices=False)[2][:10]
    rest = (unknown - known.mean(axis=0)) @ (np.eye(known.shape[1]) - directions.T @ directions)
    assert share == pytest.approx(1 - (rest**2).mean() / dataset.constant_loss(validation, training))


def test_the_interval_of_a_mean_is_that_of_statistics():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = interval(values)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high


def test_the_page_tells_the_difference_and_its_command(tmp_path):
    folders = [str(write_dataset(tmp_path / name, level)) for name, level in (("dim", 0.5), ("bright", 0.8))]
    options = ["--strata", "4", "9", "--names", "dim balls", "bright"]
    main([*folders, *options, "--output", str(tmp_path / "page/balls")])
    text = (tmp_path / "page/balls.md").read_text()
    assert f"strongscale.data.resemblance {folders[0]} {folders[1]} --strata 4 9 --names 'dim balls' bright" in text
    cells = [cell.strip() for cell in next(line for line in text.splitlines() if "centre (to" in line).split("|")]
    assert [float(cell) for cell in cells[2:4]] == pytest.approx([0.505, 0.805], abs=0.01)
    assert float(cells[4].split()[0]) == pytest.approx(0.3, abs=0.001)
    for name in ("balls.png", "balls_slices.png"):
        assert f"({name})" in text
        assert (tmp_path / "page" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strata", "8", "4"], "--strata: allowed: two or more diameters, rising"),
        (["--strata", "4"], "--strata: allowed: two or more diameters, rising"),
        (["--strata", "4", "20", "30"], "fewer than two pairs of 20 to 30 mm for training or for validation"),
        (["--names", "same", "same"], "--names: both are called same"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(tmp_path, options, message):
    folders = [str(write_dataset(tmp_path / name, 0.5)) for name in ("first", "second")]
    with pytest.raises(UserError, match=message) as refusal:
        main([*folders, *options, "--output", str(tmp_path / "page")])
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.glob("page*"))


def test_cubes_that_arent_those_of_the_data_set_are_refused(tmp_path):
    folder = write_dataset(tmp_path / "first", 0.5)
    np.save(folder / "cubes.npy", np.load(folder / "cubes.npy") + np.float32(0.1))
    with pytest.raises(UserError, match="first: the cubes or their split aren't those of dataset.json"):
        read(folder, "first", whole_only=False)
