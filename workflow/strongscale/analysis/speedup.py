"""Fit the paper's speed-up law, T(n) / T(1) = T_S + T_P / n + c log2(n), to this study and to the paper's Table I."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from strongscale.analysis import paper
from strongscale.analysis.load import load
from strongscale.analysis.runs import StudyRuns, in_words
from strongscale.analysis.statistics import efficiency
from strongscale.common.command import run as run_command
from strongscale.common.output import number, percent, write_csv, write_html, write_markdown

MIN_POINTS = 3
COLUMNS = (
    "source",
    "workers",
    "observed",
    "fitted",
    "relative_residual",
    "serial",
    "parallel",
    "communication",
    "status",
    "clock",
)


@dataclass(frozen=True, kw_only=True)
class SpeedupLaw:
    """T(n) / T(1) in shares of the sequential time: none of them is negative."""

    serial: float
    parallel: float
    communication: float

    def time_ratio(self, workers: float) -> float:
        """T(n) / T(1)."""
        return self.serial + self.parallel / workers + self.communication * math.log2(workers)

    @property
    def saturation_workers(self) -> float:
        """The number of workers beyond which the law predicts no further gain; infinite without communication."""
        if self.communication == 0:
            return math.inf
        return max(1.0, self.parallel * math.log(2) / self.communication)

    @property
    def greatest_speedup(self) -> float:
        """The speed-up there; infinite if nothing limits it."""
        if self.communication > 0:
            return 1 / self.time_ratio(self.saturation_workers)
        return 1 / self.serial if self.serial > 0 else math.inf


def fit(time_ratios: Mapping[int, float]) -> SpeedupLaw | None:
    """Fit T(n) / T(1) by workers, relative errors weighing equally; None for fewer than three points."""
    if len(time_ratios) < MIN_POINTS:
        return None
    workers = np.array(list(time_ratios), dtype=float)
    observed = np.array(list(time_ratios.values()))
    terms = np.stack([np.ones_like(workers), 1 / workers, np.log2(workers)], axis=1)
    shares, _ = nnls(terms / observed[:, None], np.ones_like(observed))
    serial, parallel, communication = (float(share) for share in shares)
    return SpeedupLaw(serial=serial, parallel=parallel, communication=communication)


def time_ratios(efficiencies: Mapping[int, float]) -> dict[int, float]:
    """T(n) / T(1) from efficiencies in per cent, where there are any."""
    return {n: 100 / (n * value) for n, value in efficiencies.items() if math.isfinite(value)}


def strong_time_ratios(runs: StudyRuns) -> dict[int, float]:
    """This study's strong scaling: medians over the seeds that are paired with their own sequential runs."""
    return time_ratios({n: efficiency(runs, "strong", n).median for n in _strong_workers(runs)})


def _strong_workers(runs: StudyRuns) -> list[int]:
    return runs.workers("strong") if "strong" in runs.entries("strong") else []


def main(arguments: list[str]) -> None:
    """Read a study's folder and write tables/speedup_law.csv and .md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    options = parser.parse_args(arguments)
    write_law(load(options.study), options.study / "tables")


def write_law(runs: StudyRuns, folder: Path) -> None:
    """Write the law of this study and that of the paper, one below the other."""
    sources = [
        ("this study", runs.clock, strong_time_ratios(runs), _strong_workers(runs)),
        ("the paper, Table I", paper.CLOCK, time_ratios(paper.EFFICIENCY["strong"]), list(paper.EFFICIENCY["strong"])),
    ]
    rows: list[dict[str, Any]] = []
    sentences = []
    for source, clock, observed, tried in sources:
        law = fit(observed)
        rows += [{**row, "clock": clock} for row in _rows(source, observed, law)]
        sentences.append(f"{source[0].upper()}{source[1:]}: {_in_words(law, observed)}{_left_out(observed, tried)}")
    write_csv(folder / "speedup_law.csv", [{name: row.get(name) for name in COLUMNS} for row in rows])
    text = "T(n) / T(1) = T_S + T_P / n + c log2(n), fitted to the time to target of strong scaling."
    caption = "\n\n".join(
        [
            f"{text} Study {runs.name}; clock, device and data: {runs.label}. The paper's numbers: {paper.CLOCK}.",
            *sentences,
        ]
    )
    write_markdown(folder / "speedup_law.md", _readable(rows), caption)
    write_html(folder / "speedup_law.html", _readable(rows), caption)


def _rows(source: str, observed: Mapping[int, float], law: SpeedupLaw | None) -> list[dict[str, Any]]:
    if law is None:
        points = [{"source": source, "workers": n, "observed": ratio} for n, ratio in observed.items()]
        return [{**point, "status": "cannot be fitted"} for point in points or [{"source": source}]]
    shares = {"serial": law.serial, "parallel": law.parallel, "communication": law.communication}
    return [
        {
            "source": source,
            "workers": n,
            "observed": ratio,
            "fitted": law.time_ratio(n),
            "relative_residual": law.time_ratio(n) / ratio - 1,
            **shares,
            "status": "fitted",
        }
        for n, ratio in observed.items()
    ]


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
                "residual": percent(row.get("relative_residual", math.nan)),
            }
            for row in rows
        ]
    )


if __name__ == "__main__":
    run_command(main)
