"""Where strong scaling's worker-seconds go: a table, and a figure beside the fitted law with its band."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.speedup_law import Band, SpeedupLaw
from strongscale.analysis.speedup_parts import BELOW, BEYOND, PARTS, Epoch
from strongscale.common.output import number, percent, write_csv, write_html, write_markdown
from strongscale.common.style import GREY, looks, new_figure, plain_log_numbers, sentence_figure, worker_axis

NOTHING = "This study has no whole epoch of strong scaling from one worker on: there are no parts to tell."
LABELS = {
    "passes": "passes on small shards",
    "update": "update",
    "network": "network",
    "evaluation": "evaluation",
    "other": "other",
}
COLUMNS = ("workers", "shard_samples", "shard_seconds_are", "is_of_the_study", "epoch_s")


def write_parts(runs: StudyRuns, epochs: Sequence[Epoch], folder: Path) -> None:
    """Write speedup_parts.csv, .md and .html."""
    rows = rows_of(runs, epochs)
    write_csv(folder / "speedup_parts.csv", rows, runs.clock, COLUMNS)
    caption = "\n\n".join([_title(runs), *in_words(runs, epochs)]) if epochs else NOTHING
    write_markdown(folder / "speedup_parts.md", _readable(epochs), caption)
    write_html(folder / "speedup_parts.html", _readable(epochs), caption)


def rows_of(runs: StudyRuns, epochs: Sequence[Epoch]) -> list[dict[str, Any]]:
    """A row a number of workers: seconds of an epoch by part, and what share of the worker-seconds is lost to each."""
    return [
        {
            "workers": epoch.workers,
            "shard_samples": epoch.shard,
            "shard_seconds_are": epoch.shard_known,
            "is_of_the_study": epoch.workers in runs.workers("strong"),
            "epoch_s": epoch.total_s,
            **{f"{name}_s": seconds for name, seconds in epoch.parts.items()},
            "speedup": epochs[0].total_s / epoch.total_s,
            "efficiency": epoch.efficiency(epochs[0]),
            **{f"lost_to_{name}": share for name, share in epoch.lost(epochs[0]).items()},
        }
        for epoch in epochs
    ]


def _readable(epochs: Sequence[Epoch]) -> pd.DataFrame:
    rows = []
    for epoch in epochs:
        mark = " (at most)" if epoch.shard_known == BELOW else " (beyond)" if epoch.shard_known == BEYOND else ""
        lost = {f"lost to {LABELS[name]}": percent(share) for name, share in epoch.lost(epochs[0]).items()}
        rows.append(
            {
                "workers": str(epoch.workers),
                "shard": f"{epoch.shard}{mark}",
                "epoch (s)": number(epoch.total_s),
                **{f"{name} (s)": number(seconds) for name, seconds in epoch.parts.items()},
                "speed-up": number(epochs[0].total_s / epoch.total_s),
                "efficiency": percent(epoch.efficiency(epochs[0])),
                **lost,
            }
        )
    return pd.DataFrame(rows)


def _title(runs: StudyRuns) -> str:
    how = "measured" if runs.study.clock == "wall" else "computed from timings and network, nothing fitted"
    return (
        f"An epoch of strong scaling by part, {how}. Study {runs.name}; clock, device and data: {runs.label}. Shard: "
        "samples of a worker's share of a minibatch. Efficiency is T(1) / (n T(n)) of an epoch; the rest of the "
        "worker-seconds is lost to the parts, to each what it costs beyond one worker's."
    )


def in_words(runs: StudyRuns, epochs: Sequence[Epoch]) -> list[str]:
    """The answer at the study's largest number of workers and at the last one; and what isn't known."""
    own = [epoch for epoch in epochs if epoch.workers in runs.workers("strong")]
    told = {one.workers: one for one in (own[-1], epochs[-1])}
    sentences = [_lost_in_words(epoch, epochs[0]) for epoch in told.values()]
    if known := [epoch for epoch in epochs if epoch.shard_known != BELOW]:
        best = min(known, key=lambda epoch: epoch.total_s)
        sentences.append(
            f"Of the numbers of workers whose shards aren't smaller than any timed the fastest is {best.workers}, at "
            f"{number(epochs[0].total_s / best.total_s)} times the speed of one."
        )
    if runs.study.clock == "wall":
        sentences.append("The update is a part of the passes here: a wall clock doesn't tell them apart.")
    else:
        sentences.append(
            "The copy of gradients into one buffer is timed as a part of the passes; what a reduction copies besides isn't."
        )
    if any(epoch.shard_known == BELOW for epoch in epochs):
        smallest = min(duration.samples for timings in runs.timings for duration in timings.steps)
        sentences.append(
            f"At most: shards smaller than {smallest} samples weren't timed and are taken to last as long as that one."
        )
    return sentences


def _lost_in_words(epoch: Epoch, one: Epoch) -> str:
    lost = sorted(epoch.lost(one).items(), key=lambda item: -item[1])
    told = ", ".join(f"{percent(share)} to {LABELS[name]}" for name, share in lost if share >= 0.0005)
    at_least = "at least " if epoch.shard_known == BELOW else ""
    efficiency = f"{at_least}{percent(epoch.efficiency(one))}"
    return f"With {epoch.workers} workers the efficiency is {efficiency}; lost are {told or 'none'}."


def figure_of(
    observed: Mapping[int, float], law: SpeedupLaw | None, band: Band | None, epochs: Sequence[Epoch]
) -> Figure:
    """The law with its band beside the points and the computed times; below, where the worker-seconds go."""
    if not epochs:
        return sentence_figure(NOTHING)
    figure = new_figure(6.0)
    above, below = figure.subplots(2, 1, sharex=True)
    workers = [epoch.workers for epoch in epochs]
    _draw_law(above, observed, law, band, max(workers))
    _draw_computed(above, epochs)
    above.set_yscale("log")
    plain_log_numbers(above.yaxis)
    above.set_ylabel("speed-up")
    above.legend(fontsize=7)
    _draw_lost(below, epochs)
    worker_axis(below, workers)
    below.set_xlim(min(workers) / 1.4, max(workers) * 1.4)
    return figure


def _draw_computed(axes: Axes, epochs: Sequence[Epoch]) -> None:
    """The speed-up of an epoch; hollow where it may be greater."""
    line: dict[str, Any] = {"color": "black", "marker": "D", "markersize": 4}
    speedups = {epoch.workers: epochs[0].total_s / epoch.total_s for epoch in epochs}
    axes.plot(list(speedups), list(speedups.values()), linestyle="--", label="an epoch, by its parts", **line)
    least = {epoch.workers: speedups[epoch.workers] for epoch in epochs if epoch.shard_known == BELOW}
    if least:
        label = "at least so much: smaller shards than timed"
        axes.plot(list(least), list(least.values()), linestyle="none", markerfacecolor="white", **line, label=label)


def _draw_law(axes: Axes, observed: Mapping[int, float], law: SpeedupLaw | None, band: Band | None, most: int) -> None:
    grid = np.geomspace(1, most, 60)
    axes.plot(grid, grid, color=GREY, linewidth=0.8, linestyle=":", label="n")
    if law:
        axes.plot(grid, [1 / law.time_ratio(n) for n in grid], color="C0", label="the law, fitted to times to target")
    if band:
        low, high = np.array([band.interval(n) for n in grid]).T
        axes.fill_between(grid, 1 / high, 1 / low, color="C0", alpha=0.2, linewidth=0, label="its 95 % band")
    axes.plot(list(observed), [1 / ratio for ratio in observed.values()], "o", color="C0", label="time to target")


def _draw_lost(axes: Axes, epochs: Sequence[Epoch]) -> None:
    """Stacked: the efficiency, and above it what is lost to each part."""
    workers = [epoch.workers for epoch in epochs]
    bottom = np.array([epoch.efficiency(epochs[0]) for epoch in epochs])
    widths = 0.5 * np.array(workers)
    axes.bar(workers, 100 * bottom, width=widths, color="0.85", label="of use")
    for (name, look), hatch in zip(looks(PARTS).items(), ("", "///", "...", "xxx", "---"), strict=True):
        shares = np.array([max(0.0, epoch.lost(epochs[0])[name]) for epoch in epochs])
        axes.bar(
            workers, 100 * shares, width=widths, bottom=100 * bottom, color=look.color, hatch=hatch, label=LABELS[name]
        )
        bottom = bottom + shares
    axes.set_ylabel("% of all workers' seconds")
    axes.legend(fontsize=7, loc="lower left")
