"""Each entry of the matrix as an option: how long one waits, what it costs, whether it works; and the front of those worth it."""

import math
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from strongscale.analysis.ratios import expected_s
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.statistics import Summary, time_to_target
from strongscale.common.style import GREY, looks, new_figure, plain_log_numbers, sentence_figure

HOUR_S = 3600


@dataclass(frozen=True, kw_only=True)
class Option:
    """A strategy with a number of workers."""

    line: str
    workers: int
    time: Summary
    expected_s: float
    """Seconds that somebody waits who starts again after each failure; infinite where no run arrived."""
    num_reached: int
    num_runs: int
    is_on_front: bool = False

    @property
    def gpu_hours(self) -> float:
        """What is used up until the target is reached."""
        return self.workers * self.expected_s / HOUR_S


def options_of(runs: StudyRuns) -> list[Option]:
    """Every entry of the matrix; one worker once, whatever line it stands in."""
    found: list[Option] = []
    for line in runs.study.strategies:
        for workers in runs.workers(line):
            own = runs.of(line, workers)
            is_sequential = workers == 1 and all(run.stands_as == "sequential" for run in own)
            name = "sequential" if is_sequential else line
            if is_sequential and any(option.line == name for option in found):
                continue
            found.append(
                Option(
                    line=name,
                    workers=workers,
                    time=time_to_target(own),
                    expected_s=expected_s(own),
                    num_reached=sum(run.result.converged for run in own),
                    num_runs=len(own),
                )
            )
    return [replace(option, is_on_front=is_on_front(option, found)) for option in found]


def is_on_front(option: Option, options: list[Option]) -> bool:
    """Whether no other option is as fast and as cheap, and better in one of the two."""
    own = option.expected_s, option.gpu_hours
    if not math.isfinite(option.expected_s):
        return False
    others = ((other.expected_s, other.gpu_hours) for other in options if other is not option)
    return not any(one <= own[0] and two <= own[1] and (one, two) != own for one, two in others)


def pareto_figure(runs: StudyRuns) -> Figure:
    """Time against GPU-hours: the options, and the front of those that nothing beats in both."""
    options = [option for option in options_of(runs) if math.isfinite(option.expected_s)]
    if not options:
        return sentence_figure("No run reached the target, so there is nothing to choose between.")
    figure = new_figure()
    axes = figure.add_subplot()
    front = sorted((option for option in options if option.is_on_front), key=lambda option: option.expected_s)
    axes.plot(
        [option.expected_s for option in front],
        [option.gpu_hours for option in front],
        color=GREY,
        linestyle=":",
        drawstyle="steps-post",
        label="the front",
        zorder=1,
    )
    lines = list(dict.fromkeys(option.line for option in options))
    own_looks = looks([*runs.study.strategies]) | looks(["sequential"], "gray")
    for line in lines:
        own = [option for option in options if option.line == line]
        look = own_looks[line]
        axes.plot(
            [option.expected_s for option in own],
            [option.gpu_hours for option in own],
            label=line,
            **look.line(linewidth=0.8),
        )
        for option in own:
            axes.annotate(
                str(option.workers),
                (option.expected_s, option.gpu_hours),
                (4, 4),
                textcoords="offset points",
                fontsize=7,
                fontweight="bold" if option.is_on_front else "normal",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_log_numbers(axes.xaxis)
    plain_log_numbers(axes.yaxis)
    axes.set_xlabel("expected time to the target (s)")
    axes.set_ylabel("GPU-hours until then")
    fastest = front[0]
    axes.set_title(
        f"What time costs: the fastest is {fastest.line} on {fastest.workers} (numbers: workers; bold: on the front)"
    )
    axes.legend(fontsize=8)
    return figure
