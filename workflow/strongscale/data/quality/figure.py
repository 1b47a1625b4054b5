"""The figure of a data set: histograms of what its cubes and scans are like."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from strongscale.common.style import GREY, Look, looks, new_figure, plain_log_numbers, sentence_figure
from strongscale.data.dataset import SPLITS, null_loss
from strongscale.data.quality.checks import sides_mm, span
from strongscale.data.quality.duplicates import NEAR, Duplicates

BINS = 24
SPACINGS = {"in plane (i, j)": ["spacing_i_mm", "spacing_j_mm"], "between slices (k)": ["spacing_k_mm"]}


def quality_figure(
    cubes_NDHW: NDArray[np.float32], manifest: pd.DataFrame, duplicates: Duplicates, window_hu: tuple[float, float]
) -> Figure:
    """Six histograms; bars are shares of the cubes (or voxels, or scans) of each side of the split."""
    if not len(cubes_NDHW):
        return sentence_figure("This data set has no cubes, so there is nothing to count.")
    figure = new_figure(7.2)
    panels = figure.subplots(3, 2).ravel()
    split = manifest["split"].to_numpy(dtype=str)
    rows = {name: np.flatnonzero(split == name) for name in SPLITS}
    counts = " + ".join(str(len(own)) for own in rows.values())
    _intensities(panels[0], cubes_NDHW, rows, window_hu)
    _diameters(panels[1], manifest, rows, sides_mm(cubes_NDHW, manifest))
    panels[1].set_title(f"Diameters ({counts} cubes)")
    _spacings(panels[2], manifest.drop_duplicates("seriesuid"))
    losses = np.array([null_loss(cube) for cube in cubes_NDHW])
    _draw(panels[3], {name: losses[own] for name, own in rows.items()}, _edges(losses))
    panels[3].set(title=f"Null loss ({counts} cubes)", xlabel="loss of predicting zero", ylabel="cubes (%)")
    means = cubes_NDHW.mean(axis=(1, 2, 3), dtype=float)
    _draw(panels[4], {name: means[own] for name, own in rows.items()}, _edges(means))
    panels[4].set(title=f"Mean intensity ({counts} cubes)", xlabel="mean over a cube's voxels", ylabel="cubes (%)")
    _neighbours(panels[5], duplicates, rows)
    panels[5].set_title(f"Nearest neighbours ({counts} cubes)")
    handles, labels = panels[3].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _intensities(
    axes: Axes, cubes_NDHW: NDArray[np.float32], rows: Mapping[str, NDArray[np.intp]], window_hu: tuple[float, float]
) -> None:
    _draw(axes, {name: cubes_NDHW[own].ravel() for name, own in rows.items()}, np.linspace(0, 1, 51))
    low, high = window_hu
    axes.set(
        title=f"Intensities ({cubes_NDHW.size / 1e6:.3g} million voxels)",
        xlabel=f"intensity (0 is {low:g} HU, 1 is {high:g} HU)",
        ylabel="voxels (%)",
        yscale="log",
    )
    plain_log_numbers(axes.yaxis)


def _diameters(
    axes: Axes, manifest: pd.DataFrame, rows: Mapping[str, NDArray[np.intp]], own_sides_mm: NDArray[np.float64]
) -> None:
    """Diameters on a logarithmic axis, and the side of the cubes (a range, where they differ)."""
    diameters_mm = manifest["diameter_mm"].to_numpy(dtype=float)
    text = f"side of the cubes, {span(own_sides_mm)} mm"
    edges = np.exp(_edges(np.log(diameters_mm)))
    _draw(axes, {name: diameters_mm[own] for name, own in rows.items()}, edges)
    axes.axvspan(own_sides_mm.min(), own_sides_mm.max(), color=GREY, alpha=0.25, linewidth=0)
    line = axes.axvline(own_sides_mm.max(), color="black", linestyle=":", label=text)
    axes.set(xscale="log", xlabel="diameter (mm)", ylabel="cubes (%)")
    plain_log_numbers(axes.xaxis)
    axes.legend(handles=[line], fontsize=7)


def _spacings(axes: Axes, scans: pd.DataFrame) -> None:
    """Voxel sides of the scans, a scan counting once."""
    values = {name: scans[columns].max(axis=1).to_numpy(dtype=float) for name, columns in SPACINGS.items()}
    # Colours of their own: these are not the two sides of the split.
    own_looks = dict(zip(values, list(looks(range(4)).values())[2:], strict=True))
    _draw(axes, values, _edges(np.concatenate(list(values.values()))), own_looks)
    axes.set(title=f"Spacing ({len(scans)} scans)", xlabel="spacing of the scan's voxels (mm)", ylabel="scans (%)")
    axes.legend(fontsize=7)


def _neighbours(axes: Axes, duplicates: Duplicates, rows: Mapping[str, NDArray[np.intp]]) -> None:
    """Distances to the nearest other cube, and below which of them cubes count as near-duplicates."""
    nearest = duplicates.nearest
    axes.set(xlabel="RMS distance to the nearest other cube", ylabel="cubes (%)")
    if not np.isfinite(nearest).all():
        axes.text(0.5, 0.5, "one cube has no neighbour", ha="center", transform=axes.transAxes)
        return
    edges = _edges(np.append(nearest, 0.0))
    _draw(axes, {name: nearest[own] for name, own in rows.items()}, edges)
    text = f"near-duplicates below {duplicates.threshold:.2g}\n({NEAR:g} x median)"
    line = axes.axvline(duplicates.threshold, color="black", linestyle=":", label=text)
    axes.legend(handles=[line], fontsize=7)


def _edges(values: ArrayLike) -> NDArray[np.float64]:
    """Edges of bins over all values; equal values get a bin of their own."""
    finite = np.asarray(values, dtype=float)
    low, high = finite.min(), finite.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = 0.05 * max(abs(high), 1e-3)
        low, high = low - margin, high + margin
    edges: NDArray[np.float64] = np.linspace(low, high, BINS + 1)
    return edges


def _draw(
    axes: Axes,
    groups: Mapping[str, NDArray[np.floating]],
    edges: NDArray[np.float64],
    own_looks: Mapping[str, Look] | None = None,
) -> None:
    """A histogram for each group, in per cent of it: the first filled, all outlined with dashes of their own."""
    found: Sequence[tuple[str, Look]] = list((own_looks or looks(list(groups))).items())
    for position, (name, look) in enumerate(found):
        values = groups[name]
        if not len(values):
            continue
        inside = np.clip(values, edges[0], edges[-1])  # the outer edges are rounded
        shares = 100 * np.histogram(inside, edges)[0] / len(values)
        if position == 0:
            axes.stairs(shares, edges, fill=True, color=look.color, alpha=0.3)
        axes.stairs(shares, edges, color=look.color, linestyle=look.dash, linewidth=1.4, label=name)
