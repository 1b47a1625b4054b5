"""Judge each of the paper's ten claims by a study's own runs: supported, contradicted, equivalent, or undecided."""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from strongscale.analysis.load import load
from strongscale.analysis.paper import CLAIMS
from strongscale.analysis.remarks import remarks
from strongscale.analysis.runs import StudyRuns, in_words
from strongscale.analysis.targets import at_target, targets_of
from strongscale.common.command import run as run_command
from strongscale.common.files import write_text
from strongscale.common.output import number, write_csv, write_html
from strongscale.inference.looks import LEVEL as LOOK_LEVEL
from strongscale.inference.outcome import UNDECIDED, holm
from strongscale.settings.margins import Margins
from strongscale.settings.margins import margins as in_force
from strongscale.verdicts import convergence_claims as convergence
from strongscale.verdicts import path_claims as path
from strongscale.verdicts.verdict import Verdict

log = logging.getLogger(__name__)

TESTS: dict[int, Callable[[StudyRuns, Margins], Verdict]] = {
    1: convergence.strong_reaches_target,
    2: path.strong_follows_sequential,
    3: convergence.weak_hardly_helps,
    4: convergence.linear_fails,
    5: convergence.warmup_limit,
    6: convergence.warmup_ceiling,
    7: convergence.strong_is_fastest,
    8: convergence.warmup_beats_weak,
    9: path.higher_rate_diverges,
    10: path.sharp_then_slow,
}
OF_A_TARGET = (1, 3, 4, 5, 6, 7, 8)
"""Claims that hang on which loss is to be reached."""
HALF, DOUBLE = 0.5, 2.0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim's verdict, among ten, and what it would be otherwise."""

    verdict: Verdict
    outcome: str
    """With the level shared by all claims of the study."""
    alone: str
    """Were it the only claim."""
    p: float
    """Adjusted for the others."""
    at_half: str
    at_double: str
    at_targets: tuple[str, ...] = ()
    """At easier targets, the easiest first."""


def main(arguments: list[str]) -> None:
    """Read a study's folder and write claims.csv and claims.md into it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of the study, results/<name>")
    options = parser.parse_args(arguments)
    runs = load(options.study)
    write_claims(runs, options.study)
    for remark in remarks(runs):
        log.warning("%s", remark)
        sys.stdout.write(f"{runs.name}: {remark}\n")  # the log goes into a file; whoever watches should know too


def verdicts(runs: StudyRuns, margins: Margins | None = None) -> dict[int, Verdict]:
    """The verdict on each claim, by its number."""
    return {number: test(runs, margins or in_force()) for number, test in TESTS.items()}


def outcomes(found: Mapping[int, Verdict], margins: Margins, looks: bool = False) -> dict[int, tuple[str, float]]:
    """Each claim's outcome and p-value among all; what is a matter of proof leaves the level to the others.

    Where looks decided how many seeds there are, p-values are as much larger as their level is smaller.
    """
    by_chance = [number for number, verdict in found.items() if not verdict.is_proof]
    factor = margins.level / LOOK_LEVEL if looks else 1.0
    adjusted = dict(zip(by_chance, holm([min(1.0, factor * found[number].p) for number in by_chance]), strict=True))
    each = {number: adjusted.get(number, verdict.p) for number, verdict in found.items()}
    return {number: (verdict.outcome(margins.level, each[number]), each[number]) for number, verdict in found.items()}


def judge(runs: StudyRuns) -> dict[int, Judged]:
    """The verdict on each claim with all that it hangs on."""
    margins = in_force()
    found = verdicts(runs)
    looks = runs.study.seeds == "auto"
    own = outcomes(found, margins, looks)
    half, double = (_outcomes_at(runs, margins.scaled(factor)) for factor in (HALF, DOUBLE))
    easier = [_outcomes_at(at_target(runs, target), margins) for target in targets_of(runs)[:-1]]
    return {
        number: Judged(
            verdict=verdict,
            outcome=own[number][0],
            p=own[number][1],
            alone=verdict.outcome(margins.level),
            at_half=half[number],
            at_double=double[number],
            at_targets=tuple(each[number] for each in easier) if number in OF_A_TARGET else (),
        )
        for number, verdict in found.items()
    }


def _outcomes_at(runs: StudyRuns, margins: Margins) -> dict[int, str]:
    found = outcomes(verdicts(runs, margins), margins, runs.study.seeds == "auto")
    return {number: outcome for number, (outcome, _) in found.items()}


def write_claims(runs: StudyRuns, folder: Path) -> None:
    """Write the verdicts as a table and as a page to read."""
    judged = judge(runs)
    rows = [
        {
            "number": key,
            "claim": CLAIMS[key],
            "verdict": one.outcome,
            "reason": one.verdict.reason,
            "p_among_all": one.p,
            "alone": one.alone,
            "leaning": one.verdict.leaning,
            "at_half_the_margins": one.at_half,
            "at_double_the_margins": one.at_double,
            "at_easier_targets": "; ".join(one.at_targets),
            "data": one.verdict.data,
        }
        for key, one in judged.items()
    ]
    write_csv(folder / "claims.csv", rows, runs.clock)
    opening = "\n\n".join(
        [f"The paper's claims, judged by study {runs.name}: {runs.label}.", rules(runs), *remarks(runs)]
    )
    readable = [
        {
            "claim": f"{key}. {CLAIMS[key]}",
            "verdict": _headline(one),
            "why": one.verdict.reason,
            "otherwise": _otherwise(one),
            "looked at": one.verdict.data,
        }
        for key, one in judged.items()
    ]
    write_html(folder / "claims.html", pd.DataFrame(readable), opening)
    sections = [opening, *(_section(key, one) for key, one in judged.items())]
    write_text(folder / "claims.md", "\n\n".join(sections) + "\n")


def _section(key: int, one: Judged) -> str:
    otherwise = _otherwise(one)
    hangs_on = f" {otherwise[0].upper()}{otherwise[1:]}." if otherwise else ""
    return (
        f"**{key}. {CLAIMS[key]}**\n{_headline(one)}. {one.verdict.reason}{hangs_on} (Looked at: {one.verdict.data}.)"
    )


def _headline(one: Judged) -> str:
    """The outcome; where it is open, what it would be alone or which way it leans; and what chance has to do with it."""
    text = f"{one.outcome[0].upper()}{one.outcome[1:]}"
    if one.verdict.is_proof:
        return text
    if one.outcome == UNDECIDED and one.alone != UNDECIDED:
        text += f" among ten claims; alone it would be {one.alone}"
    elif one.outcome == UNDECIDED:
        text += f"; {one.verdict.leaning}"
    return f"{text} (p = {number(one.p)})"


def _otherwise(one: Judged) -> str:
    """What the verdict would be by other margins, and at easier targets."""
    if one.verdict.is_proof:
        return ""
    text = f"at half the margins: {one.at_half}; at double: {one.at_double}"
    return f"{text}; at easier targets: {in_words(one.at_targets)}" if one.at_targets else text


def rules(runs: StudyRuns) -> str:
    """How verdicts are made, and by which margins."""
    margins, targets = in_force(), targets_of(runs)
    text = (
        "A claim is supported if each statement of it is, contradicted if one is, equivalent if a tie is all that keeps it "
        f"from being supported, else undecided; the level, {margins.level:g} on two sides, is shared by all claims (Holm). "
        f"Times count as different if they differ by more than a factor of {margins.faster:g}: moderated t on log-ratios, "
        "seed by seed, or where a run never arrived, the share of seeds. A run that was stopped before it arrived leaves a "
        f"claim open. The margins ({margins.digest}) are those of workflow/strongscale/settings/margins.toml; {_age(runs)}."
    )
    if runs.study.seeds == "auto":
        text += (
            f" Looks decided how many seeds there are, so p-values are {margins.level / LOOK_LEVEL:g} times as large."
        )
    if len(runs.study.all_seeds) == 1:
        text += " With one seed there is no interval, and what hangs on chance is undecided."
    if targets:
        easier = f" Easier ones beside it: {in_words(map(number, targets[:-1]))}." if targets[:-1] else ""
        text += f"\n\nThe target: a validation loss of {number(targets[-1])}.{easier}"
    return text


def _age(runs: StudyRuns) -> str:
    """Whether the results were made when these margins stood already."""
    cells = {run.cell: run.result.margins for run in runs.runs}
    others = sum(digest != in_force().digest for digest in cells.values())
    if not others:
        return "they stood before the first of these results was made"
    return f"{others} of {len(cells)} results were made before they stood, so that they weren't stated blindly"


if __name__ == "__main__":
    run_command(main)
