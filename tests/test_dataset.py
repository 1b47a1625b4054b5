"""The data set: every cube once, split by scan with an exact number, and the same whatever the order of its parts."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.common.schema import plain
from strongscale.data import dataset, inspect
from strongscale.data.ledger import COLUMNS
from strongscale.data.split import validation_groups
from strongscale.settings.datasets import Cubes, Dataset, Phantom
from strongscale.tasks.autoencoding import msle

SETTINGS = Dataset(phantom=Phantom(seed=5), cubes=Cubes(voxels=4), num_validation=3)


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Two parts of three scans of one or two nodules each; a cube's voxels are its x coordinate. One row was dropped."""
    paths = []
    for number in range(2):
        rows = [
            {"seriesuid": f"1.{number}.{scan}", "x_mm": float(6 * number + 2 * scan + i), "state": "cube"}
            for scan in range(3)
            for i in range(1 + scan % 2)
        ]
        cubes = np.ones((1, 4, 4, 4)) * np.array([row["x_mm"] for row in rows])[:, None, None, None] / 12
        rows.insert(1, {"seriesuid": f"1.{number}.0", "x_mm": 99.0, "state": "dropped", "reason": "too small"})
        table = pd.DataFrame(rows, columns=COLUMNS).assign(
            file="annotations.csv", row=range(5 * number, 5 * number + 5), subset=f"subset{number}", lost=False
        )
        table = table.assign(y_mm=2.0, z_mm=3.0, diameter_mm=5.0, readers=3, voxel_mm=1.0)
        path = tmp_path / f"subset{number}.0.csv"
        table.to_csv(path, index=False)
        np.save(path.with_suffix(".npy"), cubes.astype(np.float32))
        paths.append(path)
    return paths


def run_dataset(parts: list[Path], output: Path, settings: Dataset = SETTINGS) -> dict[str, Any]:
    ledger = output.with_name("ledger.csv")
    pd.concat([pd.read_csv(path) for path in parts]).drop_duplicates(["file", "row"]).to_csv(ledger, index=False)
    arguments = ["--settings", json.dumps(plain(settings)), "--ledger", str(ledger), "--parts", *map(str, parts)]
    dataset.main([*arguments, "--output", str(output)])
    summary: dict[str, Any] = json.loads((output / "dataset.json").read_text())
    return summary


def test_every_cube_is_there_once_beside_its_row(parts: list[Path], tmp_path: Path) -> None:
    run_dataset(parts, tmp_path / "made")
    cubes = np.load(tmp_path / "made" / "cubes.npy")
    table = pd.read_csv(tmp_path / "made" / "manifest.csv")
    assert cubes.shape == (8, 4, 4, 4)
    assert np.allclose(cubes[:, 0, 0, 0] * 12, table["x_mm"])
    assert sorted(table["x_mm"]) == [0, 2, 3, 4, 6, 8, 9, 10]


def test_the_summary_says_what_the_data_set_holds(parts: list[Path], tmp_path: Path) -> None:
    summary = run_dataset(parts, tmp_path / "made")
    assert (summary["num_training"], summary["num_validation"]) == (5, 3)
    assert sum(summary["num_scans"].values()) == 6
    assert summary["provenance"] == "phantom scans, seed 5"
    assert summary["states"] == {"cube": 8, "padded": 0, "cut": 0}


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_losses_of_ignoring_the_input_are_those_of_the_models_own_dimensions(
    parts: list[Path], tmp_path: Path, dimensions: int
) -> None:
    run_dataset(parts, tmp_path / "made")
    samples = dataset.load(tmp_path / "made", dimensions)
    training, validation = (
        np.log1p(dataset.central_section(side, dimensions).astype(float))
        for side in (samples.training, samples.validation)
    )
    assert samples.null_loss == np.mean(validation**2)
    assert samples.constant_loss == pytest.approx(np.mean((validation - training.mean(axis=0)) ** 2))


def test_no_constant_output_is_better_for_the_training_samples() -> None:
    random = np.random.default_rng(0)
    cubes = random.uniform(size=(7, 2, 2, 2)).astype(np.float32)
    least = dataset.constant_loss(cubes, cubes)
    best = np.exp(np.log1p(cubes.astype(float)).mean(axis=0)) - 1
    for other in (best, cubes.mean(axis=0), best + 0.01, best - 0.01):
        loss = float(msle(torch.from_numpy(other)[None], torch.from_numpy(cubes.astype(float))).mean())
        assert loss >= least - 1e-12
        assert (loss == pytest.approx(least, abs=1e-9)) == (other is best)


def test_a_summary_of_an_earlier_version_is_refused_by_name(parts: list[Path], tmp_path: Path) -> None:
    summary = run_dataset(parts, tmp_path / "made")
    write_json(tmp_path / "made" / "dataset.json", summary | {"null_loss": {"training": 0.1, "validation": 0.1}})
    with pytest.raises(UserError, match=r"dataset\.json: no null_loss in 3 dimensions; remove it and run again"):
        dataset.load(tmp_path / "made")


def test_no_scan_is_on_both_sides(parts: list[Path], tmp_path: Path) -> None:
    run_dataset(parts, tmp_path / "made")
    table = pd.read_csv(tmp_path / "made" / "manifest.csv", dtype={"seriesuid": str})
    assert (table.groupby("seriesuid")["split"].nunique() == 1).all()


def name_patients(parts: list[Path], patients: dict[str, str]) -> None:
    """The patient of each scan, in the parts."""
    for path in parts:
        table = pd.read_csv(path, dtype={"seriesuid": str})
        table.assign(patient=table["seriesuid"].map(patients)).to_csv(path, index=False)


def sides(folder: Path, column: str) -> "pd.Series[Any]":
    """On how many sides of the split each patient's, or scan's, samples are."""
    table = pd.read_csv(folder / "manifest.csv", dtype={"seriesuid": str, "patient": str}, keep_default_na=False)
    return table[table[column] != ""].groupby(column)["split"].agg(["nunique", "size"])


@pytest.mark.parametrize("seed", range(8))
def test_no_patient_is_on_both_sides(parts: list[Path], tmp_path: Path, seed: int) -> None:
    name_patients(parts, {"1.0.0": "NA", "1.1.0": "NA", "1.0.1": "01", "1.1.1": "1", "1.0.2": "1"})
    run_dataset(parts, tmp_path / "made", Dataset(**{**vars(SETTINGS), "split_seed": seed}))
    found = sides(tmp_path / "made", "patient")
    assert found["size"].to_dict() == {"NA": 2, "01": 2, "1": 3}
    assert (found["nunique"] == 1).all()
    assert (sides(tmp_path / "made", "seriesuid")["nunique"] == 1).all()


def test_a_patient_named_like_another_scan_is_not_that_scans(parts: list[Path], tmp_path: Path) -> None:
    """Of three samples asked for: with scan 1.1.1 (two samples) in patient 1.1.1 (three), there were five."""
    name_patients(parts, {"1.0.0": "1.1.1", "1.0.1": "1.1.1"})
    table = pd.read_csv(parts[1])
    keep = (table["seriesuid"] == "1.1.1").to_numpy()
    np.save(parts[1].with_suffix(".npy"), np.load(parts[1].with_suffix(".npy"))[keep[table["state"] != "dropped"]])
    table[keep].to_csv(parts[1], index=False)
    for seed in range(8):
        run_dataset(parts, tmp_path / str(seed), Dataset(**{**vars(SETTINGS), "split_seed": seed}))
    splits = [pd.read_csv(tmp_path / str(seed) / "manifest.csv").set_index("seriesuid")["split"] for seed in range(8)]
    assert all(split["1.0.0"] == split["1.0.1"].iloc[0] for split in splits)
    assert any(split["1.0.0"] != split["1.1.1"].iloc[0] for split in splits)


def test_without_patients_the_split_is_that_of_an_earlier_version(parts: list[Path], tmp_path: Path) -> None:
    """Its parts have no such column, and its scans were drawn by name."""
    expected = run_dataset(parts, tmp_path / "new")
    for path in parts:
        pd.read_csv(path).drop(columns="patient").to_csv(path, index=False)
    assert run_dataset(parts, tmp_path / "old") == expected
    table = pd.read_csv(tmp_path / "old" / "manifest.csv", dtype={"seriesuid": str})
    chosen = validation_groups(table["seriesuid"].value_counts().to_dict(), 3, SETTINGS.split_seed)
    assert set(table["seriesuid"][table["split"] == "validation"]) == chosen


def test_a_split_that_no_patients_make_says_so(parts: list[Path], tmp_path: Path) -> None:
    name_patients(parts, {f"1.{number}.{scan}": f"{number}" for number in range(2) for scan in range(3)})
    message = (
        r"3 of 8 samples can't be split off by whole patients \(2 of them\) with some left for training; nearby: 4$"
    )
    with pytest.raises(UserError, match=message):
        run_dataset(parts, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_scan_in_two_subsets_counts_once(parts: list[Path], tmp_path: Path) -> None:
    expected = run_dataset(parts, tmp_path / "once")["hash"]
    again = tmp_path / "subset2.0.csv"
    again.write_bytes(parts[0].read_bytes())
    again.with_suffix(".npy").write_bytes(parts[0].with_suffix(".npy").read_bytes())
    assert run_dataset([*parts, again], tmp_path / "twice")["hash"] == expected


def test_the_order_of_the_parts_doesnt_matter(parts: list[Path], tmp_path: Path) -> None:
    run_dataset(parts, tmp_path / "first")
    run_dataset(parts[::-1], tmp_path / "second")
    for name in ("cubes.npy", "manifest.csv", "dataset.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_another_split_is_another_data_set(parts: list[Path], tmp_path: Path) -> None:
    hashes = {
        run_dataset(parts, tmp_path / str(seed), Dataset(**{**vars(SETTINGS), "split_seed": seed}))["hash"]
        for seed in range(5)
    }
    assert len(hashes) > 1


def test_a_subset_without_nodules_adds_nothing(parts: list[Path], tmp_path: Path) -> None:
    empty = tmp_path / "subset2.0.csv"
    pd.DataFrame(columns=COLUMNS).to_csv(empty, index=False)
    np.save(empty.with_suffix(".npy"), np.empty((0, 4, 4, 4), np.float32))
    expected = run_dataset(parts, tmp_path / "without")["hash"]
    assert run_dataset([empty, *parts], tmp_path / "with")["hash"] == expected


def test_loading_splits_the_cubes(parts: list[Path], tmp_path: Path) -> None:
    run_dataset(parts, tmp_path / "made")
    samples = dataset.load(tmp_path / "made")
    assert samples.training.shape == (5, 4, 4, 4)
    assert samples.validation.shape == (3, 4, 4, 4)


def test_changed_cubes_are_noticed(parts: list[Path], tmp_path: Path) -> None:
    run_dataset(parts, tmp_path / "made")
    cubes = np.load(tmp_path / "made" / "cubes.npy")
    cubes[0, 0, 0, 0] += 0.1
    np.save(tmp_path / "made" / "cubes.npy", cubes)
    with pytest.raises(UserError, match="aren't those of dataset.json"):
        dataset.load(tmp_path / "made")


def test_an_array_of_another_shape_is_named(parts: list[Path], tmp_path: Path) -> None:
    np.save(parts[0].with_suffix(".npy"), np.zeros((4, 5, 5, 5), np.float32))
    with pytest.raises(UserError, match=r"subset0.0.npy: shape \(4, 5, 5, 5\), but subset0.0.csv and the settings say"):
        run_dataset(parts, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_pickled_array_is_refused(parts: list[Path], tmp_path: Path) -> None:
    np.save(parts[0].with_suffix(".npy"), np.array([{}], dtype=object))
    with pytest.raises(UserError, match="subset0.0.npy: not a whole array"):
        run_dataset(parts, tmp_path / "made")


def test_a_missing_array_is_named(parts: list[Path], tmp_path: Path) -> None:
    parts[1].with_suffix(".npy").unlink()
    with pytest.raises(UserError, match="subset1.0.npy: no such file"):
        run_dataset(parts, tmp_path / "made")


@pytest.mark.parametrize(("dimensions", "shape"), [(3, (2, 4, 4, 4)), (2, (2, 4, 4)), (1, (2, 4))])
def test_a_central_section_has_fewer_dimensions(dimensions: int, shape: tuple[int, ...]) -> None:
    cubes = np.arange(128, dtype=np.float32).reshape(2, 4, 4, 4)
    section = dataset.central_section(cubes, dimensions)
    assert section.shape == shape
    assert np.array_equal(section[1].ravel()[-4:], cubes[(1, *[2] * (3 - dimensions))].ravel()[-4:])


counts_of_scans = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(counts=counts_of_scans, num_validation=st.integers(1, 60), seed=st.integers(0, 50))
def test_the_split_is_exact_or_says_what_is_possible(counts: list[int], num_validation: int, seed: int) -> None:
    sums = {0}
    for count in counts:
        sums |= {total + count for total in sums}
    possible = sums - {0, sum(counts)}
    scans = {f"scan{i}": count for i, count in enumerate(counts)}
    if num_validation in possible:
        chosen = validation_groups(scans, num_validation, seed)
        assert sum(scans[name] for name in chosen) == num_validation
        return
    with pytest.raises(UserError, match=f"num_validation: {num_validation} of {sum(counts)} samples") as refusal:
        validation_groups(scans, num_validation, seed)
    named = [int(word) for word in str(refusal.value).split("nearby: ")[1].split() if word.isdigit()]
    below = [number for number in possible if number < num_validation]
    above = [number for number in possible if number > num_validation]
    assert named == [*([max(below)] if below else []), *([min(above)] if above else [])]


@given(counts=counts_of_scans, seed=st.integers(0, 50))
def test_the_split_doesnt_depend_on_the_order_of_scans(counts: list[int], seed: int) -> None:
    scans = {f"scan{i}": count for i, count in enumerate([*counts, 1, 1])}
    backwards = dict(reversed(scans.items()))
    assert validation_groups(scans, 1, seed) == validation_groups(backwards, 1, seed)


def test_a_cube_is_written_to_its_place_in_the_patient(parts: list[Path], tmp_path: Path) -> None:
    run_dataset(parts, tmp_path / "made")
    inspect.main([str(tmp_path / "made"), "--row", "1", "--output", str(tmp_path / "nodule.nii.gz")])
    image = nibabel.load(tmp_path / "nodule.nii.gz")
    row = pd.read_csv(tmp_path / "made" / "manifest.csv").loc[1]
    assert np.allclose(image.affine @ [1.5, 1.5, 1.5, 1], [-row["x_mm"], -row["y_mm"], row["z_mm"], 1])
    assert np.array_equal(np.asarray(image.dataobj), np.load(tmp_path / "made" / "cubes.npy")[1].T)


@pytest.mark.parametrize(("row", "name", "message"), [("8", "a.nii", "allowed: 0 to 7"), ("0", "a.png", "end it with")])
def test_a_cube_that_isnt_there_is_refused(
    parts: list[Path], tmp_path: Path, row: str, name: str, message: str
) -> None:
    run_dataset(parts, tmp_path / "made")
    with pytest.raises(UserError, match=message):
        inspect.main([str(tmp_path / "made"), "--row", row, "--output", str(tmp_path / name)])
    assert not (tmp_path / name).exists()
