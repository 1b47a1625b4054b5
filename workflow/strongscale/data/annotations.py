"""What readers marked: LUNA16's annotations.csv and annotations_excluded.csv as one table, no row left out."""

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from strongscale.common.errors import UserError
from strongscale.settings.datasets import Cubes

READERS = {"annotations.csv": 3, "annotations_excluded.csv": 1}
"""Readers who agree, at least: three or more of four, and one or two."""

NUMBERS = {"coordX": "x_mm", "coordY": "y_mm", "coordZ": "z_mm", "diameter_mm": "diameter_mm"}
PATIENT = "patient"
"""The column that may be there: scans of one patient stay together."""

COLUMNS = ["file", "row", "seriesuid", PATIENT, *NUMBERS.values(), "readers", "reason", "detail"]
PLACE = ["seriesuid", "x_mm", "y_mm", "z_mm"]

WRONG_ROW = "wrong row"
NO_DIAMETER = "no diameter"
TOO_SMALL = "too small"
SAID_TWICE = "said twice"
DELIMITERS = ",;\t"
LIKE_PATIENT = re.compile(r"patients?([ _-]?(id|name))?", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One line of a file: its number as an editor counts it, its fields by column, and their numbers, NaN for none."""

    number: int
    values: dict[str, str]
    numbers: dict[str, float]


def read_annotations(folder: Path, settings: Cubes) -> pd.DataFrame:
    """Every row of the files that the reader agreement asks for.

    Columns: file, row (the line's number), seriesuid, patient (empty where no row of the scan names one), x_mm, y_mm,
    z_mm (world, LPS), diameter_mm, readers (3 or more, or 1: one or two), and where the row itself says that no cube is to
    be made of it, the reason and its detail.
    """
    rows = [
        _read_row(name, readers, line, settings)
        for name, readers in READERS.items()
        if readers >= settings.minimum_readers
        for line in _read_file(folder / name)
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return _mark_repetitions(_name_patients(table, folder))


def _read_row(file: str, readers: int, line: Line, settings: Cubes) -> dict[str, object]:
    reason, detail = _fault(line, settings)
    numbers = {name: line.numbers[column] for column, name in NUMBERS.items()}
    row = {"file": file, "row": line.number, "seriesuid": line.values["seriesuid"]}
    row |= {PATIENT: line.values.get(PATIENT, ""), **numbers}
    return row | {"readers": readers, "reason": reason, "detail": detail}


def _fault(line: Line, settings: Cubes) -> tuple[str, str]:
    """Why no cube is to be made of a row; nothing where one is."""
    diameter_mm = line.numbers["diameter_mm"]
    if not line.values["seriesuid"]:
        return WRONG_ROW, "seriesuid: empty"
    for column in NUMBERS:
        if math.isnan(line.numbers[column]):
            return WRONG_ROW, f"{column}: {line.values[column]!r} isn't a number"
    if diameter_mm <= 0:
        return NO_DIAMETER, f"diameter_mm: {diameter_mm:g}"
    if diameter_mm < settings.minimum_diameter_mm:
        return TOO_SMALL, f"{diameter_mm:g} mm, asked: {settings.minimum_diameter_mm:g}"
    return "", ""


def _number(text: str, delimiter: str) -> float:
    """The number; NaN where it isn't one.

    A comma is the decimal one only where commas don't part the fields: in a quoted "1,020" it may part thousands.
    """
    try:
        number = float(text if delimiter == "," else text.replace(",", "."))
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _name_patients(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A scan's patient, wherever a row of it names one, in all its rows: its samples stay together in any case."""
    named = table[(table[PATIENT] != "") & (table["seriesuid"] != "")]
    first = named.drop_duplicates("seriesuid").set_index("seriesuid")
    other = named[named[PATIENT] != named["seriesuid"].map(first[PATIENT])]
    if len(other):
        row = other.iloc[0]
        said = first.loc[row["seriesuid"]]
        raise UserError(
            f"{folder / row['file']}: row {row['row']}: scan {row['seriesuid']} is of patient {row[PATIENT]}, but of "
            f"{said[PATIENT]} in {said['file']}, row {said['row']}; a scan has one patient: mend one of the two"
        )
    return table.assign(patient=[first[PATIENT].get(scan, "") for scan in table["seriesuid"]])


def _mark_repetitions(table: pd.DataFrame) -> pd.DataFrame:
    """A nodule said twice would be two equal samples: the later row is dropped."""
    usable = table[table["reason"] == ""]
    places = [usable[column].round(3) if column in NUMBERS.values() else usable[column] for column in PLACE]
    first = usable.index.to_series().groupby(places).transform("first")
    repeated = first[first != first.index]
    earlier = table.loc[repeated]
    table.loc[repeated.index, "reason"] = SAID_TWICE
    table.loc[repeated.index, "detail"] = [
        f"as in {file}, row {row}" for file, row in zip(earlier["file"], earlier["row"], strict=True)
    ]
    return table


def _read_file(path: Path) -> list[Line]:
    """The lines of a file: parted by commas, semicolons or tabs, with or without a byte order mark and quotes."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise UserError(f"{path}: not a plain file; put LUNA16's {path.name} there")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = ", or set minimum_readers: 3" if READERS[path.name] == 1 else ""
        raise UserError(f"{path}: no such file; put LUNA16's {path.name} there{hint}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text in UTF-8 ({error.reason} at byte {error.start}); copy it anew") from None
    if not text.strip():
        raise UserError(f"{path}: empty; copy it anew")
    opening = text.splitlines()[0]
    delimiter = max(DELIMITERS, key=opening.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    header = [name.strip() for name in next(reader)]
    for column in ("seriesuid", *NUMBERS):
        if column not in header:
            raise UserError(f"{path}: no column {column}; found: {', '.join(header)}; name it so")
    for column in ("seriesuid", PATIENT, *NUMBERS):
        if header.count(column) > 1:
            raise UserError(f"{path}: {header.count(column)} columns {column}; leave one of them")
    if PATIENT not in header and (alike := [name for name in header if LIKE_PATIENT.fullmatch(name)]):
        raise UserError(f"{path}: column {alike[0]}: name it {PATIENT}, and no patient is on both sides of the split")
    lines = []
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                padded = [*fields, *[""] * len(header)]  # a short line lacks its last fields: they aren't numbers
                values = dict(zip(header, (field.strip() for field in padded), strict=False))
                numbers = {column: _number(values[column], delimiter) for column in NUMBERS}
                lines.append(Line(reader.line_num, values, numbers))
    except csv.Error as error:
        raise UserError(f"{path}: row {reader.line_num}: not a table ({error}); copy it anew") from None
    return lines
