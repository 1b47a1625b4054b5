"""How often verdicts are right, by simulation: made-up studies whose truth is known, judged by the rules of the page of claims.

Logarithms of times to target are drawn from a normal distribution, seed by seed. All contrasts of a study are held against the same
runs, as in real studies all strategies are.
"""

import argparse
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from strongscale.common.command import run
from strongscale.common.files import write_text
from strongscale.inference import looks
from strongscale.inference.contrast import of_numbers
from strongscale.inference.outcome import (
    CONTRADICTED,
    EQUIVALENT,
    SUPPORTED,
    UNDECIDED,
    Evidence,
    outcome_of,
    p_of,
    together,
)
from strongscale.inference.spread import pooled
from strongscale.settings.config import LOOKS
from strongscale.settings.looks import next_look
from strongscale.settings.margins import margins

OUTCOMES = (SUPPORTED, CONTRADICTED, EQUIVALENT, UNDECIDED)
DECISIONS = (looks.ABOVE, looks.BELOW, looks.WITHIN, None)
CONTRASTS, SPREAD = 7, 0.1
SEEDS = (1, 3, 5, 8, 12, 30)
OPENING = f"""# How often verdicts are right

Made by `python -m benchmarks.verdicts`; do not edit. Made-up studies, whose truth is known, are judged by the rules of the page of
claims: "faster by more than a factor of {margins().faster:g} in each of {CONTRASTS} contrasts", where the logarithms of the ratios
spread by {SPREAD:g} from seed to seed, half of their variance from the run that all contrasts have in common. The level is {margins().level:g} on two sides, for one claim by itself.
"""
LOOKING = f"""
## Looks

With `seeds: auto` each contrast is looked at after {", ".join(map(str, LOOKS[:-1]))} and {LOOKS[-1]} seeds, at a level of
{looks.LEVEL:g}, and has no more of them once it is decided. Six contrasts a study; the shares of all contrasts, and the seeds that
they took. At a ratio of {margins().faster:g}, the margin itself, neither "faster" nor "as fast" is right: what is said there is the
error rate.
"""


def log_ratios(random: np.random.Generator, ratio: float, spread: float, shape: tuple[int, int]) -> np.ndarray:
    """Contrasts x seeds: the logarithm of the ratio with the noise of each run, and of the one that all are held against."""
    noise = spread / math.sqrt(2)
    return math.log(ratio) + random.normal(0, noise, shape) - random.normal(0, noise, shape[1])


def claims(ratio: float, seeds: int, studies: int, contrasts: int = CONTRASTS) -> dict[str, float]:
    """The shares of the outcomes of a claim about several contrasts that all have this ratio."""
    random, limit = np.random.default_rng(2), math.log(margins().faster)
    counts: Counter[str] = Counter()
    for _ in range(studies):
        values = log_ratios(random, ratio, SPREAD, (contrasts, seeds)).tolist()
        spread = pooled(values)
        found = [of_numbers(each, spread) for each in values]
        evidence = together([Evidence(one.p_above(limit), one.p_below(-limit), one.p_within(limit)) for one in found])
        counts[outcome_of(evidence, p_of(evidence), margins().level)] += 1
    return {name: counts[name] / studies for name in OUTCOMES}


def every_seed(ratio: float, seeds: int, studies: int) -> float:
    """How often a claim would hold if every seed had to be faster in every contrast, by whatever little."""
    random = np.random.default_rng(2)
    values = np.stack([log_ratios(random, ratio, SPREAD, (CONTRASTS, seeds)) for _ in range(studies)])
    return float((values > 0).all(axis=(1, 2)).mean())


def decided(contrasts: np.ndarray) -> tuple[list[str | None], list[int]]:
    """What each of some contrasts is decided to be, and with how many seeds, as looks go on where they are open."""
    limit, seeds = math.log(margins().faster), [LOOKS[0]] * len(contrasts)
    found: list[str | None] = [None] * len(contrasts)
    while True:
        spread = pooled(values[:count].tolist() for values, count in zip(contrasts, seeds, strict=True))
        for place, values in enumerate(contrasts):
            if found[place] is None:
                found[place] = looks.decision(of_numbers(values[: seeds[place]].tolist(), spread), limit)
        more = {place: next_look(seeds[place]) for place, one in enumerate(found) if one is None}
        if not any(more.values()):
            return found, seeds
        for place, count in more.items():
            seeds[place] = count or seeds[place]


def looking(ratio: float, spread: float, studies: int) -> tuple[dict[str | None, float], float]:
    """The shares of the decisions of six contrasts that all have this ratio, and the seeds that each took."""
    random, every, used = np.random.default_rng(3), [], []
    for _ in range(studies):
        found, seeds = decided(log_ratios(random, ratio, spread, (6, LOOKS[-1])))
        every += found
        used += seeds
    return {one: every.count(one) / len(every) for one in DECISIONS}, float(np.mean(used))


def page(studies: int) -> str:
    """Both tables, with what they are of."""
    sections = [OPENING]
    for ratio, what in ((1.2, "A true claim"), (1.0, "A tie"), (1 / 1.2, "A false claim")):
        rows = [{"seeds": seeds, **_percent(claims(ratio, seeds, studies))} for seeds in SEEDS]
        for row in rows:
            row["were every seed to hold"] = f"{100 * every_seed(ratio, int(str(row['seeds'])), 20 * studies):.0f} %"
        sections.append(f"\n## {what}: a ratio of {ratio:.3g}\n\n{_table(rows)}\n")
    rows = []
    for spread in (0.05, 0.1, 0.3):
        for ratio in (1.0, 1.1, 1.2, 1.5, 2.0):
            shares, seeds = looking(ratio, spread, studies)
            named = _percent({name or UNDECIDED: share for name, share in shares.items()})
            rows.append({"spread": f"{spread:g}", "ratio": f"{ratio:g}", **named, "seeds": f"{seeds:.1f}"})
    return "".join([*sections, LOOKING, "\n", _table(rows), "\n"])


def _percent(shares: dict[str, float]) -> dict[str, object]:
    return {name: f"{100 * share:.0f} %" for name, share in shares.items()}


def _table(rows: list[dict[str, object]]) -> str:
    return str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


def main(arguments: list[str]) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="benchmarks.verdicts", description=__doc__)
    parser.add_argument("--studies", type=int, default=200, help="made-up studies for each number")
    parser.add_argument("--output", type=Path, default=Path("docs/verdicts_simulated.md"))
    options = parser.parse_args(arguments)
    write_text(options.output, page(options.studies))


if __name__ == "__main__":
    run(main)
