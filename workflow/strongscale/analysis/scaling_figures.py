"""Figures over the number of workers: time to target, efficiency, and where the time goes."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from strongscale.analysis import paper
from strongscale.analysis.runs import DIVERGED, StudyRuns
from strongscale.analysis.statistics import Summary, efficiency, time_to_target
from strongscale.analysis.tables import time_per_epoch
from strongscale.common.style import (
    GREY,
    legend_with_last,
    looks,
    new_figure,
    plain_log_numbers,
    sentence_figure,
    worker_axis,
)

IDEAL = "T(1) / n"
PAPERS = ", the paper's"
PART_HATCHES = {"compute": "", "communication": "///", "evaluation": "...", "other": "xxx"}


def time_figure(runs: StudyRuns) -> Figure:
    """Figure 2: time to target by number of workers, and below it who didn't reach the target."""
    strategies = list(runs.study.strategies)
    figure = new_figure(3.9 + 0.22 * len(strategies))
    times, outcomes = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [3.4, 0.35 + 0.22 * len(strategies)]}
    )
    reached_any = False
    for strategy, look in looks(strategies).items():
        workers = runs.workers(strategy)
        summaries = [time_to_target(runs.of(strategy, count)) for count in workers]
        reached_any |= _draw_line(times, workers, summaries, strategy, look.line(linewidth=1.6))
    if reached_any:
        _draw_ideal(times, runs)
        times.set_yscale("log")
        plain_log_numbers(times.yaxis)
        legend_with_last(times, lambda name: name == IDEAL, title="strategy")
    else:
        times.text(0.5, 0.5, "no run reached the target", ha="center", va="center", transform=times.transAxes)
        times.set_yticks([])
    times.set_ylabel("time to target (s)")
    times.set_title(f"Time to reach the target validation loss{_of_seeds(runs)}")
    _draw_outcomes(outcomes, runs, strategies)
    worker_axis(outcomes, runs.all_workers)
    return figure


def _draw_line(axes: Axes, workers: Sequence[int], summaries: Sequence[Summary], name: str, line: dict) -> bool:  # type: ignore[type-arg]
    """Medians with their intervals; a cell without a median is a gap. False if there is nothing to draw."""
    medians = [summary.median for summary in summaries]
    if not any(map(math.isfinite, medians)):
        return False
    below = [max(0.0, _or(summary.median - summary.low, 0.0)) for summary in summaries]
    above = [max(0.0, _or(summary.high - summary.median, 0.0)) for summary in summaries]
    axes.errorbar(workers, medians, yerr=[below, above], label=name, capsize=3, elinewidth=1, **line)
    return True


def _or(value: float, instead: float) -> float:
    return value if math.isfinite(value) else instead


def _draw_ideal(axes: Axes, runs: StudyRuns) -> None:
    sequential = time_to_target(runs.sequential)
    if sequential.reached and len(runs.all_workers) > 1:
        workers = runs.all_workers
        ideal_s = [sequential.median / count for count in workers]
        axes.plot(workers, ideal_s, color=GREY, linestyle=":", linewidth=1, label=IDEAL)


def _draw_outcomes(axes: Axes, runs: StudyRuns, strategies: Sequence[str]) -> None:
    """A row a strategy: filled where every run reached the target, else how many did, and a mark for how others ended."""
    num_seeds = len(runs.study.all_seeds)
    for row, strategy in enumerate(strategies):
        for count in runs.workers(strategy):
            found = runs.of(strategy, count)
            num_reached = sum(run.result.converged for run in found)
            if num_reached == len(found):
                axes.plot(count, row, marker="o", color="black", markersize=5)
                continue
            diverged = any(run.result.status == DIVERGED for run in found)
            axes.plot(count, row, marker="x" if diverged else "o", color="black", markerfacecolor="none", markersize=5)
            if num_seeds > 1:
                axes.annotate(
                    f"{num_reached}/{len(found)}", (count, row), (5, 0), textcoords="offset points", va="center", size=7
                )
    axes.set_yticks(range(len(strategies)), strategies)
    axes.set_ylim(len(strategies) - 0.4, -0.6)
    axes.grid(False)
    several = "; n/m: n of m seeds reached it" if num_seeds > 1 else ""
    axes.set_title(
        f"filled: reached the target; ×: diverged; open: exhausted at {runs.study.training.max_epochs} epochs{several}",
        fontsize=7.5,
        loc="left",
    )


def efficiency_figure(runs: StudyRuns) -> Figure:
    """Efficiency by number of workers, the paper's Tables I and II dotted beside it."""
    figure = new_figure()
    axes = figure.add_subplot()
    strategies = list(runs.study.strategies)
    workers = set(runs.all_workers)
    for strategy, look in looks(strategies).items():
        counts = runs.workers(strategy)
        summaries = [efficiency(runs, strategy, count) for count in counts]
        _draw_line(axes, counts, summaries, strategy, look.line(linewidth=1.8, linestyle="-"))
        published = {n: value for n, value in paper.EFFICIENCY.get(strategy, {}).items() if math.isfinite(value)}
        if len(published) > 1:
            line = look.line(linewidth=1, linestyle=(0, (4, 3)), markerfacecolor="white", markersize=4)
            axes.plot(list(published), list(published.values()), label=f"{strategy}{PAPERS}", zorder=1, **line)
            workers |= published.keys()
    axes.axhline(100, color=GREY, linestyle=":", linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("efficiency, T(1) / (n T(n)) (%)")
    axes.set_title(f"Efficiency{_of_seeds(runs)}")
    worker_axis(axes, sorted(workers))
    legend_with_last(axes, lambda name: name.endswith(PAPERS), loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _of_seeds(runs: StudyRuns) -> str:
    """What points and bars mean, where there are several seeds."""
    return f": median of {runs.num_seeds}, smallest to largest" if len(runs.study.all_seeds) > 1 else ""


def parts_figure(runs: StudyRuns) -> Figure:
    """Where the time of strong scaling goes: seconds an epoch, stacked by part."""
    workers = [count for count in runs.workers("strong") if any(run.result.epochs for run in runs.of("strong", count))]
    if not workers:
        return sentence_figure("This study has no strong scaling, so there is nothing to show of where its time goes.")
    figure = new_figure(3.6)
    axes = figure.add_subplot()
    parts = {count: time_per_epoch(runs.of("strong", count)) for count in workers}
    bottoms = [0.0] * len(workers)
    for part, look in looks(list(PART_HATCHES)).items():
        heights = [parts[count][part] for count in workers]
        axes.bar(
            range(len(workers)),
            heights,
            bottom=bottoms,
            label=part,
            color=look.color,
            hatch=PART_HATCHES[part],
            edgecolor="white",
            linewidth=0.5,
            width=0.65,
        )
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_xticks(range(len(workers)), [str(count) for count in workers])
    axes.grid(False, axis="x")
    axes.set_xlabel("number of workers")
    axes.set_ylabel("time of an epoch (s)")
    axes.set_title("Where the time of strong scaling goes")
    axes.legend()
    return figure
