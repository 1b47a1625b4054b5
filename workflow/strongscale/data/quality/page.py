"""The page on a data set's quality: what was checked, and the numbers behind it, as Markdown and HTML."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from strongscale.common.files import write_text
from strongscale.common.output import number, percent
from strongscale.data.dataset import SPLITS
from strongscale.data.ledger import STATES
from strongscale.data.quality.checks import Check, DataSet, difference_in_words, sides_mm, span
from strongscale.data.quality.duplicates import MOST_LISTED, NEAR, SAME_PLACE_MM, Duplicates

_HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 15px/1.5 sans-serif; margin: 1.5em; max-width: 70em }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; margin: 1em 0 }
th { border-bottom: 1px solid; text-align: left }
th, td { padding: .3em .8em; vertical-align: top }
img { max-width: 100% }
</style></head><body>
<h1>{{ title }}</h1>
{% for section in sections %}
{% if section.heading %}<h2>{{ section.heading }}</h2>{% endif %}
{% for sentence in section.sentences %}<p>{{ sentence }}</p>
{% endfor %}
{% if section.rows %}<table>
<tr>{% for name in section.rows[0] %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in section.rows %}<tr>{% for value in row.values() %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table>{% endif %}
{% endfor %}
{% for heading, content in pictures %}<h2>{{ heading }}</h2>
<img alt="{{ heading }}" src="data:image/png;base64,{{ content }}">
{% endfor %}
</body></html>
"""


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and a table whose rows have the same keys."""

    heading: str
    sentences: Sequence[str] = ()
    rows: Sequence[dict[str, str]] = field(default=())


def write_page(path: Path, title: str, sections: Sequence[Section], pictures: Sequence[tuple[str, Path]] = ()) -> None:
    """Write `path` with the suffixes .md and .html; the latter needs no other file.

    `pictures` are PNG files beside it, with their headings.
    """
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.heading}"] if section.heading else []
        parts += section.sentences
        if section.rows:
            cells = pd.DataFrame(section.rows).map(lambda text: text.replace("|", r"\|"))
            parts.append(cells.to_markdown(index=False, disable_numparse=True))
    for heading, picture in pictures:
        parts += [f"## {heading}", f"![{heading}]({picture.name})"]
    write_text(path.with_suffix(".md"), "\n\n".join(parts) + "\n")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    shown = [(heading, base64.b64encode(picture.read_bytes()).decode()) for heading, picture in pictures]
    page = environment.from_string(_HTML).render(title=title, sections=sections, pictures=shown)
    write_text(path.with_suffix(".html"), page)


def sections(data: DataSet, duplicates: Duplicates, checks: Sequence[Check]) -> list[Section]:
    """The whole page."""
    return [
        _opening(data, checks),
        _counts(data),
        *_ledger(data),
        _expected(data),
        _duplicates(duplicates),
        _intensities(data),
        _padding(data),
        *_masks(data),
    ]


def _opening(data: DataSet, checks: Sequence[Check]) -> Section:
    """Where the data come from, and what holds."""
    summary = data.summary
    failed = sum(not check.holds for check in checks)
    verdict = (
        f"All {len(checks)} checks hold."
        if not failed
        else f"{failed} of {len(checks)} checks {'does' if failed == 1 else 'do'} not hold."
    )
    rows = [{"check": check.name, "holds": "yes" if check.holds else "NO", "found": check.found} for check in checks]
    size = f"Cubes of {data.cubes_NDHW.shape[-1]} voxels a side"
    if len(data.manifest):
        size += f", {span(sides_mm(data.cubes_NDHW, data.manifest))} mm"
    return Section("", [f"Made from {summary['provenance']}. {size}. Identity: {summary['hash']}.", verdict], rows)


def _counts(data: DataSet) -> Section:
    """What is on each side of the split."""
    rows = []
    for name in SPLITS:
        own = data.manifest[data.manifest["split"] == name]
        diameters_mm = own["diameter_mm"].to_numpy(dtype=float)
        rows.append(
            {
                "split": name,
                "cubes": str(len(own)),
                "scans": str(own["seriesuid"].nunique()),
                **{state: str((own["state"] == state).sum()) for state in STATES[:-1]},
                "median diameter, mm": "" if own.empty else number(float(np.median(diameters_mm))),
                "diameters, mm": span(diameters_mm),
                "null loss": number(data.summary["null_loss"]["3"].get(name)),
                "best constant": number(data.summary["constant_loss"]["3"].get(name)),
            }
        )
    sentence = (
        "The null loss is that of predicting zero everywhere. The best constant is the loss of one cube for all, the best "
        "for the training samples: a model that isn't below it hasn't learnt to use its input."
    )
    return Section("Counts", [sentence], rows)


def _ledger(data: DataSet) -> list[Section]:
    """What became of every line of the annotation files, and why lines were dropped."""
    ledger = data.ledger
    by_file = [
        {"file": str(name), "lines": str(len(own)), **_states(own), "lost": str(own["lost"].sum())}
        for name, own in ledger.groupby("file", sort=True)
    ]
    total = {"file": "all", "lines": str(len(ledger)), **_states(ledger), "lost": str(ledger["lost"].sum())}
    sentences = [
        "Every line of the annotation files is a whole cube, a padded one (it reaches over the scan's border), "
        "a cut one (the nodule is larger than the cube), or dropped.",
        "Lost are those that a fault of the data dropped, and not a setting.",
    ]
    dropped = ledger[ledger["state"] == "dropped"]
    reasons = [
        {"reason": str(reason), "lines": str(len(own)), "of them lost": str(own["lost"].sum())}
        for reason, own in sorted(dropped.groupby("reason"), key=lambda item: (-len(item[1]), str(item[0])))
    ]
    return [
        Section("What became of the annotations", sentences, [*by_file, total]),
        Section("Why annotations were dropped", [] if reasons else ["None was dropped."], reasons),
    ]


def _states(ledger: pd.DataFrame) -> dict[str, str]:
    return {state: str((ledger["state"] == state).sum()) for state in STATES}


def _expected(data: DataSet) -> Section:
    """Published numbers against those found."""
    rows = [
        {
            "what": str(item["what"]),
            "expected": str(item["expected"]),
            "found": str(item["found"]),
            "difference": difference_in_words(item["expected"], item["found"]),
        }
        for item in data.totals["expected"]
    ]
    return Section("Expected and found", [] if rows else ["No numbers are known that this data set should have."], rows)


def _duplicates(duplicates: Duplicates) -> Section:
    """How many cubes are there twice, and whether the split keeps them together."""
    total, leaks = sum(duplicates.counts.values()), sum(duplicates.leaks.values())
    meaning = {
        "equal": "the same voxels, bit for bit",
        "near": f"RMS distance below {number(duplicates.threshold)}, which is {NEAR:g} x the median distance from "
        "a cube to its nearest other cube",
        "same place": f"centres less than {SAME_PLACE_MM:g} mm apart in the same scan",
    }
    sentences = [
        "No pair of cubes is a duplicate."
        if not total
        else f"{_pairs(total)} of cubes count as duplicates, "
        + (f"{leaks} of them on both sides of the split: a leak." if leaks else "none of them across the split.")
    ]
    if total:
        listed = f"; the nearest {MOST_LISTED} of them are listed" if total > MOST_LISTED else ""
        sentences.append(f"They stand in duplicates.csv{listed}. A pair of several kinds counts as the first of them.")
    rows = [
        {
            "kind": kind,
            "meaning": text,
            "pairs": str(duplicates.counts[kind]),
            "across the split": str(duplicates.leaks[kind]),
        }
        for kind, text in meaning.items()
    ]
    return Section("Duplicates", sentences, rows)


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"


def _intensities(data: DataSet) -> Section:
    """The window, and how much of the cubes lies at its ends."""
    low, high = data.summary["window_hu"]
    sentences = [f"The window is {low:g} to {high:g} HU: these become 0 and 1, and what lies beyond is clipped."]
    if data.cubes_NDHW.size:
        at_0, at_1 = ((data.cubes_NDHW == end).mean() for end in (0, 1))
        sentences.append(
            f"{percent(float(at_0))} of the voxels are 0 and {percent(float(at_1))} are 1, what lies beyond scans included."
        )
    return Section("Intensities", sentences)


def _padding(data: DataSet) -> Section:
    """How many cubes reach beyond their scan, how far, and what is there."""
    shares = data.manifest["air_share"].astype(float)
    beyond = shares[shares > 0]
    if beyond.empty:
        return Section("Padded cubes", ["No cube reaches over its scan's border."])
    sentence = (
        f"{len(beyond)} of {len(shares)} reach over their scan's border: there they are filled with {data.filling}, which "
        f"is {percent(beyond.mean())} of their voxels in the mean, {percent(beyond.median())} in the median and "
        f"{percent(beyond.max())} at most; in {(beyond > 0.5).sum()} it is more than half."
    )
    return Section("Padded cubes", [sentence, *_padded_axes(data.manifest)])


def _padded_axes(manifest: pd.DataFrame) -> list[str]:
    """Along which axis of their scans most of it lies; manifests of earlier versions don't say."""
    if "air_axis" not in manifest:
        return []
    counts = manifest["air_axis"].fillna("").value_counts().drop("", errors="ignore")
    told = ", ".join(f"along {axis} in {count}" for axis, count in counts.items())
    return [f"Of the scan's axes i, j and k, most of that lies {told} of them."] if len(counts) else []


def _masks(data: DataSet) -> list[Section]:
    """How much of the cubes is nodule."""
    if data.masks_NDHW is None or not len(data.masks_NDHW):
        return []
    shares = data.masks_NDHW.mean(axis=(1, 2, 3))
    split = data.manifest["split"].to_numpy(dtype=str)
    rows = [
        {
            "split": name,
            "nodule, of all voxels": percent(float(own.mean())),
            "least of a cube": percent(float(own.min())),
            "median": percent(float(np.median(own))),
            "most": percent(float(own.max())),
        }
        for name in SPLITS
        if len(own := shares[split == name])
    ]
    return [Section("Masks", ["Beyond a scan's border no voxel is nodule, however the cubes are padded."], rows)]
