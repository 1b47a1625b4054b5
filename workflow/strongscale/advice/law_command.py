"""The law of batch size of anyone's measured runs: `python -m strongscale.advice law --data table.csv`."""

import argparse
import math
import sys
from pathlib import Path

from strongscale.advice import law_page
from strongscale.advice.answer import Answer, answer, summary
from strongscale.advice.table import read_runs
from strongscale.common.errors import UserError
from strongscale.common.files import write_json, write_text


def main(arguments: list[str]) -> None:
    """Fit the law of batch size to measured runs, and say what they leave open (docs/advice_law.md)."""
    options = _options(arguments)
    told = answer(read_runs(options.data, options.samples_in_epoch), options.least_gain, tuple(options.ask))
    words = law_page.page(told)
    if options.json:
        write_json(options.json, summary(told))
    if options.output:
        _write_folder(options.output, told, words, options.data.name)
    sys.stdout.write(words)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="strongscale.advice law", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="CSV: batch; steps, samples or epochs; run; reached")
    parser.add_argument("--samples-in-epoch", type=float, help="where the table counts epochs")
    parser.add_argument("--least-gain", type=float, default=0.1, help="share of the steps that a doubling should save")
    parser.add_argument(
        "--ask", type=float, nargs="+", default=[], metavar="BATCH", help="batches to predict steps for"
    )
    parser.add_argument("--json", type=Path, help="the same for a program")
    parser.add_argument("--output", type=Path, help="a folder for law.md and the figure")
    options = parser.parse_args(arguments)
    if not 0 < options.least_gain < 0.5:
        raise UserError(
            f"--least-gain: {options.least_gain:g}; allowed: above 0 and below 0.5, for by the law no doubling saves half of the "
            "steps"
        )
    for name, values in (("--samples-in-epoch", [options.samples_in_epoch]), ("--ask", options.ask)):
        for value in values:
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"{name}: {value:g}; allowed: a number above 0")
    return options


def _write_folder(folder: Path, told: Answer, words: str, name: str) -> None:
    from strongscale.advice.law_figure import figure_of  # it takes seconds, and most who ask want words
    from strongscale.common.style import save, theme

    with theme():
        save(figure_of(told), folder, "law", f"Runs: {name}. {' '.join(law_page.sentences(told))}")
    write_text(folder / "law.md", f"{words}\n![The law beside the runs](law.svg)\n")
