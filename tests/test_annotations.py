"""The annotation files: every row is read, and what is wrong with one is said."""

import os
from pathlib import Path

import pandas as pd
import pytest

from strongscale.common.errors import UserError
from strongscale.data.annotations import read_annotations
from strongscale.settings.datasets import Cubes

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, in a folder with a space in its name."""
    folder = tmp_path / "my scans"
    folder.mkdir()
    (folder / "annotations.csv").write_text(HEADER + "1.2,20,20,20,5\n1.2,20,20,2,11\n9.9,0,0,0,7\n")
    (folder / "annotations_excluded.csv").write_text(HEADER + "1.2,20,18,22,9\n1.2,20,20,20.5,-1\n1.2,20,18,30,2.9\n")
    return folder


def read(folder: Path, text: str | None = None, encoding: str = "utf-8", **settings: object) -> pd.DataFrame:
    if text is not None:
        (folder / "annotations.csv").write_bytes(text.encode(encoding))
    return read_annotations(folder, Cubes(**settings))


def test_every_row_of_both_files_is_there(folder: Path) -> None:
    table = read(folder)
    assert table["row"].tolist() == [2, 3, 4, 2, 3, 4]
    assert table["readers"].tolist() == [3, 3, 3, 1, 1, 1]
    assert table["reason"].tolist() == ["", "", "", "", "no diameter", "too small"]


def test_the_smallest_diameter_is_a_setting(folder: Path) -> None:
    assert (read(folder, minimum_diameter_mm=0)["reason"] == "").sum() == 5
    assert (read(folder, minimum_diameter_mm=7)["reason"] == "").sum() == 3


def test_the_readers_are_a_setting(folder: Path) -> None:
    (folder / "annotations_excluded.csv").unlink()
    assert len(read(folder, minimum_readers=3)) == 3


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (HEADER + "1.2,-1.5,2,3,4\n", "utf-8-sig"),
        (HEADER.replace(",", ";") + "1.2;-1.5;2;3;4\n", "utf-8"),
        (HEADER.replace(",", ";") + "1.2;-1,5;2,0;3;4\n", "utf-8"),
        (HEADER.replace(",", "\t") + "1.2\t-1.5\t2\t3\t4\n", "utf-8"),
        ('"seriesuid","coordX","coordY","coordZ","diameter_mm"\n"1.2","-1.5","2","3","4"\n', "utf-8"),
        ("\r\n".join([HEADER.strip(), "1.2, -1.5, 2, 3, 4", ""]), "utf-8"),
        ("note,diameter_mm,coordZ,coordY,coordX,seriesuid\nx,4,3,2,-1.5,1.2\n", "utf-8"),
        (HEADER + "\n1.2,-1.5,2,3,4\n\n", "utf-8"),
    ],
    ids=["byte order mark", "semicolons", "decimal commas", "tabs", "quotes", "windows", "other order", "blank lines"],
)
def test_other_ways_to_write_the_same_table(folder: Path, text: str, encoding: str) -> None:
    table = read(folder, text, encoding, minimum_readers=3)
    assert table[["seriesuid", "x_mm", "y_mm", "z_mm", "diameter_mm", "reason"]].to_numpy().tolist() == [
        ["1.2", -1.5, 2, 3, 4, ""]
    ]


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("1.2,1,2,x,4", "coordZ: 'x' isn't a number"),
        ("1.2,1,,3,4", "coordY: '' isn't a number"),
        ("1.2,1,2,inf,4", "coordZ: 'inf' isn't a number"),
        ("1.2,1,2,3,nan", "diameter_mm: 'nan' isn't a number"),
        ("1.2,1,2", "coordZ: '' isn't a number"),
        ('1.2,"1,020",2,3,4', "coordX: '1,020' isn't a number"),
        (",1,2,3,4", "seriesuid: empty"),
    ],
)
def test_a_wrong_row_is_marked_and_costs_no_other(folder: Path, line: str, detail: str) -> None:
    table = read(folder, f"{HEADER}1.2,1,2,3,4\n{line}\n1.2,5,6,7,8\n", minimum_readers=3)
    assert table["reason"].tolist() == ["", "wrong row", ""]
    assert table["detail"][1] == detail
    assert table["row"].tolist() == [2, 3, 4]


def test_a_nodule_said_twice_counts_once(folder: Path) -> None:
    (folder / "annotations_excluded.csv").write_text(HEADER + "1.2,20,20,2.0,11\n1.3,20,20,2,11\n")
    table = read(folder)
    assert table["reason"].tolist() == ["", "", "", "said twice", ""]
    assert table["detail"][3] == "as in annotations.csv, row 3"


def test_no_patient_is_named_where_the_column_is_missing(folder: Path) -> None:
    assert (read(folder)["patient"] == "").all()


def test_a_scans_patient_is_named_in_all_its_rows_of_both_files(folder: Path) -> None:
    text = "seriesuid,coordX,coordY,coordZ,diameter_mm,patient\n1.2,1,2,3,4,\n1.2,5,6,7,8, 01 \n9.9,0,0,0,7,\n8.8,0,0,0,7,NA\n"
    table = read(folder, text)
    assert table["patient"].tolist() == ["01", "01", "", "NA", "01", "01", "01"]


def test_a_scan_of_two_patients_is_refused(folder: Path) -> None:
    text = "patient,seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    (folder / "annotations_excluded.csv").write_text(text + "b,1.2,1,2,3,4\n")
    message = r"annotations_excluded\.csv: row 2: scan 1\.2 is of patient b, but of a in annotations\.csv, row 3; a scan has one"
    with pytest.raises(UserError, match=message):
        read(folder, text + ",1.2,1,2,3,4\na,1.2,5,6,7,8\n")


@pytest.mark.parametrize("column", ["Patient", "PatientID", "patient_id", "patient name", "PATIENTS"])
def test_a_column_that_is_nearly_called_patient_is_refused(folder: Path, column: str) -> None:
    with pytest.raises(UserError, match=rf"annotations\.csv: column {column}: name it patient"):
        read(folder, HEADER.replace("\n", f",{column}\n") + "1.2,1,2,3,4,x\n")


def test_other_columns_about_patients_are_nobodys_business(folder: Path) -> None:
    text = HEADER.replace("\n", ",PatientID,patient_age,patient\n") + "1.2,1,2,3,4,x,50,y\n"
    assert read(folder, text, minimum_readers=3)["patient"].tolist() == ["y"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("\n", ",patient,patient\n") + "1.2,1,2,3,4,a,b\n", "2 columns patient; leave one of them"),
        ("seriesuid,coordX,coordY,diameter_mm\n", "no column coordZ; found: seriesuid, coordX, coordY, diameter_mm"),
        ("seriesuid,coordX,coordY,coordZ,diameter_mm,coordX\n1.2,1,2,3,4,5\n", "2 columns coordX; leave one of them"),
        ("", "empty; copy it anew"),
        (HEADER + "1.2,1,2,3,\xff\n", "not a text in UTF-8"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"annotations.csv: {message}"):
        read(folder, text, encoding="latin-1")


def test_a_pipe_in_place_of_annotations_is_refused_and_not_waited_for(folder: Path) -> None:
    (folder / "annotations.csv").unlink()
    os.mkfifo(folder / "annotations.csv")
    with pytest.raises(UserError, match=r"annotations\.csv: not a plain file"):
        read(folder)


def test_many_rows_said_twice_take_no_longer_each_than_few(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting one row of a table takes a millisecond: a table is set as a whole."""
    num_set = 0
    set_item = type(pd.DataFrame().loc).__setitem__

    def count(self: object, key: object, value: object) -> None:
        nonlocal num_set
        num_set += 1
        set_item(self, key, value)

    monkeypatch.setattr(type(pd.DataFrame().loc), "__setitem__", count)
    table = read(folder, HEADER + "1.2,1,2,3,4\n" * 100, minimum_readers=3)
    assert (table["reason"] == "said twice").sum() == 99
    assert (table["detail"][1:] == "as in annotations.csv, row 2").all()
    assert num_set < 10


def test_missing_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="annotations.csv: no such file"):
        read(tmp_path)


def test_a_missing_table_of_two_readers_names_the_setting(folder: Path) -> None:
    (folder / "annotations_excluded.csv").unlink()
    with pytest.raises(UserError, match="annotations_excluded.csv: no such file.* or set minimum_readers: 3"):
        read(folder)
