"""Set the emulated clock against the wall clock, on the cells that two studies have in common.

This is the one place where seconds of both clocks stand side by side, each under its own name.
"""

import argparse
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from strongscale.analysis.load import load
from strongscale.analysis.runs import Run, StudyRuns
from strongscale.common.command import run as run_command
from strongscale.common.errors import UserError
from strongscale.common.output import number, percent, write_csv, write_markdown
from strongscale.common.style import GREY, looks, new_figure, save, sentence_figure, theme, worker_axis

COLUMNS = (
    "strategy",
    "workers",
    "seed",
    "epochs",
    "wall_time_s",
    "emulated_time_s",
    "wall_epoch_s",
    "emulated_epoch_s",
    "relative_error",
)
NO_COMMON = "The two studies have no run in common."


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One run on both clocks, over the epochs that both did."""

    strategy: str
    workers: int
    seed: int
    epochs: int
    wall_time_s: float
    emulated_time_s: float

    @property
    def wall_epoch_s(self) -> float:
        """Measured seconds an epoch."""
        return self.wall_time_s / self.epochs

    @property
    def emulated_epoch_s(self) -> float:
        """Emulated seconds an epoch."""
        return self.emulated_time_s / self.epochs

    @property
    def relative_error(self) -> float:
        """Of the emulated time; positive where it is too long."""
        return self.emulated_time_s / self.wall_time_s - 1


def main(arguments: list[str]) -> None:
    """Compare two studies and write tables/clock_check.* and figures/clock_check.* of the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study on the wall clock")
    parser.add_argument("--other", type=Path, required=True, help="folder of the study on the emulated clock")
    options = parser.parse_args(arguments)
    wall, emulated = load(options.study), load(options.other)
    check_comparable(wall, emulated)
    write_check(compare(wall, emulated), options.study, _label(wall, emulated))


def check_comparable(wall: StudyRuns, emulated: StudyRuns) -> None:
    """One study on each clock, and the same work in both."""
    for runs, clock in ((wall, "wall"), (emulated, "emulated")):
        if runs.study.clock != clock:
            raise UserError(
                f"{runs.folder}: its clock is {runs.study.clock}; needed here: {clock}, "
                "so give the wall clock's folder as --study and the emulated clock's as --other"
            )
    if wall.study.model != emulated.study.model:
        raise UserError(f"{emulated.folder}: another model than {wall.folder}; compare studies of one model")
    if _work(wall) != _work(emulated):
        raise UserError(
            f"{emulated.folder}: another batch size, reduction, device or data than {wall.folder}; compare studies of the same work"
        )


def _work(runs: StudyRuns) -> tuple[object, ...]:
    """What the seconds of an epoch depend on, beside the model."""
    training, first = runs.study.training, runs.runs[0].settings
    steps = training.batch_size, training.reduction, training.microbatch if training.reduction == "exact" else None
    return *steps, training.device, training.threads, training.evaluation_chunk, first.dataset_hash


def compare(wall: StudyRuns, emulated: StudyRuns) -> list[Comparison]:
    """The runs of both studies' matrices, the sequential run once a seed."""
    others = {(run.stands_as, run.workers, run.seed): run for run in emulated.matrix}
    found = {}
    for run in wall.matrix:
        key = (run.stands_as, run.workers, run.seed)
        other = others.get(key)
        if other is None or key in found or not min(run.result.epochs, other.result.epochs):
            continue
        numbers = {one.settings.update_rule.learners_each for one in (run, other)}  # auto may have found two
        if wall.study.strategy(run.stands_as) == emulated.study.strategy(run.stands_as) and len(numbers) == 1:
            found[key] = _compare_runs(wall, run, emulated, other)
    return [found[key] for key in sorted(found)]


def _compare_runs(wall: StudyRuns, run: Run, emulated: StudyRuns, other: Run) -> Comparison:
    epochs = min(run.result.epochs, other.result.epochs)
    return Comparison(
        strategy=run.stands_as,
        workers=run.workers,
        seed=run.seed,
        epochs=epochs,
        wall_time_s=_time_s(wall, run, epochs),
        emulated_time_s=_time_s(emulated, other, epochs),
    )


def _time_s(runs: StudyRuns, run: Run, epochs: int) -> float:
    return float(runs.epochs_of(run)["time_s"].to_numpy(dtype=float)[epochs - 1])


def write_check(comparisons: list[Comparison], folder: Path, label: str) -> None:
    """Write the table, and the figure."""
    rows = [{name: getattr(comparison, name) for name in COLUMNS} for comparison in comparisons]
    write_csv(folder / "tables" / "clock_check.csv", rows, "wall and emulated, named in the columns", COLUMNS)
    write_markdown(folder / "tables" / "clock_check.md", _readable(comparisons), f"{summary(comparisons)}\n\n{label}.")
    with theme():
        save(_figure(comparisons), folder / "figures", "clock_check", label)


def summary(comparisons: list[Comparison]) -> str:
    """The emulation's error in one sentence."""
    if not comparisons:
        return NO_COMMON
    errors = [comparison.relative_error for comparison in comparisons]
    worst = max(errors, key=abs)
    return (
        f"Over {len(errors)} runs the emulated time differs from the measured one by {percent(statistics.median(errors))} "
        f"in the median and by {percent(worst)} at worst; positive: the emulated time is too long."
    )


def _label(wall: StudyRuns, emulated: StudyRuns) -> str:
    return f"Measured: study {wall.name}, {wall.label}. Emulated: study {emulated.name}, {emulated.label}"


def _readable(comparisons: list[Comparison]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "strategy": comparison.strategy,
                "workers": str(comparison.workers),
                "seed": str(comparison.seed),
                "epochs": str(comparison.epochs),
                "wall clock, s": number(comparison.wall_time_s),
                "emulated clock, s": number(comparison.emulated_time_s),
                "wall clock, s an epoch": number(comparison.wall_epoch_s),
                "emulated clock, s an epoch": number(comparison.emulated_epoch_s),
                "error of the emulation": percent(comparison.relative_error),
            }
            for comparison in comparisons
        ]
    )


def _figure(comparisons: list[Comparison]) -> Figure:
    if not comparisons:
        return sentence_figure(NO_COMMON)
    figure = new_figure(3.8)
    axes = figure.add_subplot()
    strategies = list(dict.fromkeys(one.strategy for one in comparisons))
    for position, (strategy, look) in enumerate(looks(strategies).items()):
        own = [one for one in comparisons if one.strategy == strategy]
        beside = 1.03 ** (position - (len(strategies) - 1) / 2)  # so that marks of one number of workers don't hide
        axes.plot(
            [one.workers * beside for one in own],
            [100 * one.relative_error for one in own],
            label=strategy,
            **replace(look, dash="none").line(),
        )
    axes.axhline(0, color=GREY, linestyle=":", linewidth=1, label="no error")
    worker_axis(axes, sorted({one.workers for one in comparisons}))
    axes.set_ylabel("error of the emulated time (%)")
    axes.set_title("Emulated against measured time of the same epochs")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


if __name__ == "__main__":
    run_command(main)
