"""Three pictures: new nodules beside the data set's own, how alike they are, and how far from those they came from."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from strongscale.common.style import GREY, WIDTH_INCHES, looks, new_figure
from strongscale.synthesis.distances import evenly
from strongscale.synthesis.gate import FAILS, PASSES, Gate
from strongscale.synthesis.likeness import ATTEMPTS, COMPARED, NEW, OWN, RECONSTRUCTED, Likeness
from strongscale.synthesis.measures import TITLES
from strongscale.synthesis.novelty import COPY_PERCENTILE, FAR_PERCENTILE, Novelty

COLUMNS = 12
PAIRS = 2  # rows of the data set's cubes, and their reconstructions
MOST_ROWS = 4  # of new nodules
GAP_VOXELS = 1
Cubes = NDArray[np.float32]
PANELS = {
    "distance to the nearest training nodule (root mean square)": {
        "new_to_training": "(a) of new ones",
        "held_out_reconstruction_to_training": "(b) of held-out ones' reconstructions",
        "held_out_to_training": "(c) of held-out ones",
    },
    "distance to the nearest one's reconstruction (root mean square)": {
        "new_to_reconstruction": "(d) of new ones",
        "held_out_to_reconstruction": "(e) of held-out ones' reconstructions",
    },
}


def montage(own_NDHW: Cubes, reconstructions_NDHW: Cubes, new_MDHW: Cubes, nodules: str) -> Figure:
    """Central slices on one scale: some of the data set's cubes, evenly spaced, each above its reconstruction; new ones."""
    own, reconstructions = (evenly(cubes, COLUMNS * PAIRS) for cubes in (own_NDHW, reconstructions_NDHW))
    rows: list[tuple[str, Cubes]] = []
    gaps = []
    for start in range(0, len(own), COLUMNS):
        part = slice(start, start + COLUMNS)
        gaps.append(len(rows))
        rows += [(nodules.replace(" of ", "\nof "), own[part]), ("reconstructions", reconstructions[part])]
    gaps.append(len(rows))
    for start in range(0, min(len(new_MDHW), COLUMNS * MOST_ROWS), COLUMNS):
        part_of_new = new_MDHW[start : start + COLUMNS]
        rows.append((f"new: {start + 1} to {start + len(part_of_new)}", part_of_new))
    image, centres = _mosaic([cubes for _, cubes in rows], gaps)
    figure = new_figure((WIDTH_INCHES - 1.3) * len(image) / image.shape[1] + 0.7)
    axes = figure.add_subplot()
    # One scale for all, as wide as what is shown: the eye compares by it.
    high = float(np.nanmax(image))
    axes.imshow(np.ma.masked_invalid(image), cmap="gray", vmin=0, vmax=high, interpolation="nearest")
    axes.set_yticks(centres, [label for label, _ in rows], fontsize=7)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Central axial slices; black is 0, white is {high:.2f}", fontsize=8)
    return figure


def _mosaic(rows: Sequence[Cubes], wide_gaps: Sequence[int]) -> tuple[Cubes, list[float]]:
    """One picture of rows of cubes' central slices, NaN between them, and the height of each row's centre.

    Wider gaps stand before some of the rows.
    """
    height, width = rows[0].shape[2:]
    tops = [
        i * (height + GAP_VOXELS) + 4 * GAP_VOXELS * sum(0 < gap <= i for gap in wide_gaps) for i in range(len(rows))
    ]
    columns = max(len(cubes) for cubes in rows)
    image = np.full((tops[-1] + height, columns * (width + GAP_VOXELS) - GAP_VOXELS), np.nan, dtype=np.float32)
    for top, cubes in zip(tops, rows, strict=True):
        for column, cube in enumerate(cubes):
            left = column * (width + GAP_VOXELS)
            image[top : top + height, left : left + width] = cube[len(cube) // 2]
    return image, [top + (height - 1) / 2 for top in tops]


def novelty_figure(novelty: Novelty, gate: Gate) -> Figure:
    """What the gate came to, above the share of nodules within a distance, for new ones and their peers."""
    at = novelty.thresholds
    closer = f"{COPY_PERCENTILE:g} %:\ncloser is a copy"
    marks = (
        ((at.copy_of_cube, closer, "left"), (at.far, f"{FAR_PERCENTILE:g} %:\nfurther is far", "center")),
        ((at.copy_of_reconstruction, closer, "left"),),
    )
    figure = new_figure(5.2)
    parts = figure.add_gridspec(2, 1, height_ratios=(1, 1.6))
    _draw_gate(figure.add_subfigure(parts[0]).subplots(), gate)
    panels = figure.add_subfigure(parts[1]).subplots(1, 2, sharey=True)
    for axes, (title, lines), thresholds in zip(panels, PANELS.items(), marks, strict=True):
        for (name, label), look in zip(lines.items(), looks(list(lines)).values(), strict=True):
            axes.ecdf(novelty.distances[name], label=label, color=look.color, linestyle=look.dash)
        for threshold, meaning, side in thresholds:
            axes.axvline(threshold, color=GREY, linewidth=0.8)
            axes.text(threshold, 1.01, meaning, transform=axes.get_xaxis_transform(), fontsize=6, color=GREY, ha=side)
        axes.set_xlim(0, None)
        axes.set_xlabel(title, fontsize=7)
        axes.tick_params(labelsize=7)
        axes.legend(loc="lower right", fontsize=6)
    panels[0].set_ylabel("share of nodules within this distance", fontsize=7)
    return figure


def _draw_gate(axes: Axes, gate: Gate) -> None:
    """Each part's number with its interval, over the range that is allowed."""
    markers = {PASSES: "o", FAILS: "D"}
    high = 1.1 * max([1.0, *(part.high for part in gate.parts if not np.isnan(part.high))])
    for row, part in enumerate(gate.parts):
        limit = part.criterion.threshold
        allowed = (0, limit) if part.criterion.at_most else (limit, high)
        axes.plot(allowed, [row, row], color="0.85", linewidth=9, solid_capstyle="butt")
        axes.plot([part.low, part.high], [row, row], color="black", linewidth=1)
        axes.plot(part.value, row, markers.get(part.outcome, "x"), color="black", markersize=5)
    labels = [f"{part.criterion.name}: {part.outcome}\n{part.numbers}, {part.limit}" for part in gate.parts]
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.set_ylim(len(labels), -1)
    axes.set_xlim(0, high)
    axes.set_xlabel("with 95 % interval; grey: allowed; diamond: fails; cross: undecided", fontsize=7)
    axes.tick_params(axis="x", labelsize=6)


def likeness_figure(likeness: Likeness, nodules: str) -> Figure:
    """The spread of each measure in the three sets, and what the classifier came to."""
    figure = new_figure(5.2)
    parts = figure.add_gridspec(2, 1, height_ratios=(2.4, 1))
    panels = list(figure.add_subfigure(parts[0]).subplots(2, 4).flat)
    labels = {OWN: nodules, RECONSTRUCTED: "their reconstructions", NEW: "new nodules"}
    look = looks(list(COMPARED))
    for axes, (name, title) in zip(panels[:-1], TITLES.items(), strict=True):
        for group in COMPARED:
            values = likeness.measures[group][name]
            axes.ecdf(values, label=labels[group], color=look[group].color, linestyle=look[group].dash)
        axes.set_title(title.replace(": ", ":\n", 1).replace(" of what", "\nof what"), fontsize=6.5)
        axes.tick_params(labelsize=6)
    last = panels[-1]
    last.set_axis_off()
    handles = panels[0].get_legend_handles_labels()
    last.legend(*handles, loc="center", fontsize=7, title="share of nodules\nup to a value", title_fontsize=7)
    _draw_attempts(figure.add_subfigure(parts[1]).subplots(), likeness)
    return figure


def _draw_attempts(axes: Axes, likeness: Likeness) -> None:
    """Each AUC as a point, over the interval of guessing."""
    for row, (one, other, _) in enumerate(ATTEMPTS):
        attempt = likeness.attempts[one, other]
        if attempt is None:
            axes.text(0.5, row, "too few nodules", fontsize=7, ha="center", va="center")
            continue
        axes.plot([attempt.low, attempt.high], [row, row], color="0.75", linewidth=7, solid_capstyle="butt")
        axes.plot(attempt.auc, row, "D" if attempt.succeeds else "o", color="black", markersize=5)
    axes.set_yticks(range(len(ATTEMPTS)), [title for *_, title in ATTEMPTS], fontsize=7)
    axes.set_ylim(len(ATTEMPTS) - 0.5, -0.5)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("AUC of a classifier; grey: guessing (95 %); diamond: it can tell them apart", fontsize=7)
    axes.tick_params(axis="x", labelsize=6)
