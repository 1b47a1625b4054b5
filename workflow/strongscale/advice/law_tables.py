"""The tables of the law of batch size, and how its numbers are written."""

import math

import pandas as pd

from strongscale.advice.answer import Answer, mean_steps
from strongscale.advice.domain import MOST_TIMES
from strongscale.advice.law import Interval
from strongscale.common import output


def batch_table(told: Answer) -> pd.DataFrame:
    """A row a measured batch."""
    rows = []
    for batch in told.runs.sizes:
        here_N = told.runs.batches_N == batch
        reached, steps = int(told.runs.reached_N[here_N].sum()), mean_steps(told.runs, batch)
        at_least = "" if reached == here_N.sum() else "more than "
        row = {"batch": f"{batch:g}", "runs": str(here_N.sum()), "reached": str(reached)}
        row |= {"steps": f"{at_least}{number(steps)}", "law": "", "off": "", "a run lies in": ""}
        if told.tested and batch in told.domain.runs.sizes:
            fit = told.tested.band.steps(batch)
            off = "" if at_least else f"{100 * (steps / fit.value - 1):+.1f} %"
            row |= {"law": number(fit.value), "off": off, "a run lies in": f"{number(fit.low)} to {number(fit.high)}"}
        rows.append(row)
    return pd.DataFrame(rows)


def asked_table(told: Answer) -> pd.DataFrame:
    """A row a batch that was asked for."""
    rows = []
    for batch in told.asked:
        if (why := told.why_not(batch)) or told.tested is None:
            rows.append({"batch": f"{batch:g}", "steps": why, "samples": ""})
        else:
            steps = told.tested.band.steps(batch)
            rows.append({"batch": f"{batch:g}", "steps": in_words(steps), "samples": in_words(steps.times(batch))})
    return pd.DataFrame(rows)


def held_out_table(told: Answer) -> pd.DataFrame:
    """A row for each cut and larger batch."""
    assert told.tested is not None
    return pd.DataFrame(
        [
            {
                "fitted up to": f"{row.cut:g}",
                "batch": f"{row.batch:g}" + (" (too far)" if row.batch > MOST_TIMES * row.cut else ""),
                "predicted steps": in_words(row.predicted),
                "measured": number(row.measured),
                "error": f"{100 * row.relative_error:+.1f} %",
                "runs in the band": f"{row.inside} of {row.runs}",
            }
            for row in told.tested.held_out
        ]
    )


def in_words(found: Interval) -> str:
    """A number with its interval, or the side on which the data bound it."""
    if found.low == 0 and math.isinf(found.high):
        return "anything"
    if found.low == 0:
        return f"at most {number(found.high)}"
    if math.isinf(found.high):
        return f"at least {number(found.low)}"
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def markdown(table: pd.DataFrame) -> str:
    """As it stands."""
    return str(table.to_markdown(index=False, disable_numparse=True))


def number(value: float) -> str:
    """Four significant digits, of large numbers too: samples run into millions."""
    return output.number(float(f"{value:.4g}"))
