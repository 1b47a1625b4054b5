"""Training and validation loss over epochs, a panel a strategy: whether a larger minibatch learns slower, or generalises worse."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strongscale.analysis.runs import Run, StudyRuns
from strongscale.common.style import GREY, Look, looks, new_figure

COLUMNS = 2
MOST = 1.5  # times the loss of the best constant output: what lies above says little, and hides the rest


def losses_figure(runs: StudyRuns) -> Figure:
    """A panel a strategy, a colour a number of workers; the first seed with both losses, of the others validation, faint."""
    strategies = list(runs.study.strategies)
    num_rows = math.ceil(len(strategies) / COLUMNS)
    figure = new_figure(1.2 + 2.9 * num_rows)
    grid = figure.subplots(num_rows, min(COLUMNS, len(strategies)), squeeze=False, sharex=True, sharey=True)
    of_workers = looks(runs.all_workers, "viridis")
    for panel, strategy in zip(grid.flat, strategies, strict=False):
        for workers in runs.workers(strategy):
            for position, run in enumerate(runs.of(strategy, workers)):
                _draw(panel, runs, run, of_workers[workers], is_first=position == 0)
        panel.set_title(strategy)
        _draw_levels(panel, runs)
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in grid.flat[len(strategies) :]:
        panel.set_axis_off()
    for panel in list(grid.flat)[: len(strategies)][-COLUMNS:]:  # the lowest of each column
        panel.set_xlabel("epoch")
        panel.tick_params(labelbottom=True)
    for panel in grid[:, 0]:
        panel.set_ylabel("loss")
    _limit(grid.flat[0], runs)
    _explain(figure, of_workers, runs)
    return figure


def _draw(axes: Axes, runs: StudyRuns, run: Run, look: Look, *, is_first: bool) -> None:
    epochs = runs.epochs_of(run)
    shown = {"validation_loss": "-", "training_loss": ":"} if is_first else {"validation_loss": "-"}
    for column, dashes in shown.items():
        losses = epochs[column].where(np.isfinite(epochs[column]))
        axes.plot(epochs["epoch"], losses, dashes, color=look.color, linewidth=1.2, alpha=1.0 if is_first else 0.25)


def _draw_levels(axes: Axes, runs: StudyRuns) -> None:
    for target in {run.result.target_loss for run in runs.sequential if run.result.target_loss is not None}:
        axes.axhline(target, color=GREY, linestyle="--", linewidth=1)
    if runs.constant_loss is not None:
        axes.axhline(runs.constant_loss, color="black", linestyle=(0, (1, 3)), linewidth=1)


def _limit(axes: Axes, runs: StudyRuns) -> None:
    """All panels alike, from the least loss to a little above the best constant output's."""
    losses = runs.epochs[["validation_loss", "training_loss"]].to_numpy(dtype=float)
    positive = losses[np.isfinite(losses) & (losses > 0)]
    axes.set_yscale("log")
    if len(positive):
        top = positive.max() if runs.constant_loss is None else min(positive.max(), MOST * runs.constant_loss)
        axes.set_ylim(0.9 * positive.min(), 1.1 * top)


def _explain(figure: Figure, of_workers: dict[int, Look], runs: StudyRuns) -> None:
    handles = [Line2D([], [], color=look.color, label=f"{workers}") for workers, look in of_workers.items()]
    handles += [
        Line2D([], [], color="black", linestyle="-", label="validation"),
        Line2D([], [], color="black", linestyle=":", label="training"),
    ]
    handles += [Line2D([], [], color=GREY, linestyle="--", label="target")]
    if runs.constant_loss is not None:
        handles += [Line2D([], [], color="black", linestyle=(0, (1, 3)), label="the best constant output")]
    title = "workers (faint: validation, other seeds)" if len(runs.study.all_seeds) > 1 else "workers"
    figure.legend(handles=handles, loc="outside upper center", ncols=5, title=title)
