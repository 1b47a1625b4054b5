"""The same trajectories on several machines: which strategy is right where? A table, and a figure over the ratio that decides.

What a message costs beside a step, and how little of a step is left when it is shared out, decide which strategy is the
fastest; how many steps each takes is the trajectories' business, and the same on every machine.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch

from strongscale.analysis.clocked import Machine, clocked, machine_of
from strongscale.analysis.load import load
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.statistics import time_to_target
from strongscale.common.command import run as run_command
from strongscale.common.errors import UserError
from strongscale.common.output import number, write_csv, write_readable
from strongscale.common.style import GREY, looks, new_figure, save, sentence_figure, theme
from strongscale.settings.config import NETWORKS, Network
from strongscale.settings.timed import path_of, shipped, work_of
from strongscale.timing.network import all_reduce_s, network_of
from strongscale.timing.timings import Timings, check_work, read_timings

NONE = "none reaches the target"
ALONE = "none: one worker is as fast"
RATIOS = np.logspace(-4, 2, 61)
"""An all-reduce of the gradient between two hosts, by one worker's step on the whole minibatch."""


@dataclass(frozen=True)
class Place:
    """A device and a network, by name."""

    device: str
    timings: Timings
    network: str
    machine: Machine


def main(arguments: list[str]) -> None:
    """Read a study's folder; write tables/machines.* and figures/machines.*."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--timings", nargs="*", default=shipped(), help="besides the study's own: names, or files")
    parser.add_argument("--output", type=Path, help="folder for tables/ and figures/; the study's if left out")
    options = parser.parse_args(arguments)
    for name in options.networks:
        if name not in NETWORKS:
            raise UserError(f"--networks: {name!r} is not allowed; allowed: {', '.join(NETWORKS)}")
    runs = load(options.study)
    output = options.output or options.study
    found = list(places(runs, options.networks, options.timings)) if runs.timings else []
    write_table(output / "tables" / "machines", runs, found)
    with theme():
        save(figure_of(runs, found), output / "figures", "machines", _label(runs))


def places(runs: StudyRuns, networks: list[str], more: list[str]) -> Iterator[Place]:
    """The study's own device and network first; then every device on every network."""
    lines = list(dict.fromkeys(run.strategy for run in runs.runs))
    own = machine_of(runs.folder, runs.study, lines)
    own_network = network_of(runs.study, runs.folder / "network.json")
    own_name = runs.study.network if isinstance(runs.study.network, str) else "the study's"
    devices = {"the study's": own}
    for name in more:
        timings = read_timings(path_of(name))
        if timings in own.timings:  # they are the study's
            continue
        machine = Machine({line: replace(one, timings=timings) for line, one in own.emulations.items()})
        try:
            for line in lines:
                check_work(path_of(name), timings, work_of(runs.study, line))
            machine.check(runs)
        except UserError:
            if name in shipped():  # seconds of another model
                continue
            raise
        devices[name] = machine
    every = {own_name: own_network} | {name: NETWORKS[name] for name in networks}
    for device, machine in devices.items():
        for name, network in every.items():
            yield Place(device, machine.timings[0], name, on_network(machine, network))


def on_network(machine: Machine, network: Network) -> Machine:
    """The same devices, joined otherwise."""
    return Machine({line: replace(one, network=network) for line, one in machine.emulations.items()})


def fastest(runs: StudyRuns, workers: int) -> tuple[str, float]:
    """The line of the matrix with the shortest median time to the target at so many workers, and that time.

    Where one worker by itself takes no longer, none of them.
    """
    times = {}
    for line in runs.study.strategies:
        found = runs.of(line, workers)
        summary = time_to_target(found) if found else None
        if summary and summary.reached:
            times[line] = summary.median
    if not times:
        return NONE, math.nan
    best = min(times, key=times.__getitem__)
    alone = time_to_target(runs.sequential)
    if workers > 1 and alone.reached and alone.median <= times[best]:
        return ALONE, alone.median
    return best, times[best]


def ratio_of(place: Place, runs: StudyRuns) -> float:
    """What an all-reduce of the gradient between two hosts costs, by one worker's step on the whole minibatch."""
    steps = next(run.steps for run in runs.runs if run.steps)
    emulation = next(iter(place.machine.emulations.values()))
    network = replace(emulation.network, workers_per_host=1)
    step_s = place.timings.step_s(runs.study.training.batch_size)
    return all_reduce_s(network, 2, steps.gradient_bytes) / step_s


def rows_of(runs: StudyRuns, found: list[Place]) -> list[dict[str, Any]]:
    """A row for each place, line and number of workers."""
    rows = []
    for place in found:
        there = clocked(runs, place.machine, with_epochs=False)
        for workers in runs.all_workers:
            best, _ = fastest(there, workers)
            for line in runs.study.strategies:
                if own := there.of(line, workers):
                    summary = time_to_target(own)
                    rows.append(
                        {
                            "device": place.timings.label,
                            "timings": place.device,
                            "network": place.network,
                            "message_over_step": ratio_of(place, runs),
                            "strategy": line,
                            "workers": workers,
                            "time_to_target_s": summary.median,
                            "status": summary.status,
                            "is_fastest": line == best,
                        }
                    )
    return rows


def write_table(path: Path, runs: StudyRuns, found: list[Place]) -> None:
    """All rows as CSV; for readers, the fastest strategy by place and number of workers."""
    rows = rows_of(runs, found)
    write_csv(path.with_suffix(".csv"), rows, "emulated", ["device", "network", "strategy", "workers"])
    readable = []
    for place in found:
        there = clocked(runs, place.machine, with_epochs=False)
        texts = {
            "device": place.timings.label,
            "network": place.network,
            "message / step": f"{ratio_of(place, runs):.2g}",
        }
        alone = time_to_target(there.sequential)
        texts["1 worker"] = f"{number(alone.median)} s" if alone.reached else alone.status
        for workers in (workers for workers in runs.all_workers if workers > 1):
            best, time_s = fastest(there, workers)
            texts[f"{workers} workers"] = best if best in (NONE, ALONE) else f"{best}, {number(time_s)} s"
        readable.append(texts)
    devices = {place.timings.label: place.timings for place in found}
    doubts = [f"{label}: {'; '.join(one.doubts)}." for label, one in devices.items() if one.doubts]
    caption = (
        f"The fastest strategy and its seconds to the target, by device and network. {_label(runs)}. {' '.join(doubts)}"
    )
    if not found:
        caption = (
            f"Study {runs.name} has real seconds, which hold for its own machine alone: nothing is computed for others."
        )
    write_readable(path, pd.DataFrame(readable), caption)


def _label(runs: StudyRuns) -> str:
    return (
        f"Study {runs.name}, {'' if len(runs.study.all_seeds) == 1 else 'median of '}{runs.num_seeds}, {runs.data}: the same trajectories "
        "everywhere, nothing trained again. Emulated clock; devices not measured here say so"
    )


def figure_of(runs: StudyRuns, found: list[Place]) -> Any:
    """Which strategy is the fastest, over what a message costs beside a step: a panel for each device."""
    several = [workers for workers in runs.all_workers if workers > 1]
    if not found or not several:
        return sentence_figure("Seconds of a wall clock hold for one machine alone: there are no others to compare.")
    devices = list(dict.fromkeys(place.device for place in found))
    lines = [*runs.study.strategies, ALONE, NONE]
    figure = new_figure(1.3 + (0.6 + 0.26 * len(several)) * len(devices))
    panels = figure.subplots(len(devices), 1, sharex=True, squeeze=False)[:, 0]
    colors = [look.color for look in looks(list(runs.study.strategies)).values()] + ["0.6", "0.9"]
    for panel, device in zip(panels, devices, strict=True):
        own = [place for place in found if place.device == device]
        _draw_panel(panel, runs, own, several, lines, colors)
    panels[-1].set_xlabel("a gradient's all-reduce between two hosts / one worker's step", fontsize=8)
    shown = [Patch(color=color, label=line) for line, color in zip(lines, colors, strict=True)]
    figure.legend(
        handles=shown, loc="outside upper center", ncols=3, fontsize=7, title="which strategy reaches the target first?"
    )
    return figure


def _draw_panel(
    axes: Axes, runs: StudyRuns, own: list[Place], several: list[int], lines: list[str], colors: list[Any]
) -> None:
    grid = np.array([[lines.index(best) for best in row] for row in _over_ratios(runs, own[0], several)])
    edges = np.append(RATIOS / math.sqrt(RATIOS[1] / RATIOS[0]), RATIOS[-1] * math.sqrt(RATIOS[1] / RATIOS[0]))
    norm = BoundaryNorm(np.arange(len(lines) + 1) - 0.5, len(lines))
    axes.pcolormesh(
        edges, np.arange(len(several) + 1) - 0.5, grid, cmap=ListedColormap(colors), norm=norm, shading="flat"
    )
    axes.set_xscale("log")
    axes.set_yticks(range(len(several)), [str(workers) for workers in several], fontsize=7)
    axes.set_ylabel("workers", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title(own[0].timings.label, fontsize=8, loc="left")
    axes.grid(visible=False)
    for place in {place.network: place for place in own}.values():
        ratio = ratio_of(place, runs)
        if RATIOS[0] <= ratio <= RATIOS[-1]:
            if (known_to := place.timings.known_to) > 1:
                axes.axvspan(
                    ratio / known_to,
                    ratio * known_to,
                    facecolor="none",
                    edgecolor="0.2",
                    alpha=0.5,
                    hatch="///",
                    linewidth=0,
                )
            axes.axvline(ratio, color=GREY, linewidth=1, linestyle="--")
            axes.text(ratio, len(several) - 0.52, f" {place.network}", fontsize=6, va="top", ha="left", rotation=90)


def _over_ratios(runs: StudyRuns, place: Place, several: list[int]) -> list[list[str]]:
    """The fastest line at each number of workers and each ratio: the network made slower or faster as a whole."""
    found: list[list[str]] = [[] for _ in several]
    base = ratio_of(place, runs)
    network = next(iter(place.machine.emulations.values())).network
    for ratio in RATIOS:
        there = clocked(runs, on_network(place.machine, slowed(network, float(ratio) / base)), with_epochs=False)
        for row, workers in enumerate(several):
            found[row].append(fastest(there, workers)[0])
    return found


def slowed(network: Network, factor: float) -> Network:
    """A network on which everything between hosts lasts so many times as long; inside, too, where all share one host."""
    slower = replace(
        network,
        latency_s=network.latency_s * factor,
        bandwidth_bytes_per_s=network.bandwidth_bytes_per_s / factor,
    )
    if network.workers_per_host is not None:
        return slower
    return replace(
        slower,
        host_latency_s=network.host_latency_s * factor,
        host_bandwidth_bytes_per_s=network.host_bandwidth_bytes_per_s / factor,
    )


if __name__ == "__main__":
    run_command(main)
