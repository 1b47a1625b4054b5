"""Small multiples: time to the target against workers, a panel a strategy, all others grey behind it."""

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strongscale.analysis.runs import StudyRuns, in_words
from strongscale.analysis.statistics import Summary, time_to_target
from strongscale.common.command import run as run_command
from strongscale.common.style import GREY, new_figure, plain_log_numbers, save, sentence_figure, theme, worker_axis
from strongscale.comparison.member import add_options, member, title_of

COLUMNS = 4
PALE, INK, FAILED = "0.85", "#0072B2", "#D55E00"
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1)))

HEADROOM = 0.2
"""Of a panel's height, for what is written at its top."""

Times = dict[int, Summary]
"""To the target, by the number of workers."""


def small_multiples(by_network: Mapping[str, StudyRuns], title: str) -> Figure:
    """A panel a strategy; of each network a line of its own kind, and crosses where not all runs arrive."""
    first = next(iter(by_network.values()))
    lines = list(first.study.strategies)
    times = {network: {line: times_of(runs, line) for line in lines} for network, runs in by_network.items()}
    if not any(found.reached for each in times.values() for own in each.values() for found in own.values()):
        return sentence_figure("No run reached the target, so there is no time to show.")
    num_rows = math.ceil(len(lines) / COLUMNS)
    figure = new_figure(1.1 + 1.75 * num_rows)
    grid = figure.subplots(num_rows, COLUMNS, squeeze=False, sharex=True, sharey=True)
    for panel, line in zip(grid.flat, lines, strict=False):
        _others(panel, next(iter(times.values())), line)
        for dashes, each in zip(DASHES, times.values(), strict=False):
            _own(panel, each[line], dashes)
        _failures(panel, next(iter(times.values()))[line])
        panel.set_title(line, fontsize=9, fontweight="bold")
        panel.set_yscale("log")
        worker_axis(panel, first.all_workers)
        panel.set_xlabel("")
    plain_log_numbers(grid.flat[0].yaxis)
    low, high = grid.flat[0].get_ylim()
    grid.flat[0].set_ylim(low, high * (high / low) ** HEADROOM)
    for panel in grid.flat[len(lines) :]:
        panel.set_axis_off()
    for panel in list(grid.flat)[: len(lines)][-COLUMNS:]:
        panel.set_xlabel("workers")
        panel.tick_params(labelbottom=True)
    for panel in grid[:, 0]:
        panel.set_ylabel("s to the target")
    _explain(figure, title, list(by_network))
    return figure


def times_of(runs: StudyRuns, line: str) -> Times:
    """The times of a line, by workers."""
    return {workers: time_to_target(runs.of(line, workers)) for workers in runs.workers(line)}


def _others(axes: Axes, times: Mapping[str, Times], line: str) -> None:
    for other, own in times.items():
        if other != line:
            _plot(axes, own, color=PALE, linewidth=1.0, zorder=1)


def _own(axes: Axes, own: Times, dashes: object) -> None:
    _plot(axes, own, color=INK, linestyle=dashes, linewidth=1.6, marker="o", markersize=3, zorder=3)
    for workers, found in own.items():
        if math.isfinite(found.low) and math.isfinite(found.high):
            axes.plot([workers, workers], [found.low, found.high], color=INK, linewidth=0.8, zorder=2)


def _plot(axes: Axes, own: Times, **style: object) -> None:
    values = [found.median if found.reached else math.nan for found in own.values()]
    axes.plot(list(own), values, **style)  # type: ignore[arg-type]


def _failures(axes: Axes, own: Times) -> None:
    for workers, found in own.items():
        if found.num_converged < found.num_runs:
            axes.annotate(
                f"× {found.num_converged}/{found.num_runs}",
                (workers, 0.97),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=6.5,
                color=FAILED,
            )


def _explain(figure: Figure, title: str, networks: list[str]) -> None:
    handles = [
        Line2D([], [], color=INK, linestyle=dashes, label=network)
        for dashes, network in zip(DASHES, networks, strict=False)
    ]
    handles.append(Line2D([], [], color=PALE, label=f"the other strategies, {networks[0]}"))
    handles.append(Line2D([], [], color=INK, linewidth=0.8, label="bar: all seeds", marker="|"))
    handles.append(Line2D([], [], color=FAILED, linestyle="", marker="x", label="× k/n: only k of n seeds arrive"))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=7, labelcolor=GREY, title=title)


def main(arguments: list[str]) -> None:
    """Read a finished study; write the figure of its strategies."""
    parser = argparse.ArgumentParser(prog="strongscale.comparison.figure", description=main.__doc__)
    add_options(parser)
    options = parser.parse_args(arguments)
    title, folder = options.study
    one = member(title, Path(folder), options.networks)
    with theme():
        drawn = small_multiples(one.by_network, title_of(one))
        names = list(one.by_network)
        label = one.by_network[names[0]].label.replace(f"{names[0]} network model", f"{in_words(names)} network models")
        save(drawn, options.output / "figures", one.runs.name, f"{one.runs.num_seeds}. {label}")


if __name__ == "__main__":
    run_command(main)
