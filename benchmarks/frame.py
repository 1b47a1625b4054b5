"""What all benchmarks share: contenders take turns, medians and ratios, the machine, a page and a table.

Seconds differ from machine to machine and from hour to hour; what counts are ratios to our own contender, the first,
each taken within one round, so that whatever slowed the machine slowed both.
"""

import argparse
import csv
import importlib.metadata
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongscale.common.files import atomic, write_text

log = logging.getLogger(__name__)

Figures = Mapping[str, float]
"""What one turn of a contender measured, by name with its unit: `time_s`, `peak_memory_mb`."""

UNITS = {"s": "s", "ms": "ms", "mb": "MB"}

# A child counts what its parent held when it was started: only one started by this small process is measured rightly.
LAUNCHER = """\
import json, resource, subprocess, sys, time
start_s = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
figures = {"code": code, "process_s": time.perf_counter() - start_s}
print(json.dumps(figures | {"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}))
"""


@dataclass(frozen=True)
class Summary:
    """One figure of one contender over all rounds: lower quartile, median, upper quartile, and ratios to the first's."""

    contender: str
    figure: str
    quartiles: tuple[float, float, float]
    ratios: tuple[float, float, float] | None
    """None where the first contender doesn't have this figure."""
    repeats: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """A benchmark's page, but for its figures and its machine."""

    title: str
    compared: str
    how: str
    caveats: Sequence[str]
    command: str
    extra: str = ""
    """Sections after the table, as Markdown."""


def take_turns(contenders: Mapping[str, Callable[[], Figures]], repeats: int) -> dict[str, list[Figures]]:
    """Run all contenders in turn, A B C A B C ..., once to warm up and then `repeats` times."""
    turns: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(repeats + 1):
        for name, contender in contenders.items():
            figures = contender()
            log.info(
                "round %d, %s: %s", number, name, ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
            )
            if number:
                turns[name].append(figures)
    return turns


def timed(work: Callable[[], object]) -> Callable[[], Figures]:
    """A contender that runs in this process: the seconds of each call."""

    def contender() -> Figures:
        start_s = time.perf_counter()
        work()
        return {"time_s": time.perf_counter() - start_s}

    return contender


def run_alone(command: Sequence[str]) -> Figures:
    """Run a command in a process of its own: its seconds from start to end and its most memory.

    Where it ends in `report`, what that told is added.
    """
    launched = [sys.executable, "-I", "-c", LAUNCHER, *command]
    answer = subprocess.run(launched, capture_output=True, text=True)
    *told, last = answer.stdout.splitlines() or [""]
    measured = json.loads(last) if last else {"code": answer.returncode}
    if measured["code"]:
        raise RuntimeError(f"{' '.join(command)} failed with {measured['code']}:\n{answer.stderr}")
    figures: dict[str, float] = json.loads(told[-1]) if told else {}
    return figures | {"process_s": measured["process_s"], "peak_memory_mb": _megabytes(measured["peak"])}


def report(work: Callable[[], object]) -> None:
    """In a process of its own, all imports done: run the work, tell its seconds and the memory it took above them."""
    before_mb, start_s = peak_mb(), time.perf_counter()
    work()
    time_s = time.perf_counter() - start_s
    sys.stdout.write(json.dumps({"time_s": time_s, "above_imports_mb": peak_mb() - before_mb}) + "\n")


def peak_mb() -> float:
    """The most memory (resident, in 10⁶ bytes) that this process has held so far."""
    return _megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _megabytes(maxrss: int) -> float:
    return maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def forget(path: Path) -> None:
    """Drop a file from this system's cache, so that reading it again asks the disk; needs no rights."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(path: Path) -> None:
    """Read a file through, so that it lies in this system's cache."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


def summarise(turns: Mapping[str, Sequence[Figures]]) -> list[Summary]:
    """Quartiles of every figure of every contender, and of its ratios to the first contender's of the same round."""
    first = next(iter(turns.values()))
    summaries = []
    for name, rounds in turns.items():
        for figure in rounds[0]:
            values = [figures[figure] for figures in rounds]
            ratios = None
            if all(ours.get(figure) for ours in first):
                ratios = quartiles([value / ours[figure] for value, ours in zip(values, first, strict=True)])
            summaries.append(Summary(name, figure, quartiles(values), ratios, len(values)))
    return summaries


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; of one value, three times itself."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def machine(packages: Sequence[str]) -> dict[str, str]:
    """What was measured on: processor, cores, memory, how busy it was, and versions of what took part."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    facts = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.1f} (processes that wanted a core, over the last minute)",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    return facts | {name: importlib.metadata.version(name) for name in packages if installed(name)}


def installed(package: str) -> bool:
    """Whether a package is there to be compared against."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def parser(name: str, description: str | None, repeats: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have; `folder_of` says where to write."""
    created = argparse.ArgumentParser(prog=f"benchmarks.{name}", description=description)
    created.add_argument("--repeats", type=int, default=repeats, help="rounds that count")
    created.add_argument("--quick", action="store_true", help="tiny: shows that it runs; its figures mean nothing")
    created.add_argument("--output", type=Path, help="folder to write; default: docs/benchmarks, or results if quick")
    return created


def folder_of(options: argparse.Namespace) -> Path:
    """Where to write."""
    return options.output or Path("results" if options.quick else "docs", "benchmarks")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def write(folder: Path, name: str, page: Page, summaries: Sequence[Summary], facts: Mapping[str, str]) -> None:
    """Write the table (`name`.csv) and the page (`name`.md)."""
    with atomic(folder / f"{name}.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        header = ["lower_quartile", "median", "upper_quartile"]
        writer.writerow(["contender", "figure", *header, *[f"ratio_{column}" for column in header], "repeats"])
        for one in summaries:
            numbers = [*one.quartiles, *(one.ratios or ())]
            cells = [f"{number:.6g}" for number in numbers] + [""] * (6 - len(numbers))
            writer.writerow([one.contender, one.figure, *cells, one.repeats])
    write_text(folder / f"{name}.md", render(page, summaries, facts))


def render(page: Page, summaries: Sequence[Summary], facts: Mapping[str, str]) -> str:
    """The page as Markdown."""
    parts = [
        f"# {page.title}",
        f"Made by `{page.command}`; not written by hand.",
        page.compared,
        f"## How\n\n{page.how}",
        f"## Figures\n\n{_table(summaries)}",
        page.extra,
        "## What these figures don't say\n\n" + "\n".join(f"- {caveat}" for caveat in page.caveats),
        "## Measured on\n\n" + markdown_table(["what", "which"], facts.items()),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _table(summaries: Sequence[Summary]) -> str:
    first = summaries[0].contender
    names, columns = dict.fromkeys(one.contender for one in summaries), dict.fromkeys(one.figure for one in summaries)
    by_place = {(one.contender, one.figure): one for one in summaries}
    rows = [[name, *(_cell(by_place.get((name, column)), first) for column in columns)] for name in names]
    legend = (
        f"Median of {summaries[0].repeats} rounds (lower to upper quartile), and in bold how many times that of "
        f"*{first}*: the median of the ratios within a round (quartiles in the csv)."
    )
    return f"{legend}\n\n{markdown_table(['contender', *map(_heading, columns)], rows)}"


def _heading(figure: str) -> str:
    words = figure.split("_")
    unit = UNITS.get(words[-1])
    return f"{' '.join(words[:-1])}, {unit}" if unit else " ".join(words)


def _cell(one: Summary | None, first: str) -> str:
    if one is None:
        return "–"
    low, middle, high = (short(number) for number in one.quartiles)
    ratio = f" **{short(one.ratios[1])}×**" if one.ratios and one.contender != first else ""
    return f"{middle} ({low} to {high}){ratio}"


def short(number: float) -> str:
    """Three digits that count, without an exponent where it can be."""
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def markdown_table(header: Sequence[str], rows: Any) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
