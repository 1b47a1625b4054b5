"""How all figures look: one theme, lines that differ in colour, marker and dash, and a footer that names the clock."""

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from strongscale.common.files import atomic

FORMATS = ("svg", "pdf", "png")
WIDTH_INCHES = 7.0
DOTS_PER_INCH = 200
GREY = "0.35"

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2, 2, 2)), (0, (4, 3)))
_SETTINGS = {
    "svg.hashsalt": "strongscale",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "savefig.dpi": DOTS_PER_INCH,
    "axes.titlesize": 10,
    "figure.facecolor": "white",
    "legend.framealpha": 1.0,
}
_METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Look:
    """How one line is drawn."""

    color: Any
    marker: str
    dash: Any

    def line(self, **other: Any) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot`."""
        return {"color": self.color, "marker": self.marker, "linestyle": self.dash, "markersize": 5.5, **other}


def looks(names: Sequence[Any], palette: str = "colorblind") -> dict[Any, Look]:
    """A look for each name, told apart in colour and in black and white."""
    colors = sns.color_palette(palette, max(1, len(names)))
    return {
        name: Look(colors[i], _MARKERS[i % len(_MARKERS)], _DASHES[i % len(_DASHES)]) for i, name in enumerate(names)
    }


@contextlib.contextmanager
def theme() -> Iterator[None]:
    """The theme, for the figures made and saved inside; nothing of it stays."""
    style = {**sns.axes_style("whitegrid"), **sns.plotting_context("paper"), **_SETTINGS}
    with mpl.rc_context(style):
        yield


def new_figure(height_inches: float = 4.2) -> Figure:
    """An empty figure whose parts don't overlap."""
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def sentence_figure(sentence: str) -> Figure:
    """A figure that says in words why there is nothing to draw."""
    figure = new_figure(1.6)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, textwrap.fill(sentence, 80), ha="center", va="center", fontsize=10)
    return figure


def worker_axis(axes: Axes, workers: Sequence[int]) -> None:
    """A logarithmic axis with a tick at each number of workers."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(workers), [str(count) for count in workers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(workers) / 1.25, max(workers) * 1.25)
    axes.set_xlabel("number of workers")


def plain_log_numbers(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers instead of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def legend_with_last(axes: Axes, is_last: Callable[[str], bool], **settings: Any) -> None:
    """A legend in drawing order, but for the lines that belong at its end."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: is_last(labels[i]))
    if order:
        axes.legend([handles[i] for i in order], [labels[i] for i in order], **settings)


def save(figure: Figure, folder: Path, name: str, label: str) -> None:
    """Put the label under the figure, and write it in every format."""
    figure.supxlabel(textwrap.fill(label, 120), fontsize=6.5, color=GREY, x=0.01, ha="left")
    for extension in FORMATS:
        with atomic(folder / f"{name}.{extension}") as temporary:
            figure.savefig(temporary, format=extension, metadata=_METADATA[extension])
