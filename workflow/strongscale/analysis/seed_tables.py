"""Tables of what seeds say: ratios with intervals, the three targets side by side, and what to decide by."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.analysis.decisions import Option, options_of
from strongscale.analysis.ratios import contrast, ratio_of, spread_of
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.statistics import time_to_target
from strongscale.analysis.targets import at_target, targets_of
from strongscale.common.output import number, write_csv, write_readable
from strongscale.inference import shares
from strongscale.inference.contrast import Contrast
from strongscale.settings.margins import margins

SEQUENTIAL = "one worker"


def write_seed_tables(runs: StudyRuns, folder: Path) -> None:
    """Write ratios, targets and decisions."""
    _write_ratios(runs, folder / "ratios")
    _write_targets(runs, folder / "targets")
    _write_decisions(runs, folder / "decisions")


def _label(runs: StudyRuns) -> str:
    words = "one seed, so there are no intervals" if len(runs.study.all_seeds) == 1 else runs.num_seeds
    return f"Study {runs.name}: {words}. Clock, device and data: {runs.label}."


def _write_ratios(runs: StudyRuns, path: Path) -> None:
    """How many times as fast as one worker, and as strong scaling at as many workers, each entry is."""
    spread, rows, readable = spread_of(runs), [], []
    strong = next(iter(runs.entries("strong")), None)
    for workers in (count for count in runs.all_workers if count > 1):
        for line in runs.study.strategies:
            own = runs.of(line, workers)
            rivals = {SEQUENTIAL: runs.sequential}
            if strong and strong != line:
                rivals[strong] = runs.of(strong, workers)
            found = {rival: contrast(own, theirs, spread) for rival, theirs in rivals.items() if own and theirs}
            rows += [_ratio_row(line, workers, rival, one) for rival, one in found.items()]
            if found:
                texts = {f"times as fast as {rival}": _ratio_text(one) for rival, one in found.items()}
                readable.append({"strategy": line, "workers": str(workers)} | texts)
    title = (
        "How many times as fast, seed by seed: the geometric mean with the interval of a moderated t "
        f"({100 * (1 - margins().level):g} %); times between the ends of epochs, on the logarithm of the least loss"
    )
    write_csv(path.with_suffix(".csv"), rows, runs.clock, ["strategy", "workers", "against"])
    write_readable(path, pd.DataFrame(readable).fillna(""), f"{title}. {_label(runs)}")


def _ratio_row(line: str, workers: int, rival: str, found: Contrast) -> dict[str, Any]:
    low, high = found.interval(1 - margins().level)
    return {
        "strategy": line,
        "workers": workers,
        "against": rival,
        "times_as_fast": math.exp(found.mean) if found.values else None,
        "interval_low": math.exp(low),
        "interval_high": math.exp(high),
        "is_computed": found.is_computed,
        "num_pairs": len(found.pairs),
        "num_faster": sum(pair.low > 0 for pair in found.pairs),
        "num_slower": sum(pair.high < 0 for pair in found.pairs),
    }


def _ratio_text(found: Contrast) -> str:
    if found.values:
        return ratio_of(found, 1 - margins().level)
    faster, slower = sum(pair.low > 0 for pair in found.pairs), sum(pair.high < 0 for pair in found.pairs)
    return f"faster in {faster}, slower in {slower} of {len(found.pairs)}; not all have a ratio"


def _write_targets(runs: StudyRuns, path: Path) -> None:
    """The median time to each of three targets, read from the same runs."""
    targets = targets_of(runs)
    there = {target: at_target(runs, target) for target in targets}
    rows, readable = [], []
    for line in runs.study.strategies:
        for workers in runs.workers(line):
            texts = {"strategy": line, "workers": str(workers)}
            for target, judged in there.items():
                summary = time_to_target(judged.of(line, workers))
                rows.append(
                    {
                        "strategy": line,
                        "workers": workers,
                        "target_loss": target,
                        "median_s": summary.median,
                        "num_reached": summary.num_converged,
                        "num_runs": summary.num_runs,
                    }
                )
                reached = f"{summary.num_converged} of {summary.num_runs}"
                texts[f"loss {number(target)}"] = number(summary.median) or f"{reached} reached it"
            readable.append(texts)
    title = "Seconds to the study's target, the last, and to two easier ones (medians), so that no verdict hangs on one"
    if not targets:
        title = "This study has no target, so there is nothing to compare"
    write_csv(path.with_suffix(".csv"), rows, runs.clock, ["strategy", "workers", "target_loss"])
    write_readable(path, pd.DataFrame(readable if targets else []), f"{title}. {_label(runs)}")


def _write_decisions(runs: StudyRuns, path: Path) -> None:
    """What to decide by: time, what it costs in GPU-hours, and how likely the target is reached at all."""
    options = options_of(runs)
    rows = [_decision_row(option) for option in options]
    readable = [_decision_text(option) for option in options]
    title = (
        "What to decide by. Expected: all seconds spent, by the runs that arrived: what somebody waits who starts again after "
        "each failure. GPU-hours: expected time times workers. Share: of seeds that reach the target, with Jeffreys' "
        "interval. On the front: no other option is both faster and cheaper"
    )
    note = "Where the winner changes with network and device: the table of other machines."
    write_csv(path.with_suffix(".csv"), rows, runs.clock, ["strategy", "workers"])
    write_readable(path, pd.DataFrame(readable), f"{title}. {_label(runs)} {note}")


def _decision_row(option: Option) -> dict[str, Any]:
    low, high = shares.interval(option.num_reached, option.num_runs)
    return {
        "strategy": option.line,
        "workers": option.workers,
        "median_s": option.time.median,
        "smallest_s": option.time.low,
        "largest_s": option.time.high,
        "expected_s": option.expected_s,
        "gpu_hours": option.gpu_hours,
        "num_reached": option.num_reached,
        "num_runs": option.num_runs,
        "share_low": low,
        "share_high": high,
        "is_on_front": option.is_on_front,
    }


def _decision_text(option: Option) -> dict[str, str]:
    low, high = shares.interval(option.num_reached, option.num_runs)
    ends = (number(option.time.low), number(option.time.high) or "not reached")
    interval = f" [{', '.join(ends)}]" if option.num_runs > 1 and option.time.reached else ""
    return {
        "strategy": option.line,
        "workers": str(option.workers),
        "median [smallest, largest], s": f"{number(option.time.median) or option.time.status}{interval}",
        "expected, s": number(option.expected_s) or "never",
        "GPU-hours": number(option.gpu_hours) or "",
        "share reached": f"{option.num_reached}/{option.num_runs} [{low:.2f}, {high:.2f}]",
        "on the front": "yes" if option.is_on_front else "",
    }
