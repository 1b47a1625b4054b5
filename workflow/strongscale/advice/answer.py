"""What measured runs answer by the law of batch size: to a program, and to the page that says it in words."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from strongscale.advice.bend import Bend, bend_of
from strongscale.advice.domain import Domain, domain_of
from strongscale.advice.held_out import Tested, hold_out
from strongscale.advice.law import FEWEST_BATCHES, Interval, batch_of_gain
from strongscale.advice.runs import Runs


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The law of some runs, where there is one, and what was asked of it."""

    runs: Runs
    """All of them."""
    domain: Domain
    tested: Tested | None
    """None where too few batches are left to fit a law to."""
    least_gain: float
    """The share of steps that a doubling of the batch ought to save."""
    asked: tuple[float, ...] = ()
    """Batches."""

    @property
    def bend(self) -> Bend | None:
        """Whether the runs bend as the law does; None where too few could tell."""
        return bend_of(self.tested.band.fitted) if self.tested else None

    @property
    def turn(self) -> Interval:
        """The batch from which a doubling saves less."""
        assert self.tested is not None
        return batch_of_gain(self.tested.band.fitted.critical_batch, self.least_gain)

    def why_not(self, batch: float) -> str:
        """Why there is no number for a batch; empty where there is."""
        return self.domain.why_not(batch) if self.tested else "there is no law of these runs"


def answer(runs: Runs, least_gain: float = 0.1, asked: tuple[float, ...] = ()) -> Answer:
    """Ask the runs; whoever calls has seen to three batch sizes, positive numbers, and a gain between 0 and a half."""
    domain = domain_of(runs)
    found = hold_out(domain.runs) if len(domain.runs.sizes) >= FEWEST_BATCHES else None
    return Answer(runs=runs, domain=domain, tested=found, least_gain=least_gain, asked=asked)


def summary(told: Answer) -> dict[str, Any]:
    """For a program: null is what the data leave open."""
    found = told.tested
    law = _law(told, found) if found else None
    return {
        "law": law,
        "least_gain": told.least_gain,
        "asked": [_asked(told, batch) for batch in told.asked],
        "rises": [{**vars(rise), "p": _finite(rise.p)} for rise in told.domain.rises],
        "unreached": [vars(one) for one in told.domain.unreached],
        "fails_from_batch": _finite(told.domain.fails_from),
    }


def _law(told: Answer, found: Tested) -> dict[str, Any]:
    fitted = found.band.fitted
    return {
        "least_steps": _interval(fitted.least_steps),
        "critical_batch": _interval(fitted.critical_batch),
        "least_samples": _interval(fitted.least_samples),
        "batch_of_least_gain": _interval(told.turn),
        "batches": fitted.runs.sizes.tolist(),
        "asked_from_batch": told.domain.least,
        "asked_to_batch": told.domain.most,
        "spread_log_steps": _finite(fitted.spread),
        "misfit_p": _finite(fitted.errors.misfit_p),
        "bend": vars(told.bend) if told.bend else None,
        "band": {"stretch": found.band.stretch, "held_out_batches": found.band.tested, "level": found.band.level},
        "held_out": [
            {
                "fitted_to_batch": row.cut,
                "batch": row.batch,
                "predicted_steps": _interval(row.predicted),
                "measured_steps": row.measured,
                "relative_error": row.relative_error,
                "runs": row.runs,
                "runs_inside_band": row.inside,
            }
            for row in found.held_out
        ],
    }


def _asked(told: Answer, batch: float) -> dict[str, Any]:
    if why := told.why_not(batch):
        return {"batch": batch, "steps": None, "why_not": why}
    assert told.tested is not None
    return {"batch": batch, "steps": _interval(told.tested.band.steps(batch)), "why_not": None}


def _interval(found: Interval) -> dict[str, float | None]:
    """An end at 0 is as open as one at infinity."""
    return {name: _finite(value) or None for name, value in vars(found).items()}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def mean_steps(runs: Runs, batch: float) -> float:
    """The geometric mean of the steps of a batch's runs."""
    return float(np.exp(np.log(runs.steps_N[runs.batches_N == batch]).mean()))
