"""Two pictures: new nodules beside real ones, and how far they are from them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from strongscale.analysis.style import GREY, WIDTH_INCHES, looks, new_figure
from strongscale.synthesis.novelty import COPY_PERCENTILE, FAR_PERCENTILE, Novelty

COLUMNS = 8
MOST_ROWS = 8  # of new nodules
GAP_VOXELS = 1
PANELS = {
    "distance to the nearest real nodule (root mean square)": {
        "new_to_real": "(a) of new ones",
        "reconstruction_to_other_real": "(b) of reconstructions of others",
        "real_to_other_real": "(c) of other real ones",
    },
    "distance to the nearest reconstruction (root mean square)": {
        "new_to_reconstruction": "(d) of new ones",
        "reconstruction_to_other_reconstruction": "(e) of reconstructions of others",
    },
}


def montage(new_NDHW: NDArray[np.float32], parents: Sequence[tuple[str, NDArray[np.float32]]]) -> Figure:
    """Central slices: above the real parents of the first new nodules, row by row with its label, below the new ones.

    The i-th cube of each row of parents belongs to the i-th new nodule.
    """
    rows = [(label, cubes[:COLUMNS]) for label, cubes in parents]
    for start in range(0, min(len(new_NDHW), COLUMNS * MOST_ROWS), COLUMNS):
        part = new_NDHW[start : start + COLUMNS]
        label = "new, of these parents:\n" if start == 0 else "new: "
        rows.append((f"{label}{start + 1} to {start + len(part)}", part))
    image, centres = _mosaic([cubes for _, cubes in rows], gap_before=len(parents))
    figure = new_figure((WIDTH_INCHES - 1.6) * len(image) / image.shape[1] + 0.7)
    axes = figure.add_subplot()
    # One scale for all, as wide as what is shown: the eye compares real and new ones by it.
    high = float(np.nanmax(image))
    axes.imshow(np.ma.masked_invalid(image), cmap="gray", vmin=0, vmax=high, interpolation="nearest")
    axes.set_yticks(centres, [label for label, _ in rows], fontsize=7)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Central axial slices; black is 0, white is {high:.2f}", fontsize=8)
    return figure


def _mosaic(rows: Sequence[NDArray[np.float32]], gap_before: int) -> tuple[NDArray[np.float32], list[float]]:
    """One picture of rows of cubes' central slices, NaN between them, and the height of each row's centre.

    A wider gap stands before one of the rows.
    """
    height, width = rows[0].shape[2:]
    tops = [i * (height + GAP_VOXELS) + (4 * GAP_VOXELS if i >= gap_before else 0) for i in range(len(rows))]
    columns = max(len(cubes) for cubes in rows)
    image = np.full((tops[-1] + height, columns * (width + GAP_VOXELS) - GAP_VOXELS), np.nan, dtype=np.float32)
    for top, cubes in zip(tops, rows, strict=True):
        for column, cube in enumerate(cubes):
            left = column * (width + GAP_VOXELS)
            image[top : top + height, left : left + width] = cube[len(cube) // 2]
    return image, [top + (height - 1) / 2 for top in tops]


def novelty_figure(novelty: Novelty) -> Figure:
    """The share of nodules within a distance, for new ones and their peers, and the two thresholds."""
    thresholds = (
        (novelty.far_threshold, f"{FAR_PERCENTILE:g} % of (b):\nfurther is far"),
        (novelty.copy_threshold, f"{COPY_PERCENTILE:g} % of (e):\ncloser is a copy"),
    )
    figure = new_figure(3.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (title, lines), (threshold, meaning) in zip(panels, PANELS.items(), thresholds, strict=True):
        for (name, label), look in zip(lines.items(), looks(list(lines)).values(), strict=True):
            axes.ecdf(novelty.distances[name], label=label, color=look.color, linestyle=look.dash)
        axes.axvline(threshold, color=GREY, linewidth=0.8)
        axes.text(threshold, 1.01, meaning, transform=axes.get_xaxis_transform(), fontsize=7, color=GREY, ha="center")
        axes.set_xlim(0, None)
        axes.set_xlabel(title, fontsize=7.5)
        axes.tick_params(labelsize=7)
        axes.legend(loc="lower right", fontsize=7)
    panels[0].set_ylabel("share of nodules within this distance", fontsize=8)
    return figure
