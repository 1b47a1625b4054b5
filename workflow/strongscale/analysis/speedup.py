"""Why strong scaling saturates: the paper's speed-up law as a curve with its band, and what an epoch is made of instead.

The law is fitted to this study and to the paper's Table I. It describes; its shares explain little (speedup_law.py).
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.analysis import paper, speedup_report
from strongscale.analysis.load import load
from strongscale.analysis.runs import StudyRuns, in_words
from strongscale.analysis.speedup_law import MIN_POINTS, Band, SpeedupLaw, band, fit, time_ratios
from strongscale.analysis.speedup_parts import epochs_of
from strongscale.analysis.statistics import efficiency
from strongscale.common.command import run as run_command
from strongscale.common.output import number, percent, write_csv, write_html, write_markdown
from strongscale.common.style import save, theme

TIED = -0.9  # the correlation of T_S and c from which on points can't tell them apart
COLUMNS = (
    "source",
    "workers",
    "observed",
    "fitted",
    "low",
    "high",
    "relative_residual",
    "serial",
    "parallel",
    "communication",
    "correlation",
    "share_without_communication",
    "status",
    "clock",
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Points of a law, and what was made of them."""

    name: str
    clock: str
    observed: dict[int, float]
    tried: Sequence[int]
    law: SpeedupLaw | None
    band: Band | None


def strong_time_ratios(runs: StudyRuns) -> dict[int, float]:
    """This study's strong scaling: medians over the seeds that are paired with their own sequential runs."""
    return time_ratios({n: efficiency(runs, "strong", n).median for n in _strong_workers(runs)})


def ratios_by_seed(runs: StudyRuns, workers: Sequence[int]) -> list[dict[int, float]]:
    """T(n) / T(1) of each seed that reached the target on all these numbers of workers."""
    found = []
    for one in runs.sequential:
        own = {n: next((run for run in runs.of("strong", n) if run.seed == one.seed), None) for n in workers}
        times = {n: run.result.time_to_target_s if run else None for n, run in own.items()}
        alone = one.result.time_to_target_s
        if alone and all(times.values()):
            found.append({n: time_s / alone for n, time_s in times.items() if time_s})
    return found


def _strong_workers(runs: StudyRuns) -> list[int]:
    return runs.workers("strong") if "strong" in runs.entries("strong") else []


def main(arguments: list[str]) -> None:
    """Read a study's folder and write tables/speedup_law.*, tables/speedup_parts.* and figures/speedup.*."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    options = parser.parse_args(arguments)
    write(load(options.study), options.study)


def write(runs: StudyRuns, folder: Path) -> None:
    """Write the tables and the figure."""
    own = study_source(runs)
    write_law(runs, own, folder / "tables")
    epochs = epochs_of(runs)
    speedup_report.write_parts(runs, epochs, folder / "tables")
    with theme():
        figure = speedup_report.figure_of(own.observed, own.law, own.band, epochs)
        save(figure, folder / "figures", "speedup", f"{runs.name}: {runs.label}")


def study_source(runs: StudyRuns) -> Source:
    """This study's law."""
    observed = strong_time_ratios(runs)
    return Source(
        name="this study",
        clock=runs.clock,
        observed=observed,
        tried=_strong_workers(runs),
        law=fit(observed),
        band=band(observed, ratios_by_seed(runs, list(observed))),
    )


def paper_source() -> Source:
    """The law of the paper's Table I."""
    observed = time_ratios(paper.EFFICIENCY["strong"])
    return Source(
        name="the paper, Table I",
        clock=paper.CLOCK,
        observed=observed,
        tried=list(paper.EFFICIENCY["strong"]),
        law=fit(observed),
        band=band(observed),
    )


def write_law(runs: StudyRuns, own: Source, folder: Path) -> None:
    """Write the law of this study and that of the paper, one below the other."""
    sources = (own, paper_source())
    rows = [{**row, "clock": source.clock} for source in sources for row in _rows(source)]
    write_csv(folder / "speedup_law.csv", [{name: row.get(name) for name in COLUMNS} for row in rows])
    text = "T(n) / T(1) = T_S + T_P / n + c log2(n), fitted to the time to target of strong scaling."
    caption = "\n\n".join(
        [
            f"{text} Study {runs.name}; clock, device and data: {runs.label}. The paper's numbers: {paper.CLOCK}. "
            "What the seconds are made of: speedup_parts.",
            *(
                f"{source.name[0].upper()}{source.name[1:]}: {_in_words(source.law, source.observed)}"
                f"{_band_in_words(source)}{_left_out(source.observed, source.tried)}"
                for source in sources
            ),
        ]
    )
    write_markdown(folder / "speedup_law.md", _readable(rows), caption)
    write_html(folder / "speedup_law.html", _readable(rows), caption)


def _rows(source: Source) -> list[dict[str, Any]]:
    law, found = source.law, source.band
    if law is None:
        points = [{"source": source.name, "workers": n, "observed": ratio} for n, ratio in source.observed.items()]
        return [{**point, "status": "cannot be fitted"} for point in points or [{"source": source.name}]]
    shares = {"serial": law.serial, "parallel": law.parallel, "communication": law.communication}
    if found:
        shares |= {
            "correlation": found.correlation,
            "share_without_communication": found.share_without_communication,
        }
    rows = []
    for n, ratio in source.observed.items():
        low, high = found.interval(n) if found else (None, None)
        row = {"source": source.name, "workers": n, "observed": ratio, "fitted": law.time_ratio(n), "low": low}
        rows.append(
            row | {"high": high, "relative_residual": law.time_ratio(n) / ratio - 1, **shares, "status": "fitted"}
        )
    return rows


def _band_in_words(source: Source) -> str:
    found = source.band
    if found is None:
        return ""
    how = (
        "resampled seeds and relative residuals"
        if found.over_seeds
        else "resampled relative residuals, for seeds that take the same steps say nothing of the law"
        if source.name == "this study"
        else "resampled relative residuals"
    )
    correlation = found.correlation
    doubt = " One can be had for the other, so they explain nothing." if correlation < TIED else ""
    tied = (
        f"T_S and c are correlated at {correlation:.2f}"
        if math.isfinite(correlation)
        else "T_S or c is always the same"
    )
    return (
        f" Band: 95 % of laws fitted to {how}. Among these {tied}, and c is 0 in "
        f"{percent(found.share_without_communication)}.{doubt}"
    )


def _in_words(law: SpeedupLaw | None, observed: Mapping[int, float]) -> str:
    if law is None:
        return f"cannot be fitted: {len(observed)} converged numbers of workers, at least {MIN_POINTS} are needed."
    text = f"T_S = {law.serial:.4f}, T_P = {law.parallel:.4f}, c = {law.communication:.4f}, in shares of T(1). "
    if math.isfinite(law.saturation_workers):
        text += (
            f"The speed-up saturates at {number(law.saturation_workers)} workers, where it is "
            f"{number(law.greatest_speedup)}"
        )
        text += " (beyond the numbers tried)." if law.saturation_workers > max(observed) else "."
    elif math.isfinite(law.greatest_speedup):
        text += f"No cost of communication shows; the speed-up approaches {number(law.greatest_speedup)}."
    else:
        text += "Neither a serial part nor a cost of communication shows; the law predicts no limit."
    if len(observed) == MIN_POINTS:
        text += " There are as many points as parameters, so the residuals say nothing about the law."
    return text


def _left_out(observed: Mapping[int, float], tried: Sequence[int]) -> str:
    """The numbers of workers that the law doesn't know of: those that would bend it most."""
    missing = [count for count in tried if count not in observed]
    if not missing:
        return ""
    return f" Left out: {in_words(missing)} workers, where the efficiency has no median."


def _readable(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "source": row["source"],
                "workers": str(row.get("workers", "")),
                "T(n)/T(1), observed": number(row.get("observed")),
                "fitted": number(row.get("fitted")) or row["status"],
                "band (95 %)": f"{number(row['low'])} to {number(row['high'])}" if row.get("low") else "",
                "residual": percent(row.get("relative_residual", math.nan)),
            }
            for row in rows
        ]
    )


if __name__ == "__main__":
    run_command(main)
