"""The montage of a data set: central axial slices of its cubes, the smallest nodule first."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from strongscale.common.style import new_figure, sentence_figure
from strongscale.data.dataset import central_section
from strongscale.data.quality.checks import sides_mm, span

COLUMNS = 12
ROWS = 8
MOST_FRAMED = 12  # of each kind, so that faults are seen however rare they are
TILE = (1.12, 1.42)  # width and height of a tile, of which the slice takes 1 x 1 and the diameter the rest

FRAMES: dict[str, tuple[int, Literal["-", "--"], str]] = {"padded": (1, "-", "P"), "cut": (2, "--", "C")}
"""Colour (of the colour-blind palette), dash and letter of the cubes that aren't whole."""
MEANINGS = {
    "padded": "padded (P): reaches beyond the scan",
    "cut": "cut (C): nodule larger than cube",
}


def montage(
    cubes_NDHW: NDArray[np.float32],
    manifest: pd.DataFrame,
    window_hu: tuple[float, float],
    masks_NDHW: NDArray[np.uint8] | None = None,
) -> Figure:
    """Up to 96 cubes in HU, evenly chosen by rank of diameter; padded and cut ones first, for those are in doubt.

    Where there are masks, the nodules are outlined.
    """
    if not len(cubes_NDHW):
        return sentence_figure("This data set has no cubes, so none can be shown.")
    chosen = choose(manifest["diameter_mm"].to_numpy(dtype=float), manifest["state"].to_numpy(dtype=str))
    num_rows = -(-len(chosen) // COLUMNS)
    figure = new_figure(0.72 * num_rows + 1.3)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set(xlim=(-0.1, COLUMNS * TILE[0]), ylim=(num_rows * TILE[1], -0.1), aspect="equal")
    low, high = window_hu
    slices_hu = low + (high - low) * central_section(cubes_NDHW[chosen], 2)
    for position, (row, slice_hu) in enumerate(zip(chosen, slices_hu, strict=True)):
        corner = (position % COLUMNS * TILE[0], position // COLUMNS * TILE[1])
        _draw_tile(axes, corner, slice_hu, manifest.iloc[row], window_hu)
        if masks_NDHW is not None:
            _outline(axes, corner, masks_NDHW[row, masks_NDHW.shape[1] // 2])
    bar = figure.colorbar(axes.images[0], ax=axes, orientation="horizontal", shrink=0.4, aspect=40, pad=0.02)
    bar.set_label(f"intensity (HU), window {low:g} to {high:g} HU", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    states = manifest["state"]
    total = f"all {len(manifest)}" if len(chosen) == len(manifest) else f"{len(chosen)} of {len(manifest)}"
    width = span(sides_mm(cubes_NDHW, manifest))
    outlined = "" if masks_NDHW is None else ", nodules outlined"
    title = f"Central axial slices of {total} cubes, {width} mm wide, by diameter (mm){outlined}"
    _add_legend(figure, title, states.tolist(), states.iloc[chosen].tolist())
    return figure


def choose(diameters_mm: NDArray[np.float64], states: NDArray[np.str_], most: int = ROWS * COLUMNS) -> NDArray[np.intp]:
    """Rows of at most so many cubes, sorted by diameter: some of each kind that is framed, and whole ones."""
    order = np.argsort(diameters_mm, kind="stable")
    if len(order) <= most:
        return order
    framed = [_evenly(order[states[order] == state], MOST_FRAMED) for state in FRAMES]
    others = order[~np.isin(states[order], list(FRAMES))]
    chosen = np.concatenate([*framed, _evenly(others, most - sum(map(len, framed)))])
    left = order[~np.isin(order, chosen)]  # framed ones, where nearly all are
    chosen = np.concatenate([chosen, _evenly(left, most - len(chosen))])
    return chosen[np.argsort(diameters_mm[chosen], kind="stable")]


def _evenly(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of the rows, with the first and the last."""
    chosen: NDArray[np.intp] = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)]
    return chosen


def _draw_tile(
    axes: Axes,
    corner: tuple[float, float],
    slice_hu: NDArray[np.float32],
    row: "pd.Series[Any]",
    window_hu: tuple[float, float],
) -> None:
    """One slice, its diameter below; the patient's front is up, the patient's left is on the right."""
    x, y = corner
    low, high = window_hu
    axes.imshow(slice_hu, cmap="gray", vmin=low, vmax=high, extent=(x, x + 1, y + 1, y), interpolation="nearest")
    number, dash, letter = FRAMES.get(row["state"], (None, None, ""))
    color = "black" if number is None else sns.color_palette("colorblind")[number]
    if letter:
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=color, linestyle=dash, linewidth=2))
    label = f"{row['diameter_mm']:.1f} {letter}".strip()
    axes.text(x + 0.5, y + 1.05, label, ha="center", va="top", fontsize=7, fontweight="bold" if letter else "normal")


def _outline(axes: Axes, corner: tuple[float, float], mask_HW: NDArray[np.uint8]) -> None:
    """The border of a nodule on a slice of its cube; a nodule may not reach its own central slice."""
    if 0 < mask_HW.mean() < 1:
        places = (np.arange(len(mask_HW)) + 0.5) / len(mask_HW)
        color = sns.color_palette("colorblind")[3]
        axes.contour(corner[0] + places, corner[1] + places, mask_HW, levels=[0.5], colors=[color], linewidths=0.7)


def _add_legend(figure: Figure, title: str, states: Sequence[str], shown: Sequence[str]) -> None:
    """The title, what the frames mean, and how many such cubes are here and in the data set."""
    palette = sns.color_palette("colorblind")
    handles = [
        Patch(
            fill=False,
            edgecolor=palette[number],
            linestyle=dash,
            linewidth=2,
            label=f"{MEANINGS[state]}; {shown.count(state)} of {states.count(state)} shown",
        )
        for state, (number, dash, _) in FRAMES.items()
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=2,
        fontsize=7.5,
        frameon=False,
        title=title,
        title_fontsize=10,
    )
