"""Pictures of two data sets side by side: curves, and slices of paired nodules one above the other."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from strongscale.common.style import Look, looks, new_figure, plain_log_numbers
from strongscale.data.dataset import central_section
from strongscale.data.resemblance.measures import FREQUENCY_EDGES, PROFILE_EDGES, profile, spectrum
from strongscale.data.resemblance.page import Group, explained_by
from strongscale.data.resemblance.pairs import Side

COLUMNS, BLOCKS = 14, 4
BINS = 30


def curves(sides: Sequence[Side], groups: Sequence[Group], dimensions: int) -> Figure:
    """Diameters before pairing and intensities after; then a row for each range of diameters: profile, spectrum, lines."""
    figure = new_figure(2.3 * (1 + len(groups)))
    panels = figure.subplots(1 + len(groups), 3)
    look = looks([side.name for side in sides])
    _diameters(panels[0, 0], sides, look)
    paired = {side.name: side for side in groups[0].sides}
    inside = {name: central_section(side.cubes_NDHW, dimensions).ravel() for name, side in paired.items()}
    _histogram(panels[0, 1], inside, np.linspace(0, 1, BINS + 1), look)
    panels[0, 1].set(title=f"Intensities, {groups[0].name}", xlabel="intensity", ylabel="voxels (%)", yscale="log")
    losses = {name: groups[0].measures[name]["null loss"] for name in paired}
    _histogram(panels[0, 2], losses, np.linspace(0, np.concatenate(list(losses.values())).max(), BINS + 1), look)
    panels[0, 2].set(title=f"Null loss, {groups[0].name}", xlabel="loss of predicting zero", ylabel="cubes (%)")
    for row, group in zip(panels[1:], groups, strict=True):
        _profiles(row[0], group, look)
        _spectra(row[1], group, look)
        _explained(row[2], group, dimensions, look)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def slices(group: Group) -> Figure:
    """Central axial slices of pairs, evenly chosen by diameter, the first data set above the second."""
    first, second = group.sides
    order = np.argsort(first.diameters_mm, kind="stable")
    chosen = order[np.linspace(0, len(order) - 1, min(COLUMNS * BLOCKS, len(order))).round().astype(int)]
    num_blocks = -(-len(chosen) // COLUMNS)
    figure = new_figure(1.17 * num_blocks + 0.5)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(-0.1, 1.05 * COLUMNS), ylim=(2.5 * num_blocks, -0.1), aspect="equal")
    for position, row in enumerate(chosen):
        x, y = 1.05 * (position % COLUMNS), 2.5 * (position // COLUMNS)
        for below, side in enumerate((first, second)):
            _draw_slice(axes, central_section(side.cubes_NDHW[row : row + 1], 2)[0], x, y + 1.03 * below)
        axes.text(x + 0.5, y + 2.08, f"{first.diameters_mm[row]:.1f}", ha="center", va="top", fontsize=6)
    title = f"Above: {first.name}; below: {second.name} of the same diameter (mm, beneath)"
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_slice(axes: Axes, section: NDArray[np.float32], x: float, y: float) -> None:
    axes.imshow(section, cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y + 1, y), interpolation="nearest")


def _diameters(axes: Axes, sides: Sequence[Side], look: Mapping[str, Look]) -> None:
    found = {side.name: side.diameters_mm for side in sides}
    every = np.concatenate(list(found.values()))
    _histogram(axes, found, np.geomspace(every.min(), every.max() * 1.001, BINS + 1), look)
    axes.set(title="Diameters, before pairing", xlabel="diameter (mm)", ylabel="cubes (%)", xscale="log")
    plain_log_numbers(axes.xaxis)


def _histogram(
    axes: Axes, groups: Mapping[str, NDArray[np.floating]], edges: NDArray[np.float64], look: Mapping[str, Look]
) -> None:
    for name, values in groups.items():
        shares = 100 * np.histogram(values, edges)[0] / len(values)
        axes.stairs(shares, edges, color=look[name].color, linestyle=look[name].dash, linewidth=1.4, label=name)


def _profiles(axes: Axes, group: Group, look: Mapping[str, Look]) -> None:
    """Means; shaded, where the middle half of the cubes lies."""
    middles = (PROFILE_EDGES[:-1] + PROFILE_EDGES[1:]) / 2
    for side in group.sides:
        values = profile(group.section(side), group.radii(side))
        known = ~np.isnan(values).all(axis=0)
        low, high = np.nanquantile(values[:, known], [0.25, 0.75], axis=0)
        axes.fill_between(middles[known], low, high, color=look[side.name].color, alpha=0.18, linewidth=0)
        axes.plot(middles[known], np.nanmean(values[:, known], axis=0), **look[side.name].line(markersize=3))
    axes.set(title=f"Profile, {group.name}", xlabel="distance from the centre (radii)", ylabel="intensity", ylim=(0, 1))


def _spectra(axes: Axes, group: Group, look: Mapping[str, Look]) -> None:
    middles = (FREQUENCY_EDGES[:-1] + FREQUENCY_EDGES[1:]) / 2
    for side in group.sides:
        axes.plot(middles, spectrum(group.section(side)).mean(axis=0), **look[side.name].line(markersize=3))
    axes.set(title=f"Power, {group.name}", xlabel="waves a voxel", ylabel="intensity squared", yscale="log")


def _explained(axes: Axes, group: Group, dimensions: int, look: Mapping[str, Look]) -> None:
    for side in group.sides:
        found = explained_by(side, dimensions)
        axes.plot(list(found), [100 * share for share in found.values()], **look[side.name].line(markersize=3))
    axes.set(title=f"Linear, {group.name}", xlabel="principal components", ylabel="explained (%)", xscale="log")
    plain_log_numbers(axes.xaxis)
