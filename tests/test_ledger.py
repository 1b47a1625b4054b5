"""The ledger: every annotation ends in one state, the totals add up, and a fault costs its own nodules and no other."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strongscale.common.errors import UserError
from strongscale.common.schema import plain
from strongscale.data import cubes, dataset, ledger, losses, totals
from strongscale.data.scans.metaimage import write_scan
from strongscale.data.tables import read_table
from strongscale.settings.datasets import WHOLE, Cubes, Dataset, Expected

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
CUBES = Cubes(voxels=8, minimum_readers=3)


def write_volume(path: Path, seed: int = 0, shape_zyx: tuple[int, int, int] = (20, 40, 40)) -> None:
    voxels = np.random.default_rng(seed).integers(-1000, 400, shape_zyx).astype(np.int16)
    write_scan(path, voxels, np.array([1.0, 1.0, 2.0]), np.zeros(3), np.eye(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three scans of 40 mm in a folder with a space in its name, each with a nodule, the first with three."""
    folder = tmp_path / "my scans"
    for number in range(3):
        write_volume(folder / "subset0" / f"1.{number}.mhd", number)
    (folder / "annotations.csv").write_text(
        HEADER + "1.0,20,20,20,5\n1.0,20,20,2,4\n1.0,20,18,22,9\n1.1,20,20,20,5\n1.2,20,20,20,5\n"
    )
    return folder


def make(folder: Path, num_parts: int = 1, **settings: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run the cutting of all parts, and the ledger: its table and its totals."""
    known = Dataset(**({"folder": str(folder), "subsets": (0,), "cubes": CUBES, "num_validation": 1} | settings))
    made = folder.parent / "made"
    parts = []
    for subset in known.subset_names:
        for part in range(num_parts):
            rows = made / "cubes" / f"{subset}.{part}.csv"
            arguments = ["--settings", json.dumps(plain(known.cubes)), "--scans", str(folder), "--subset", subset]
            arguments += ["--part", f"{part}/{num_parts}", "--rows", str(rows)]
            cubes.main([*arguments, "--cubes", str(rows.with_suffix(".npy"))])
            parts.append(str(rows))
    as_json = json.dumps(plain(known))
    table = str(made / "ledger.csv")
    ledger.main(["--settings", as_json, "--scans", str(folder), "--parts", *parts, "--output", table])
    totals.main(["--settings", as_json, "--ledger", table, "--output", str(made / "ledger.json")])
    with (made / "ledger.json").open() as file:
        return read_table(made / "ledger.csv"), json.load(file)


def join(folder: Path, **settings: Any) -> dict[str, Any]:
    """Make the data set of what `make` made, if its losses are tolerated; its summary."""
    known = Dataset(**({"folder": str(folder), "subsets": (0,), "cubes": CUBES, "num_validation": 1} | settings))
    made = folder.parent / "made"
    tolerated = ["--tolerated", str(known.tolerated_losses), "--output", str(made / "losses.json")]
    losses.main(["--ledger", str(made / "ledger.csv"), *tolerated])
    parts = [str(path) for path in sorted((made / "cubes").glob("*.csv"))]
    arguments = ["--settings", json.dumps(plain(known)), "--ledger", str(made / "ledger.csv"), "--parts", *parts]
    dataset.main([*arguments, "--tolerated", str(known.tolerated_losses), "--output", str(made)])
    summary: dict[str, Any] = json.loads((made / "dataset.json").read_text())
    return summary


def test_every_row_ends_in_one_state(folder: Path) -> None:
    table, totals = make(folder)
    assert table["row"].tolist() == [2, 3, 4, 5, 6]
    assert table["state"].tolist() == ["cube", "padded", "cut", "cube", "cube"]
    assert totals["states"] == {"cube": 3, "padded": 1, "cut": 1, "dropped": 0}
    assert (totals["rows"], totals["lost"]) == (5, 0)


def test_a_row_tells_of_its_scan_and_its_air(folder: Path) -> None:
    table, _ = make(folder)
    assert table["air_share"].tolist() == [0, 0.25, 0, 0, 0]
    assert table[["spacing_i_mm", "spacing_j_mm", "spacing_k_mm"]].iloc[0].tolist() == [1, 1, 2]


def test_settings_drop_rows_and_lose_nothing(folder: Path) -> None:
    (folder / "annotations_excluded.csv").write_text(HEADER + "1.1,20,20,20.2,-1\n1.1,20,20,20,5\n9.9,0,0,0,2\n")
    table, totals = make(folder, cubes=Cubes(voxels=8, minimum_diameter_mm=4.5))
    assert totals["reasons"] == {"too small": 2, "no diameter": 1, "said twice": 1}
    assert totals["lost"] == 0
    assert len(table) == totals["rows"] == 8


def test_parts_of_a_subset_give_the_same_as_the_whole(folder: Path) -> None:
    whole, _ = make(folder)
    hashes = [join(folder)["hash"]]
    for path in (folder.parent / "made" / "cubes").iterdir():
        path.unlink()
    parted, _ = make(folder, num_parts=3)
    pd.testing.assert_frame_equal(whole, parted)
    assert [join(folder)["hash"]] == hashes


def test_scans_may_lie_in_the_folder_itself(folder: Path) -> None:
    for path in (folder / "subset0").iterdir():
        path.replace(folder / path.name)
    table, totals = make(folder, subsets=None)
    assert totals["lost"] == 0
    assert set(table["subset"]) == {WHOLE}


def test_numbers_that_differ_from_the_expected_are_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, totals = make(folder, expected=Expected(annotations=5, annotated_scans=4, above_16_mm=0))
    assert [(count["expected"], count["found"]) for count in totals["expected"]] == [(5, 5), (4, 3), (0, 0)]
    assert "scans that annotations.csv names: 3, expected 4" in caplog.text
    assert "rows of annotations.csv: 5" not in caplog.text


def test_scans_that_werent_asked_for_are_no_loss_where_that_is_said(folder: Path) -> None:
    (folder / "subset0" / "1.2.mhd").rename(folder / "1.2.mhd")
    _, totals = make(folder)
    assert (totals["reasons"], totals["lost"]) == ({"scan missing": 1}, 1)
    _, totals = make(folder, partial=True)
    assert (totals["reasons"], totals["lost"]) == ({"scan not asked for": 1}, 0)


def test_a_scan_in_two_subsets_counts_once(folder: Path) -> None:
    write_volume(folder / "subset1" / "1.1.mhd", 1)
    table, totals = make(folder, subsets=(0, 1))
    assert (table["subset"] == "subset0").all()
    assert totals["rows"] == 5
    assert sum(join(folder, subsets=(0, 1))["states"].values()) == 5


# --- faults of a scan: each is named, costs its own nodule, and nothing else


def header_of(folder: Path) -> Path:
    return folder / "subset0" / "1.1.mhd"


def change(folder: Path, old: str, new: str) -> None:
    path = header_of(folder)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cut_short(folder: Path) -> None:
    os.truncate(header_of(folder).with_suffix(".raw"), 1000)


def remove_raw(folder: Path) -> None:
    header_of(folder).with_suffix(".raw").unlink()


def repeat(folder: Path) -> None:
    (folder / "subset0" / "1.1.nii").write_bytes(b"")


def to_nothing(folder: Path) -> None:
    header_of(folder).write_bytes(b"")


def to_noise(folder: Path) -> None:
    header_of(folder).write_bytes(np.random.default_rng(0).bytes(1000))


def to_directory(folder: Path) -> None:
    header_of(folder).unlink()
    header_of(folder).mkdir()


FAULTS = {
    "truncated .raw": (cut_short, "1.1.raw"),
    "missing .raw": (remove_raw, "1.1.mhd"),
    "too large a DimSize": (lambda folder: change(folder, "DimSize = 40", "DimSize = 80"), "1.1.raw"),
    "too small a DimSize": (lambda folder: change(folder, "DimSize = 40", "DimSize = 20"), "1.1.raw"),
    "DimSize of no numbers": (lambda folder: change(folder, "DimSize = 40", "DimSize = x"), "1.1.mhd"),
    "DimSize of nothing": (lambda folder: change(folder, "DimSize = 40", "DimSize = 0"), "1.1.mhd"),
    "NaN spacing": (lambda folder: change(folder, "ElementSpacing = 1", "ElementSpacing = nan"), "1.1.mhd"),
    "zero spacing": (lambda folder: change(folder, "ElementSpacing = 1", "ElementSpacing = 0"), "1.1.mhd"),
    "negative spacing": (lambda folder: change(folder, "ElementSpacing = 1", "ElementSpacing = -1"), "1.1.mhd"),
    "infinite origin": (lambda folder: change(folder, "Offset = 0", "Offset = inf"), "1.1.mhd"),
    "singular direction": (lambda folder: change(folder, "TransformMatrix = 1", "TransformMatrix = 0"), "1.1.mhd"),
    "two numbers of spacing": (lambda folder: change(folder, "ElementSpacing = 1 1", "ElementSpacing = 1"), "1.1.mhd"),
    "no spacing": (lambda folder: change(folder, "ElementSpacing", "Spacing"), "1.1.mhd"),
    "unknown element type": (lambda folder: change(folder, "MET_SHORT", "MET_WORD"), "1.1.mhd"),
    "four dimensions": (lambda folder: change(folder, "NDims = 3", "NDims = 4"), "1.1.mhd"),
    "a list of files": (lambda folder: change(folder, "1.1.raw", "LIST"), "1.1.mhd"),
    "voxels from elsewhere": (lambda folder: change(folder, "1.1.raw", "../../1.1.raw"), "1.1.mhd"),
    "duplicate seriesuid": (repeat, "1.1"),
    "empty header": (to_nothing, "1.1.mhd"),
    "noise for a header": (to_noise, "1.1.mhd"),
    "a folder for a header": (to_directory, "1.1.mhd"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_scan_that_cant_be_read_costs_its_own_nodules(folder: Path, fault: str) -> None:
    damage, named = FAULTS[fault]
    damage(folder)
    table, totals = make(folder)
    assert table["state"].tolist() == ["cube", "padded", "cut", "dropped", "cube"]
    assert (totals["reasons"], totals["lost"]) == ({"scan unreadable": 1}, 1)
    detail = table["detail"][3]
    assert named in detail
    assert "\n" not in detail
    assert sum(join(folder, tolerated_losses=1)["states"].values()) == 4


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("1.1,20,20,-400,5", "outside the scan", "(20, 20, -400) mm lies outside the scan"),
        ("1.1,20,20,5e9,5", "outside the scan", "lies outside the scan"),
        ("1.1,20,20,x,5", "wrong row", "coordZ: 'x' isn't a number"),
        ("7.7,20,20,20,5", "scan missing", "no scan 7.7 in subset0"),
    ],
)
def test_a_wrong_annotation_costs_itself(folder: Path, line: str, reason: str, detail: str) -> None:
    with (folder / "annotations.csv").open("a") as file:
        file.write(line + "\n")
    table, totals = make(folder)
    assert totals["reasons"] == {reason: 1}
    assert detail in table["detail"].iloc[-1]
    with pytest.raises(UserError, match=rf"1 nodules lost \(1 {reason}\).*annotations.csv, row 7"):
        join(folder)
    assert not (folder.parent / "made" / "dataset.json").exists()


def test_of_many_lost_nodules_the_first_are_named_and_the_others_counted(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (folder / "annotations.csv").open("a") as file:
        file.writelines(f"8.{number},20,20,20,5\n" for number in range(50))
    _, totals = make(folder)
    assert totals["lost"] == 50
    assert caplog.text.count("no scan 8.") == ledger.MOST_NAMED
    assert "30 lost for 30 more reasons; all stand in ledger.csv" in caplog.text


def test_a_diameter_that_asks_for_a_cube_of_a_tebibyte_costs_itself(folder: Path) -> None:
    with (folder / "annotations.csv").open("a") as file:
        file.write("1.1,20,20,20.5,1e6\n")
    table, totals = make(folder, cubes=Cubes(voxels=8, minimum_readers=3, diameters=2.0))
    assert (totals["reasons"], totals["lost"]) == ({"cube too large": 1}, 1)
    assert "1.1.mhd: a cube of 2e+06 mm asks for" in table["detail"].iloc[-1]


def test_voxels_that_are_no_numbers_cost_the_nodules_beside_them(folder: Path) -> None:
    path = header_of(folder)
    voxels = np.zeros((20, 40, 40), "<f4")
    voxels[:12] = np.nan
    path.with_suffix(".raw").write_bytes(voxels.tobytes())
    change(folder, "MET_SHORT", "MET_FLOAT")
    with (folder / "annotations.csv").open("a") as file:
        file.write("1.1,20,20,33,5\n")
    table, _ = make(folder)
    assert table["reason"].tolist() == ["", "", "", "scan unreadable", "", ""]
    assert "aren't numbers" in table["detail"][3]


def test_an_empty_subset_is_an_error(folder: Path) -> None:
    for path in (folder / "subset0").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="subset0: no scans there"):
        make(folder)
    assert not (folder.parent / "made").exists()


# --- the size of LUNA16


def test_a_patients_scans_stay_together_from_the_annotations_to_the_split(folder: Path) -> None:
    text = (folder / "annotations.csv").read_text().splitlines()
    patients = ["patient", "01", "", "", "1.0", "01"]  # scan 1.0's, 1.1's and 1.2's
    (folder / "annotations.csv").write_text(
        "".join(f"{line},{name}\n" for line, name in zip(text, patients, strict=True))
    )
    table, _ = make(folder, num_parts=2)
    assert table["patient"].tolist() == ["01", "01", "01", "1.0", "01"]
    assert join(folder)["num_validation"] == 1
    manifest = read_table(folder.parent / "made" / "manifest.csv")
    assert manifest.set_index("patient")["split"].to_dict() == {"01": "training", "1.0": "validation"}


def write_luna16(folder: Path) -> None:
    """888 small scans in ten subsets, and the counts of LUNA16's annotations."""
    random = np.random.default_rng(16)
    names = [f"1.3.6.1.{number}" for number in range(888)]
    template = folder / "template.mhd"
    write_volume(template, shape_zyx=(12, 24, 24))
    voxels, text = template.with_suffix(".raw").read_bytes(), template.read_text()
    for number, name in enumerate(names):
        subset = folder / f"subset{number % 10}"
        subset.mkdir(exist_ok=True)
        (subset / f"{name}.mhd").write_text(text.replace("template", name))
        (subset / f"{name}.raw").write_bytes(voxels)
    diameters_mm = np.r_[random.uniform(16.1, 32.27, 112), random.uniform(3.25, 15.9, 1186 - 112)]
    annotated = [*range(601), *random.integers(0, 601, 1186 - 601)]
    others = np.r_[random.uniform(3, 12, 1104), random.uniform(0.5, 2.9, 300), np.full(5000, -1.0)]
    tables = {
        "annotations.csv": zip(annotated, diameters_mm, strict=True),
        "annotations_excluded.csv": zip(random.integers(0, 888, len(others)), others, strict=True),
    }
    for file, table in tables.items():
        lines = [",".join(map(str, [names[n], *random.uniform(0, 22, 3).round(6), d.round(6)])) for n, d in table]
        (folder / file).write_text(HEADER + "\n".join(lines) + "\n")


@pytest.mark.slow
def test_the_annotations_of_888_scans_are_all_accounted_for(tmp_path: Path) -> None:
    folder = tmp_path / "luna16"
    folder.mkdir()
    write_luna16(folder)
    expected = Expected(annotations=1186, annotated_scans=601, above_16_mm=112, excluded=1104)
    settings: dict[str, Any] = {"subsets": tuple(range(10)), "cubes": Cubes(), "num_validation": 256}
    table, totals = make(folder, expected=expected, **settings)
    assert all(count["expected"] == count["found"] for count in totals["expected"])
    assert totals["rows"] == 1186 + 1104 + 300 + 5000 == sum(totals["states"].values())
    assert totals["reasons"] == {"no diameter": 5000, "too small": 300}
    assert totals["states"]["cut"] == 112
    summary = join(folder, **settings)
    assert (summary["num_training"], summary["num_validation"]) == (2290 - 256, 256)
    manifest = read_table(folder.parent / "made" / "manifest.csv")
    assert (manifest.groupby("seriesuid")["split"].nunique() == 1).all()
