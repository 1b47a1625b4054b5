"""The law of batch size beside the runs: points, fit and band, as far as the law is asked."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strongscale.advice.answer import Answer
from strongscale.advice.held_out import Band
from strongscale.common.style import GREY, new_figure, plain_log_numbers

POINTS = 60


def figure_of(told: Answer) -> Figure:
    """Steps against the batch, both logarithmic."""
    figure = new_figure()
    axes = figure.add_subplot()
    if told.tested:
        _draw_law(axes, told.tested.band, told.domain.least, min(told.domain.most, told.domain.fails_from))
    _draw_runs(axes, told)
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_log_numbers(axes.xaxis)
    plain_log_numbers(axes.yaxis)
    axes.set_xlabel("batch (samples a step)")
    axes.set_ylabel("steps to the target")
    axes.legend(fontsize=7)
    return figure


def _draw_law(axes: Axes, band: Band, least: float, most: float) -> None:
    batches_K = np.geomspace(least, most, POINTS)
    found = [band.steps(batch) for batch in batches_K]
    low_K, high_K = [one.low for one in found], [one.high for one in found]
    axes.plot(batches_K, [one.value for one in found], color="C0", label="S(B) = S_min (1 + B_c / B)")
    axes.fill_between(batches_K, low_K, high_K, color="C0", alpha=0.2, linewidth=0, label="band of one more run")
    limits = band.fitted.least_steps
    if limits.low > 0:
        axes.axhline(limits.value, color=GREY, linewidth=0.8, linestyle=":", label="S_min")


def _draw_runs(axes: Axes, told: Answer) -> None:
    runs, fitted_N = told.runs, np.isin(told.runs.batches_N, told.domain.runs.sizes)
    for chosen_N, marker, color, label in (
        (runs.reached_N & fitted_N, "o", "C0", "runs"),
        (runs.reached_N & ~fitted_N, "X", "C3", "runs where the law doesn't hold"),
        (~runs.reached_N, "^", "C1", "runs that ended before the target"),
    ):
        if chosen_N.any():
            look: dict[str, Any] = {"linestyle": "none", "marker": marker, "color": color, "markersize": 5.5}
            axes.plot(runs.batches_N[chosen_N], runs.steps_N[chosen_N], label=label, **look)
