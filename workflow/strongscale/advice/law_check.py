"""How often the law's intervals and bands hold the truth, by simulation: `python -m strongscale.advice law-check`.

Made-up runs of a known truth are put through what measured ones are. Truths other than the law are among them, for no data follow it.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from strongscale.advice.answer import answer
from strongscale.advice.domain import MOST_TIMES
from strongscale.advice.law import Interval
from strongscale.advice.runs import Numbers, Runs
from strongscale.common.errors import UserError

LEAST_STEPS, FIRST_BATCH = 500.0, 32.0
SIZES = (3, 5, 8)
SEEDS = (1, 3)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """How runs come about."""

    name: str
    critical: Callable[[Numbers], float] = lambda batches_K: float(np.sqrt(batches_K[0] * batches_K[-1]))
    """B_c, for some batch sizes."""
    power: float = 1.0
    """Of B_c / B; the law has 1."""
    spread: tuple[float, float] = (0.1, 0.1)
    """Of log steps from run to run, at the smallest and at the largest batch."""
    shared: float = 0.0
    """The same of what all runs of a batch have in common, as a rate tuned for it."""

    def steps(self, batches_N: Numbers, critical: float, random: np.random.Generator) -> Numbers:
        """Of runs at rising batches."""
        _, places_N = np.unique(batches_N, return_inverse=True)
        low, high = self.spread
        spreads_N = low + (high - low) * places_N / max(1, places_N.max())
        off_N = random.normal(0, 1, len(batches_N)) * spreads_N
        off_N += random.normal(0, self.shared, places_N.max() + 1)[places_N]
        steps_N: Numbers = LEAST_STEPS * (1 + (critical / batches_N) ** self.power) * np.exp(off_N)
        return steps_N


TRUTHS = (
    Truth(name="the law, B_c amid the batches"),
    Truth(name="the law, B_c 10 times the largest", critical=lambda batches_K: 10 * float(batches_K[-1])),
    Truth(name="the law, B_c a tenth of the smallest", critical=lambda batches_K: float(batches_K[0]) / 10),
    Truth(name="the law, larger batches spread more", spread=(0.05, 0.2)),
    Truth(name="the law, batches off by 10 % besides", shared=0.1),
    Truth(name="not the law: (B_c / B) to the power 0.7", power=0.7),
)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What one made-up table came to."""

    least_steps_held: bool
    critical_batch_held: bool
    open: bool
    """Whether the data bound B_c on one side at most."""
    bent: bool
    """Whether the runs are said to bend otherwise than the law."""
    new_run_held: bool
    next_batch_held: bool
    """All of its runs; the next batch is as far away as the law may be asked."""
    level: float


def draw(truth: Truth, sizes: int, seeds: int, random: np.random.Generator) -> Drawn | None:
    """One table, and whether what is said of it is true; None where nothing is said."""
    batches_K = np.array([FIRST_BATCH * 2.0**place for place in range(sizes + 1)])
    critical = truth.critical(batches_K[:-1])
    batches_N = np.repeat(batches_K, seeds)
    steps_N = truth.steps(batches_N, critical, random)
    past, coming_S = slice(0, sizes * seeds), steps_N[sizes * seeds :]
    told = answer(Runs(batches_N=batches_N[past], steps_N=steps_N[past], reached_N=np.ones(sizes * seeds, dtype=bool)))
    asked = MOST_TIMES * float(batches_K[-2])
    if told.tested is None or told.why_not(asked):
        return None
    fitted, steps = told.tested.band.fitted, told.tested.band.steps(asked)
    inside_S = (steps.low <= coming_S) & (coming_S <= steps.high)
    batch = fitted.critical_batch
    return Drawn(
        least_steps_held=_holds(fitted.least_steps, LEAST_STEPS),
        critical_batch_held=_holds(batch, critical),
        open=batch.low == 0 or not np.isfinite(batch.high),
        bent=told.bend is not None and told.bend.is_beyond_noise,
        new_run_held=bool(inside_S[0]),
        next_batch_held=bool(inside_S.all()),
        level=told.tested.band.level,
    )


def row(truth: Truth, sizes: int, seeds: int, tables: int) -> dict[str, str]:
    """Shares over many tables; those of what is said, where something is."""
    random = np.random.default_rng([sizes, seeds])
    drawn = [draw(truth, sizes, seeds, random) for _ in range(tables)]
    found = [one for one in drawn if one]

    def share(name: str) -> str:
        return f"{100 * float(np.mean([getattr(one, name) for one in found])):.0f} %" if found else ""

    return {
        "truth": truth.name,
        "batches": str(sizes),
        "runs each": str(seeds),
        "no answer": f"{100 * (1 - len(found) / tables):.0f} %",
        "S_min held": share("least_steps_held"),
        "B_c held": share("critical_batch_held"),
        "B_c open": share("open"),
        "said to bend otherwise": share("bent"),
        "new run in band": share("new_run_held"),
        "next batch in band": share("next_batch_held"),
        "claimed, at least": share("level"),
    }


def table(tables: int, truths: Sequence[Truth] = TRUTHS) -> pd.DataFrame:
    """A row for each truth, number of batches and of runs."""
    return pd.DataFrame([row(truth, sizes, seeds, tables) for truth in truths for sizes in SIZES for seeds in SEEDS])


def main(arguments: list[str]) -> None:
    """Simulate how often the law of batch size says what is true; print a table."""
    parser = argparse.ArgumentParser(prog="strongscale.advice law-check", description=main.__doc__)
    parser.add_argument("--tables", type=int, default=400, help="made-up tables for each row (400)")
    options = parser.parse_args(arguments)
    if options.tables < 1:
        raise UserError(f"--tables: {options.tables}; allowed: at least 1")
    sys.stdout.write(f"{table(options.tables).to_markdown(index=False, disable_numparse=True)}\n")


def _holds(found: Interval, truth: float) -> bool:
    return found.low <= truth <= found.high
