"""Figures of losses: over epochs, over time, and over the learning rate."""

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strongscale.analysis import edge
from strongscale.analysis.remarks import edge_not_found
from strongscale.analysis.runs import DIVERGED, Run, StudyRuns
from strongscale.common.style import GREY, Look, looks, new_figure, plain_log_numbers, sentence_figure
from strongscale.settings.cells import seeks_edge

ZOOM_EPOCHS = 5
WARMUP_FIGURE_WORKERS = 8
NOT_LEARNT = "no better than a constant"
EDGE_OUTCOMES = {"trained": "o", NOT_LEARNT: "D", "collapsed": "X", "not finite": "^"}


def warmup_figure(runs: StudyRuns) -> Figure:
    """Figure 3: the losses of a failing warm-up, its learning rate below, the first epochs larger beside them."""
    run = failing_warmup(runs)
    if run is None:
        return sentence_figure(
            "No warm-up run of this study failed to reach the target, so its failure can't be shown."
        )
    epochs = runs.epochs_of(run)
    num_zoomed = min(ZOOM_EPOCHS, len(epochs))
    figure = new_figure(4.4)
    panels = figure.subplots(2, 2, sharex="col", gridspec_kw={"width_ratios": [1.7, 1], "height_ratios": [2.6, 1]})
    for column, part in enumerate((epochs, epochs[:num_zoomed])):
        losses, rates = panels[0][column], panels[1][column]
        _draw_losses(losses, part, run)
        rates.plot(part["epoch"], part["learning_rate"], color="black", marker=".", linewidth=1)
        rates.ticklabel_format(axis="y", style="sci", scilimits=(-3, -3), useMathText=True)
        rates.set_xlabel("epoch")
        rates.xaxis.get_major_locator().set_params(integer=True)
    panels[0][0].set_ylabel("loss")
    panels[1][0].set_ylabel("learning rate")
    panels[0][0].set_title(f"{run.strategy}, {run.workers} workers, seed {run.seed}: {run.result.outcome}", fontsize=9)
    panels[0][1].set_title(f"the first {num_zoomed} epochs", fontsize=9)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def failing_warmup(runs: StudyRuns) -> Run | None:
    """The paper's warm-up at 8 workers if it failed here, else the failing run nearest to that."""
    failed = [run for name in runs.entries("warmup") for run in runs.scaled(name) if not run.result.converged]
    failed = [run for run in failed if run.result.epochs]
    return min(failed, key=_distance_from_paper, default=None)


def _distance_from_paper(run: Run) -> tuple[bool, float, bool, int]:
    """The entry named warmup first, then 8 workers, then diverged rather than exhausted, then the first seed."""
    away = abs(float(np.log2(run.workers / WARMUP_FIGURE_WORKERS)))
    return run.strategy != "warmup", away, run.result.status != DIVERGED, run.seed


def _draw_losses(axes: Axes, epochs: pd.DataFrame, run: Run) -> None:
    for (column, name), look in zip(
        {"training_loss": "training", "validation_loss": "validation"}.items(), looks(range(2)).values(), strict=True
    ):
        axes.plot(epochs["epoch"], _finite(epochs[column]), label=name, **look.line(markersize=3.5, linewidth=1.3))
    _draw_without_input(axes, run.result.null_loss, run.result.constant_loss)
    if run.result.target_loss is not None:
        axes.axhline(run.result.target_loss, color=GREY, linestyle="--", linewidth=1, label="target")
    axes.set_ylim(bottom=0)


def _draw_without_input(axes: Axes, null_loss: float | None, constant_loss: float | None) -> None:
    """The losses of what ignores its input, as dotted lines."""
    if null_loss is not None:
        axes.axhline(null_loss, color=GREY, linestyle=":", label="predicting zero")
    if constant_loss is not None:
        axes.axhline(constant_loss, color="black", linestyle=":", linewidth=1, label="the best constant output")


def _finite(losses: pd.Series) -> "pd.Series[float]":
    return losses.where(np.isfinite(losses))


def strong_figure(runs: StudyRuns) -> Figure:
    """Figure 4: validation loss against time, strong scaling."""
    return _loss_by_time(runs, "strong", "Strong scaling: validation loss against time")


def weak_figure(runs: StudyRuns) -> Figure:
    """Figure 5: validation loss against time, weak scaling without a change of the rate."""
    return _loss_by_time(runs, "weak", "Weak scaling, the rate unchanged: validation loss against time")


def _loss_by_time(runs: StudyRuns, strategy: str, title: str) -> Figure:
    """A look a number of workers; the first seed opaque, the others faint."""
    workers = runs.workers(strategy)
    if not workers:
        return sentence_figure(f"This study has no {strategy} scaling, so its losses can't be shown.")
    losses = runs.epochs.loc[runs.epochs["strategy"] == strategy, "validation_loss"]
    if not np.isfinite(losses).any():
        return sentence_figure(f"No {strategy} scaling run of this study has a finite validation loss to show.")
    figure = new_figure()
    axes = figure.add_subplot()
    for count, look in looks(workers, "viridis").items():
        for position, run in enumerate(runs.of(strategy, count)):
            _draw_curve(axes, runs.epochs_of(run), look, str(count) if position == 0 else None)
    targets = sorted({run.result.target_loss for run in runs.sequential if run.result.target_loss is not None})
    name = "target" if len(targets) == 1 else "target of each seed"
    for position, target in enumerate(targets):
        axes.axhline(target, color=GREY, linestyle="--", linewidth=1, label=None if position else name)
    _draw_without_input(axes, runs.null_loss, runs.constant_loss)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_log_numbers(axes.xaxis)
    plain_log_numbers(axes.yaxis)
    axes.set_xlabel("time since training began (s)")
    axes.set_ylabel("validation loss")
    axes.set_title(title)
    axes.legend(title="workers\n(faint: other seeds)" if len(runs.study.all_seeds) > 1 else "workers")
    return figure


def _draw_curve(axes: Axes, epochs: pd.DataFrame, look: Look, name: str | None) -> None:
    every = max(1, len(epochs) // 12)
    line = look.line(linewidth=1.3, markersize=4.5, markevery=every, alpha=1.0 if name else 0.35)
    axes.plot(epochs["time_s"], _finite(epochs["validation_loss"]), label=name, **line)


def edge_figure(runs: StudyRuns) -> Figure:
    """Where the learning rate becomes too large: by the search for the edge, else by how runs at given rates end."""
    if seeks_edge(runs.study):
        return _search_figure(edge.read(runs.owner), runs)
    if not runs.edge:
        return sentence_figure("This study tries no other learning rates in the sequential run (edge.rates).")
    figure = new_figure(3.8)
    axes = figure.add_subplot()
    null_loss = runs.null_loss
    everyone = [*runs.edge, *runs.sequential]
    finite = [run.result.final_validation_loss or 0.0 for run in everyone]
    top = 1.12 * max([*finite, null_loss or 0.0])
    outcomes = looks(list(EDGE_OUTCOMES))
    for outcome, marker in EDGE_OUTCOMES.items():
        found = [run for run in everyone if edge_outcome(run) == outcome]
        heights = [top if outcome == "not finite" else run.result.final_validation_loss or math.nan for run in found]
        name = outcome if outcome != "not finite" else "not finite (no value; at the top)"
        axes.scatter(
            [run.base_rate for run in found], heights, marker=marker, label=name, s=38, color=outcomes[outcome].color
        )
    _draw_without_input(axes, null_loss, runs.constant_loss)
    for position, rate in enumerate(sorted({run.base_rate for run in runs.sequential})):
        axes.axvline(rate, color=GREY, linestyle="--", linewidth=1, label=None if position else "the study's rate")
    _rates_on_axis(axes, sorted({run.base_rate for run in everyone}))
    axes.set_ylim(0, 1.08 * top)
    axes.set_ylabel("final validation loss")
    not_found = edge_not_found(runs)
    axes.set_title(textwrap.fill(not_found, 75) if not_found else "Where the learning rate becomes too large")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _search_figure(found: edge.Found, runs: StudyRuns) -> Figure:
    """Above the share of seeds that reach the reference at each rate that was tried, below each seed's best loss."""
    figure = new_figure(5.0)
    shares, losses = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 1.4]})
    rates = [one.rate for one in found.tries]
    reached = [one.reached / one.seeds for one in found.tries]
    down = [share - one.interval[0] for share, one in zip(reached, found.tries, strict=True)]
    up = [one.interval[1] - share for share, one in zip(reached, found.tries, strict=True)]
    shares.errorbar(rates, reached, (down, up), fmt="o", color="black", capsize=3, linewidth=1, label="95 % interval")
    shares.set_ylim(-0.05, 1.05)
    shares.set_ylabel("share that reaches it")
    outcomes = looks(["reaches it", "doesn't"])
    for position, (name, look) in enumerate(outcomes.items()):
        points = [
            (one.rate, run["best_validation_loss"])
            for one in found.tries
            for run in one.outcomes
            if run["reaches"] == (position == 0) and run["best_validation_loss"] is not None
        ]
        losses.scatter(
            *zip(*points, strict=True) if points else ([], []), label=name, color=look.color, marker="oX"[position]
        )
    losses.axhline(found.reference_loss, color=GREY, linestyle="--", linewidth=1, label="the reference")
    _draw_without_input(losses, runs.null_loss, runs.constant_loss)
    losses.set_ylim(bottom=0)
    losses.set_ylabel(f"best validation loss\nin {found.epochs} epochs")
    lower, upper = found.bracket
    for axes in (shares, losses):
        axes.axvspan(lower, upper or max(rates), color=GREY, alpha=0.25, linewidth=0, label="the edge's bracket")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    _rates_on_axis(losses, rates)
    shares.set_title(textwrap.fill(found.in_words, 85), fontsize=8)
    return figure


def _rates_on_axis(axes: Axes, rates: list[float]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates], rotation=45, ha="right")
    axes.xaxis.minorticks_off()
    axes.set_xlabel("learning rate of the sequential run")


def edge_outcome(run: Run) -> str:
    """trained, no better than a constant, collapsed or not finite."""
    return run.result.diverged_because or ("trained" if run.result.beats_constant else NOT_LEARNT)
