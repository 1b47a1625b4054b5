"""Figure 1: nodules and the model's reconstructions of them, in three dimensions and as central slices."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]

from strongscale.common.errors import UserError
from strongscale.common.style import new_figure, sentence_figure

NEEDED = ("input", "reconstruction", "diameter_mm", "loss")
# Voxels fainter than this share of the cube's range are left out of the 3-D view.
VISIBLE_SHARE = 0.35


def nodule_figure(study_folder: Path) -> Figure:
    """Draw what lies in reconstructions.npz."""
    path = study_folder / "reconstructions.npz"
    if not path.exists():
        return sentence_figure("This study has no reconstructions (reconstructions.npz), so no nodule can be shown.")
    arrays = _read(path)
    inputs, outputs = arrays["input"], arrays["reconstruction"]
    figure = new_figure(2.6 * len(inputs) + 0.3)
    rows = figure.subfigures(len(inputs), 1, squeeze=False)[:, 0]
    for i, row in enumerate(rows):
        _draw_pair(row, {"nodule": inputs[i], "reconstruction": outputs[i]})
        diameter_mm, loss = float(arrays["diameter_mm"][i]), float(arrays["loss"][i])
        row.suptitle(f"diameter {diameter_mm:.1f} mm, loss of the reconstruction {loss:.3g}", fontsize=9)
    return figure


def _draw_pair(figure: SubFigure, samples: dict[str, npt.NDArray[np.float64]]) -> None:
    """A nodule and its reconstruction on one scale: cubes in 3-D and as slices, slices as such, lines as curves."""
    high = float(max(np.nanmax(sample) for sample in samples.values())) or 1.0
    is_cube = next(iter(samples.values())).ndim == 3
    panels = figure.add_gridspec(1, 4, width_ratios=[1.5, 1, 1.5, 1]) if is_cube else figure.add_gridspec(1, 2)
    for column, (name, sample) in enumerate(samples.items()):
        if is_cube:
            view = figure.add_subplot(panels[2 * column], projection="3d")
            _draw_voxels(view, sample, high)
            view.set_title(name)
            axes = figure.add_subplot(panels[2 * column + 1])
            axes.set_title("central slice", fontsize=8)
            _draw_slice(axes, sample[len(sample) // 2], high)
            continue
        axes = figure.add_subplot(panels[column])
        axes.set_title(name)
        if sample.ndim == 2:
            _draw_slice(axes, sample, high)
        else:
            axes.plot(sample, color="black", marker=".")
            axes.set(xlabel="voxel", ylabel="intensity", ylim=(0, 1.05 * high))


def _read(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], dtype=float) for name in NEEDED}
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: not readable as reconstructions ({error}); remove it and run again") from None
    if arrays["input"].ndim not in (2, 3, 4) or arrays["input"].shape != arrays["reconstruction"].shape:
        raise UserError(f"{path}: input and reconstruction are not samples of one shape; remove it and run again")
    return arrays


def _draw_voxels(axes: Axes3D, cube: npt.NDArray[np.float64], high: float) -> None:
    """Voxels as points, the brighter the larger and the denser."""
    z, y, x = np.nonzero(cube >= VISIBLE_SHARE * high)
    values = np.clip(cube[z, y, x] / high, 0, 1)
    colors = np.zeros((len(values), 4))
    colors[:, :3] = np.array([0.0, 0.35, 0.6])[None, :] * (1.1 - values[:, None]).clip(0, 1)
    colors[:, 3] = 0.2 + 0.8 * values**2
    if len(values):
        axes.scatter(x, y, z, c=colors, s=28 * values, linewidths=0, depthshade=False)
    depth, height, width = cube.shape
    axes.set(xlim=(0, width - 1), ylim=(0, height - 1), zlim=(0, depth - 1))
    axes.set_xticklabels([])
    axes.set_yticklabels([])
    axes.set_zticklabels([])
    axes.set_box_aspect((width, height, depth))


def _draw_slice(axes: Axes, image: npt.NDArray[np.float64], high: float) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
