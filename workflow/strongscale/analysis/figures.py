"""Draw the figures of a study as SVG, PDF and PNG; a figure without data says in words what is missing."""

import argparse
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from strongscale.analysis.curve_figures import edge_figure, strong_figure, warmup_figure, weak_figure
from strongscale.analysis.decisions import pareto_figure
from strongscale.analysis.load import load, read_study
from strongscale.analysis.loss_figure import losses_figure
from strongscale.analysis.nodule_figure import nodule_figure
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.scaling_figures import efficiency_figure, parts_figure, time_figure
from strongscale.common.command import run as run_command
from strongscale.common.style import save, theme

FIGURE_OF_RUNS: dict[str, Callable[[StudyRuns], Figure]] = {
    "figure2": time_figure,
    "figure3": warmup_figure,
    "figure4": strong_figure,
    "figure5": weak_figure,
    "losses": losses_figure,
    "efficiency": efficiency_figure,
    "edge": edge_figure,
    "parts": parts_figure,
    "pareto": pareto_figure,
}
FIGURES = ("figure1", *FIGURE_OF_RUNS)


def main(arguments: list[str]) -> None:
    """Read a study's folder and write figures into its folder `figures`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="+", choices=FIGURES, help="figure1 needs reconstructions.npz alone")
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    options = parser.parse_args(arguments)
    for figure in options.figures:
        draw(figure, options.study)


def draw(name: str, study_folder: Path) -> None:
    """Draw the figure of that name."""
    with theme():
        if name == "figure1":
            study_name, _, data = read_study(study_folder)
            figure, label = nodule_figure(study_folder), f"Study {study_name}: {data}"
        else:
            runs = load(study_folder)
            figure, label = FIGURE_OF_RUNS[name](runs), f"Study {runs.name}: {runs.label}"
        save(figure, study_folder / "figures", name, label)


if __name__ == "__main__":
    run_command(main)
