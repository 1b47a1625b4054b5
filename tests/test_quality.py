import base64
import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from matplotlib.contour import QuadContourSet

from strongscale.common.errors import UserError
from strongscale.common.files import write_json
from strongscale.data import dataset
from strongscale.data.quality import __main__ as quality
from strongscale.data.quality import duplicates
from strongscale.data.quality.checks import difference_in_words, run_checks
from strongscale.data.quality.duplicates import find_duplicates, rms_distances
from strongscale.data.quality.figure import quality_figure
from strongscale.data.quality.montage import choose, montage
from strongscale.data.quality.page import Section, sections, write_page


def random_cubes(count, voxels=4, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, voxels, voxels, voxels)).astype(np.float32)


def manifest_of(count, **columns):
    """A table of so many cubes, each of its own scan; every fourth is for validation."""
    numbers = np.arange(count)
    table = pd.DataFrame(
        {
            "seriesuid": [f"scan{number}" for number in numbers],
            "x_mm": 10.0 * numbers,
            "y_mm": 0.0,
            "z_mm": 0.0,
            "diameter_mm": 3.0 + numbers,
            "readers": 3,
            "state": "cube",
            "file": "annotations.csv",
            "row": numbers + 2,
            "air_share": 0.0,
            "voxel_mm": 1.0,
            "spacing_i_mm": 0.7,
            "spacing_j_mm": 0.7,
            "spacing_k_mm": 1.25,
            "split": np.where(numbers % 4 == 3, "validation", "training"),
        }
    )
    return table.assign(**columns)


def write_all(folder, cubes, manifest, dropped=()):
    """A data set's folder, with a ledger that also holds rows that were `dropped`: pairs of a reason and `lost`."""
    folder.mkdir()
    ledger = manifest.reindex(columns=["file", "row", "state"]).assign(reason="", lost=False)
    rows = [
        {"file": "excluded.csv", "row": 2 + number, "state": "dropped", "reason": reason, "lost": lost}
        for number, (reason, lost) in enumerate(dropped)
    ]
    ledger = pd.concat([ledger, pd.DataFrame(rows, columns=ledger.columns)]) if rows else ledger
    totals = {
        "rows": len(ledger),
        "states": dict(Counter(ledger["state"])),
        "reasons": dict(Counter(reason for reason, _ in dropped)),
        "lost": sum(lost for _, lost in dropped),
        "files": dict(Counter(ledger["file"])),
        "expected": [],
    }
    split = manifest["split"].to_numpy(dtype=str)
    sides = {name: cubes[split == name] for name in dataset.SPLITS}
    summary = {
        "hash": dataset.digest(cubes, split),
        "provenance": "scans of a test",
        "window_hu": [-1000.0, 400.0],
        "null_loss": {"3": {name: dataset.null_loss(own) if len(own) else None for name, own in sides.items()}},
        "constant_loss": {"3": dict.fromkeys(sides)},
    }
    np.save(folder / "cubes.npy", cubes)
    manifest.to_csv(folder / "manifest.csv", index=False)
    ledger.to_csv(folder / "ledger.csv", index=False)
    write_json(folder / "ledger.json", totals)
    write_json(folder / "dataset.json", summary)
    return folder


@pytest.fixture
def folder(tmp_path):
    dropped = [("too small", False), ("too small", False), ("scan missing", True)]
    return write_all(tmp_path / "mine", random_cubes(12), manifest_of(12), dropped)


def failed(folder):
    data = quality.read(folder)
    return {
        check.name: check.found
        for check in run_checks(data, find_duplicates(data.cubes_NDHW, data.manifest))
        if not check.holds
    }


def change_json(path, **values):
    write_json(path, json.loads(path.read_text()) | values)


def change_first_row(path, values):
    table = pd.read_csv(path)
    for column, value in values.items():
        table.loc[0, column] = value
    table.to_csv(path, index=False)


@pytest.mark.parametrize(
    "cubes",
    [random_cubes(0), random_cubes(1), np.full((5, 4, 4, 4), 0.25, np.float32), random_cubes(100)],
    ids=["none", "one", "all equal", "more than the montage shows"],
)
def test_every_file_is_written_whatever_the_cubes(tmp_path, cubes):
    folder = write_all(tmp_path / "mine", cubes, manifest_of(len(cubes)))
    quality.main([str(folder), "--output", str(tmp_path / "quality")])
    for name in ("quality.png", "quality.svg", "montage.png", "quality.md", "quality.html", "duplicates.csv"):
        assert (tmp_path / "quality" / name).stat().st_size > 100
    assert len(pd.read_csv(tmp_path / "quality" / "duplicates.csv")) == (10 if len(cubes) == 5 else 0)
    assert str(len(cubes)) in (tmp_path / "quality" / "quality.md").read_text()


def test_the_page_holds_its_pictures_itself(folder, tmp_path):
    quality.main([str(folder), "--output", str(tmp_path / "quality")])
    page = (tmp_path / "quality" / "quality.html").read_text()
    shown = re.findall(r'<img alt="(\w+)" src="data:image/png;base64,([\w+/=]+)">', page)
    pictures = {heading: base64.b64decode(content) for heading, content in shown}
    for heading, name in {"Distributions": "quality.png", "Cubes": "montage.png"}.items():
        assert pictures[heading] == (tmp_path / "quality" / name).read_bytes()
        assert f"![{heading}]({name})" in (tmp_path / "quality" / "quality.md").read_text()


def test_distances_are_those_of_the_definition_over_several_blocks(monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 3)
    cubes = random_cubes(8)
    wide = cubes.astype(float)
    expected = np.sqrt(((wide[:, None] - wide[None]) ** 2).mean(axis=(2, 3, 4)))
    np.testing.assert_allclose(rms_distances(cubes), expected, atol=1e-6)


def test_equal_cubes_on_both_sides_of_the_split_are_a_leak():
    cubes = random_cubes(8)
    cubes[3] = cubes[0]  # 3 is for validation
    found = find_duplicates(cubes, manifest_of(8))
    assert found.pairs[["first", "second", "kind", "distance", "leak"]].to_numpy().tolist() == [
        [0, 3, "equal", 0.0, True]
    ]
    assert (found.counts["equal"], found.leaks["equal"]) == (1, 1)


def test_equal_cubes_on_one_side_are_no_leak():
    cubes = random_cubes(8)
    cubes[1] = cubes[0]
    found = find_duplicates(cubes, manifest_of(8))
    assert (found.counts["equal"], sum(found.leaks.values())) == (1, 0)


def test_a_cube_with_a_little_noise_is_a_near_duplicate():
    cubes = random_cubes(8)
    cubes[5] = cubes[2] + np.float32(0.001)
    found = find_duplicates(cubes, manifest_of(8))
    assert found.pairs[["first", "second", "kind"]].to_numpy().tolist() == [[2, 5, "near"]]
    assert found.pairs["distance"].iloc[0] == pytest.approx(0.001, rel=1e-3)
    assert np.isnan(found.pairs["centre_distance_mm"].iloc[0])


def test_many_equal_cubes_leave_the_threshold_as_it_is():
    cubes = random_cubes(8)
    threshold = find_duplicates(cubes, manifest_of(8)).threshold
    many = np.concatenate([cubes, np.repeat(cubes[:1], 20, axis=0)])
    assert find_duplicates(many, manifest_of(28)).threshold == pytest.approx(threshold)
    assert threshold > 0


def test_the_same_place_counts_in_one_scan_only():
    x_mm = [0.0, 1.9, 4.0, 0.0, 1.9]
    scans = ["a", "a", "a", "b", "c"]
    found = find_duplicates(random_cubes(5), manifest_of(5, x_mm=x_mm, seriesuid=scans))
    assert found.pairs[["first", "second", "kind"]].to_numpy().tolist() == [[0, 1, "same place"]]
    assert found.pairs["centre_distance_mm"].iloc[0] == pytest.approx(1.9)


def test_all_pairs_are_counted_where_not_all_are_listed(monkeypatch):
    monkeypatch.setattr(duplicates, "MOST_LISTED", 3)
    found = find_duplicates(np.zeros((5, 4, 4, 4), np.float32), manifest_of(5))
    assert (found.counts["equal"], found.leaks["equal"], len(found.pairs)) == (10, 4, 3)


def test_a_good_data_set_passes_every_check(tmp_path):
    folder = write_all(tmp_path / "mine", random_cubes(12), manifest_of(12), [("too small", False)])
    assert failed(folder) == {}


@pytest.mark.parametrize(
    ("file", "values", "check", "found"),
    [
        ("ledger.csv", {"state": "lost"}, "the ledger adds up", "15 lines but 11 cube + 0 padded + 0 cut + 3 dropped"),
        ("ledger.csv", {"row": 99}, "the cubes are those of the ledger", "1 only in the ledger, 1 only cubes"),
        ("ledger.csv", {"state": "cut"}, "ledger.json counts what ledger.csv holds", "wrong: states"),
        ("manifest.csv", {"state": "cut"}, "the cubes are those of the ledger", "1 only in the ledger, 1 only cubes"),
        (
            "manifest.csv",
            {"seriesuid": "scan3"},
            "no scan is on both sides of the split",
            "1 of 11 scans are on both, scan3",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_named(folder, file, values, check, found):
    change_first_row(folder / file, values)
    assert failed(folder)[check].startswith(found)


def test_a_patient_on_both_sides_is_named(tmp_path):
    manifest = manifest_of(12, patient=["", "NA", "b", "NA", *"cdefghij"])
    folder = write_all(tmp_path / "mine", random_cubes(12), manifest)
    assert failed(folder) == {"no patient is on both sides of the split": "1 of 10 patients are on both, NA first"}


def test_lost_annotations_are_named(folder):
    assert failed(folder) == {"nothing was lost to faults of the data": "1 annotations lost"}


def test_another_number_than_expected_is_said_in_words(folder):
    expected = [{"what": "scans", "expected": 10, "found": 10}, {"what": "rows", "expected": 14, "found": 12}]
    change_json(folder / "ledger.json", expected=expected)
    assert failed(folder)["numbers are as expected"] == "rows: 2 fewer than expected"


@pytest.mark.parametrize(
    ("found", "words"), [(5, "as expected"), (7, "2 more than expected"), (4, "1 fewer than expected")]
)
def test_differences_in_words(found, words):
    assert difference_in_words(5, found) == words


def test_a_null_loss_of_other_cubes_is_named(folder):
    change_json(folder / "dataset.json", null_loss={"3": {"training": 0.5, "validation": 0.5}})
    assert failed(folder)["the null losses of dataset.json are those of the cubes"] == "not for training and validation"


def test_the_page_names_reasons_and_leaks(folder, tmp_path):
    data = quality.read(folder)
    found = find_duplicates(data.cubes_NDHW, data.manifest)
    write_page(tmp_path / "page", "Mine", sections(data, found, run_checks(data, found)))
    text = (tmp_path / "page.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert ["too small", "2", "0"] in rows
    assert ["scan missing", "1", "1"] in rows
    assert ["all", "15", "12", "0", "0", "3", "1"] in rows
    assert "1 of 8 checks does not hold." in text
    assert "No pair of cubes is a duplicate." in text
    assert "No cube reaches over its scan's border." in text


@pytest.mark.parametrize(("padding", "words"), [("air", "air"), ("nearest", "what lies nearest in the scan")])
def test_the_page_says_how_much_of_padded_cubes_lies_beyond_the_scan_and_what_is_there(tmp_path, padding, words):
    states = ["padded", "cut", "padded", "cube", "cube"]
    manifest = manifest_of(5, state=states, air_share=[0.1, 0.2, 0.75, 0, 0], air_axis=["k", "k", "i", "", ""])
    folder = write_all(tmp_path / "mine", random_cubes(5), manifest)
    if padding != "air":
        change_json(folder / "dataset.json", padding=padding)
    data = quality.read(folder)
    last = sections(data, find_duplicates(data.cubes_NDHW, data.manifest), [])[-1]
    assert f"3 of 5 reach over their scan's border: there they are filled with {words}" in last.sentences[0]
    assert "35.0 % of their voxels in the mean, 20.0 % in the median and 75.0 % at most; in 1 it" in last.sentences[0]
    assert last.sentences[1] == "Of the scan's axes i, j and k, most of that lies along k in 2, along i in 1 of them."


def with_masks(folder, masks):
    """The same data set, with masks."""
    np.save(folder / "masks.npy", masks)
    split = pd.read_csv(folder / "manifest.csv")["split"].to_numpy(dtype=str)
    change_json(folder / "dataset.json", hash=dataset.digest(np.load(folder / "cubes.npy"), split, masks), masks=True)
    return folder


def test_the_page_says_how_much_is_nodule(tmp_path):
    masks = np.zeros((8, 4, 4, 4), np.uint8)
    masks[:, 1:3, 1:3, 1:3] = 1
    masks[3, 1] = 1  # 3 and 7 are for validation
    data = quality.read(with_masks(write_all(tmp_path / "mine", random_cubes(8), manifest_of(8)), masks))
    last = sections(data, find_duplicates(data.cubes_NDHW, data.manifest), [])[-1]
    assert [list(row.values()) for row in last.rows] == [
        ["training", "12.5 %", "12.5 %", "12.5 %", "12.5 %"],
        ["validation", "21.9 %", "12.5 %", "21.9 %", "31.2 %"],
    ]
    assert all(check.holds for check in run_checks(data, find_duplicates(data.cubes_NDHW, data.manifest)))


def test_empty_masks_are_told_of(tmp_path):
    masks = np.ones((8, 4, 4, 4), np.uint8)
    masks[2] = 0
    folder = with_masks(write_all(tmp_path / "mine", random_cubes(8), manifest_of(8)), masks)
    assert failed(folder) == {"every mask is 0 and 1, and none is empty": "1 of 8 are empty"}


def test_texts_cannot_break_the_page(tmp_path):
    write_page(tmp_path / "page", "A & B", [Section("", ["<b>"], [{"reason": "a|b <i>"}])])
    page = (tmp_path / "page.html").read_text()
    assert "<h1>A &amp; B</h1>" in page
    assert "<p>&lt;b&gt;</p>" in page
    assert "<td>a|b &lt;i&gt;</td>" in page
    assert r"a\|b" in (tmp_path / "page.md").read_text()


def test_the_montage_shows_the_smallest_and_the_largest_and_rare_states():
    diameters_mm = np.random.default_rng(0).permutation(1000) / 10
    states = np.full(1000, "cube", dtype="<U6")
    states[[7, 500]] = "padded", "cut"
    chosen = choose(diameters_mm, states, 20)
    assert len(set(chosen)) == 20
    assert {7, 500} <= set(chosen)
    assert (np.diff(diameters_mm[chosen]) > 0).all()
    assert (diameters_mm[chosen[0]], diameters_mm[chosen[-1]]) == (0.0, 99.9)


def test_the_montage_is_full_where_nearly_all_cubes_are_padded():
    states = np.array(["padded"] * 95 + ["cube"] * 5)
    assert len(set(choose(np.arange(100.0), states, 20))) == 20


def test_the_montage_outlines_nodules():
    masks = np.zeros((3, 4, 4, 4), np.uint8)
    masks[:2, :, 1:3, 1:3] = 1
    figure = montage(random_cubes(3), manifest_of(3), (-1000.0, 400.0), masks)
    assert sum(isinstance(artist, QuadContourSet) for artist in figure.axes[0].collections) == 2


def test_the_montage_shows_all_cubes_where_they_are_few():
    assert choose(np.array([5.0, 3.0, 4.0]), np.array(["cube", "cut", "padded"])).tolist() == [1, 2, 0]


def test_the_figure_marks_a_range_where_cubes_differ_in_size():
    cubes, manifest = random_cubes(3), manifest_of(3, voxel_mm=[1.0, 2.0, 4.0])
    figure = quality_figure(cubes, manifest, find_duplicates(cubes, manifest), (-1000.0, 400.0))
    assert figure.axes[1].get_legend().get_texts()[0].get_text() == "side of the cubes, 4 to 16 mm"


@pytest.mark.parametrize("name", ["cubes.npy", "manifest.csv", "ledger.csv", "ledger.json", "dataset.json"])
def test_a_missing_file_is_named_and_nothing_is_written(folder, tmp_path, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        quality.main([str(folder), "--output", str(tmp_path / "quality")])
    assert not (tmp_path / "quality").exists()


def test_a_manifest_of_an_older_version_is_refused(folder):
    manifest = pd.read_csv(folder / "manifest.csv").drop(columns="air_share")
    manifest.to_csv(folder / "manifest.csv", index=False)
    with pytest.raises(UserError, match=r"manifest\.csv: no column air_share; remove it and run again"):
        quality.read(folder)


def test_cubes_of_another_data_set_are_refused(folder):
    np.save(folder / "cubes.npy", random_cubes(12, seed=1))
    with pytest.raises(UserError, match="aren't those of dataset.json"):
        quality.read(folder)
