"""Check a finished data set and write its page, figure, montage and list of duplicates."""

import argparse
import logging
from pathlib import Path

import pandas as pd

from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.output import write_csv
from strongscale.common.style import save, theme
from strongscale.data.dataset import digest, read_masks
from strongscale.data.quality.checks import DataSet, run_checks
from strongscale.data.quality.duplicates import find_duplicates
from strongscale.data.quality.figure import quality_figure
from strongscale.data.quality.montage import montage
from strongscale.data.quality.page import sections, write_page
from strongscale.data.tables import read_array, read_table, records

log = logging.getLogger(__name__)

MANIFEST_COLUMNS = (
    *("seriesuid", "x_mm", "y_mm", "z_mm", "diameter_mm", "state", "file", "row", "air_share", "voxel_mm"),
    *("spacing_i_mm", "spacing_j_mm", "spacing_k_mm", "split"),
)
LEDGER_COLUMNS = ("file", "row", "state", "reason", "lost")
TOTALS = ("rows", "states", "reasons", "lost", "files", "expected")
SUMMARY = ("hash", "provenance", "null_loss", "constant_loss", "window_hu")


def main(arguments: list[str]) -> None:
    """Check a data set: quality.md and .html, quality.*, montage.* (png, svg, pdf) and duplicates.csv."""
    parser = argparse.ArgumentParser(prog="strongscale.data.quality", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the data set")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    options = parser.parse_args(arguments)
    data = read(options.folder)
    window_hu = (float(data.summary["window_hu"][0]), float(data.summary["window_hu"][1]))
    duplicates = find_duplicates(data.cubes_NDHW, data.manifest)
    checks = run_checks(data, duplicates)
    label = f"Data set {data.name}: {data.summary['provenance']}, {data.summary['hash'][:12]}"
    with theme():
        figure = quality_figure(data.cubes_NDHW, data.manifest, duplicates, window_hu)
        save(figure, options.output, "quality", label)
        orientation = "Seen from the feet: the patient's front is up, the patient's left is on the right"
        tiles = montage(data.cubes_NDHW, data.manifest, window_hu, data.masks_NDHW)
        save(tiles, options.output, "montage", f"{label}. {orientation}")
    write_csv(options.output / "duplicates.csv", records(duplicates.pairs), columns=duplicates.pairs.columns.tolist())
    pictures = [("Distributions", options.output / "quality.png"), ("Cubes", options.output / "montage.png")]
    title = f"Quality of the data set {data.name}"
    write_page(options.output / "quality", title, sections(data, duplicates, checks), pictures)
    for check in checks:
        if not check.holds:
            log.warning("%s: not so (%s)", check.name, check.found)


def read(folder: Path) -> DataSet:
    """Read a data set's folder; files that don't belong together are refused by name."""
    summary = _read_json_with(folder / "dataset.json", SUMMARY)
    totals = _read_json_with(folder / "ledger.json", TOTALS)
    manifest = _read_columns(folder / "manifest.csv", MANIFEST_COLUMNS)
    manifest = manifest.assign(patient=manifest.get("patient", ""))  # which an earlier version's lacks
    ledger = _read_columns(folder / "ledger.csv", LEDGER_COLUMNS)
    ledger = ledger.assign(lost=ledger["lost"].astype(str) == "True")
    cubes_NDHW, masks_NDHW = read_array(folder / "cubes.npy"), read_masks(folder)
    if digest(cubes_NDHW, manifest["split"].to_numpy(dtype=str), masks_NDHW) != summary["hash"]:
        raise UserError(f"{folder}: the cubes or their split aren't those of dataset.json; remove it and run again")
    return DataSet(folder.resolve().name, cubes_NDHW, manifest, ledger, totals, summary, masks_NDHW)


def _read_json_with(path: Path, keys: tuple[str, ...]) -> dict[str, object]:
    content = read_json(path)
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path}: no {missing[0]}; remove it and run again")
    return dict(content)


def _read_columns(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = read_table(path)
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise UserError(f"{path}: no column {missing[0]}; remove it and run again")
    return table


if __name__ == "__main__":
    run(main)
