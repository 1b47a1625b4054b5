"""Write one table as CSV, Markdown, LaTeX and HTML, each with its clock, device and data."""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.common.files import atomic, write_text

_LATEX_SPECIALS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 sans-serif; margin: 1.5em; max-width: 70em }}
table {{ border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid }}
th {{ border-bottom: 1px solid; text-align: left }}
th, td {{ padding: .3em .8em; vertical-align: top }}
</style></head><body>
{caption}
{table}
</body></html>
"""


def write_csv(
    path: Path, rows: Sequence[dict[str, Any]], clock: str | None = None, columns: Sequence[str] = ()
) -> None:
    """Write rows whose last column is the clock, the same for all unless each row brings its own.

    `columns` name the header where there may be no rows.
    """
    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))
    if clock is not None:
        table = table.assign(clock=clock)
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)


def write_markdown(path: Path, table: pd.DataFrame, caption: str) -> None:
    """Write a caption and a table; only the caption where the table is empty."""
    body = table.to_markdown(index=False, disable_numparse=True) + "\n" if len(table) else ""
    write_text(path, f"{caption}\n\n{body}".rstrip("\n") + "\n")


def write_latex(path: Path, table: pd.DataFrame, caption: str) -> None:
    """Write a floating table in booktabs style; one plain sentence where the table is empty."""
    if len(table) == 0:
        write_text(path, escape_latex(caption) + "\n")
        return
    escaped = table.map(lambda value: escape_latex(str(value)))
    escaped.columns = pd.Index([escape_latex(str(name)) for name in table.columns])
    text = escaped.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="r" + "l" * (len(table.columns) - 1),
        caption=escape_latex(caption),
        label=f"tab:{path.stem}",
        position="tbp",
        position_float="centering",
    )
    write_text(path, "% needs \\usepackage{booktabs}\n" + text)


def write_html(path: Path, table: pd.DataFrame, caption: str) -> None:
    """Write a page of its own, for the report."""
    paragraphs = "\n".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in caption.split("\n\n"))
    body = table.to_html(index=False, border=0) if len(table) else ""
    write_text(path, _PAGE.format(title=html.escape(path.stem), caption=paragraphs, table=body))


def write_readable(path: Path, table: pd.DataFrame, caption: str) -> None:
    """Write `path` with the suffixes .md, .tex and .html."""
    write_markdown(path.with_suffix(".md"), table, caption)
    write_latex(path.with_suffix(".tex"), table, caption)
    write_html(path.with_suffix(".html"), table, caption)


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_LATEX_SPECIALS.get(letter, letter) for letter in text)


def number(value: float | None) -> str:
    """Four significant digits, no exponent for large numbers; empty for a missing one."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else ""
