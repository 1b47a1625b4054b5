"""The law of batch size in words and tables: the answer first, then what it stands on."""

import math

import numpy as np

from strongscale.advice.answer import Answer
from strongscale.advice.domain import MOST_TIMES, Domain, Rise
from strongscale.advice.held_out import Band
from strongscale.advice.law import FEWEST_BATCHES, Fitted
from strongscale.advice.law_tables import asked_table, batch_table, held_out_table, in_words, markdown, number
from strongscale.common.output import percent

LEAST_P = 0.001
SURE = 0.05

HELD_OUT = (
    "Fitted to the batches up to one, the law predicts larger ones, with the band that could be given then. Beyond "
    f"{MOST_TIMES:g} times the largest batch of a fit it would have refused; these rows show what that spares."
)


def page(told: Answer) -> str:
    """All of it, as Markdown."""
    parts = ["# The law of batch size", " ".join(sentences(told)), markdown(batch_table(told))]
    parts += ["\n".join(f"- {remark}" for remark in remarks(told))]
    if told.asked:
        parts += ["## Asked", markdown(asked_table(told))]
    if told.tested and told.tested.held_out:
        parts += ["## On batches that it hadn't seen", HELD_OUT, markdown(held_out_table(told))]
    return "\n\n".join(part for part in parts if part) + "\n"


def sentences(told: Answer) -> list[str]:
    """The two that answer."""
    if told.tested is None:
        left = len(told.domain.runs.sizes)
        return [
            f"These runs have no law of batch size: it is fitted to at least {FEWEST_BATCHES} batch sizes, and {left} are left.",
            "Why: " + "; ".join(_failures(told)) + ".",
        ]
    return [_law(told.tested.band.fitted, told.domain), _turn(told)]


def _law(fitted: Fitted, domain: Domain) -> str:
    batch, steps, samples = fitted.critical_batch, fitted.least_steps, fitted.least_samples
    if batch.low > 0 and math.isfinite(batch.high):
        outside = (
            "" if domain.least <= batch.value <= domain.most else ", by the law alone, for that is outside the data"
        )
        return (
            f"However large the batch, S_min = {in_words(steps)} steps are left, and at a batch of B_c = {in_words(batch)} samples they "
            f"are twice as many{outside}."
        )
    if batch.low > 0:
        return (
            f"The data don't show where larger batches stop saving steps: B_c is at least {number(batch.low)} samples, S_min at "
            f"most {number(steps.high)} steps; the fewest samples to the target are {in_words(samples)}."
        )
    if math.isfinite(batch.high):
        return (
            f"The data don't show where larger batches begin to save no steps: B_c is at most {number(batch.high)} samples; "
            f"S_min is {in_words(steps)} steps."
        )
    return "The data say nothing of B_c, nor of what larger batches save: they fit both of the law's limits."


def _turn(told: Answer) -> str:
    """From which batch a doubling saves less than the share asked for; a number only among the measured batches."""
    turn, share = told.turn, f"{100 * told.least_gain:g} %"
    smallest, largest = told.domain.runs.sizes[[0, -1]]
    low = f"{number(turn.low)}" if turn.low >= smallest else "below the data"
    high = f"{number(turn.high)}" if turn.high <= largest else "beyond the data"
    if turn.low > largest:
        return f"By the law a doubling saves at least {share} of the steps at all measured batches, up to {largest:g}."
    if turn.high < smallest:
        return (
            f"By the law a doubling saves less than {share} of the steps at all measured batches, from {smallest:g} on."
        )
    if smallest <= turn.value <= largest:
        return f"From a batch of {number(turn.value)} ({low} to {high}) on a doubling saves less than {share} of the steps."
    return f"From which batch on a doubling saves less than {share} of the steps the data don't tell: it lies from {low} to {high}."


def remarks(told: Answer) -> list[str]:
    """What the answer stands on, and where it doesn't hold."""
    said = [f"{one[0].upper()}{one[1:]}." for one in _failures(told)] if told.tested else []
    if told.bend and told.bend.is_beyond_noise:
        said.append(
            f"The runs bend otherwise than the law: (B_c / B) to the power {told.bend.power:.2g} fits them better (p = "
            f"{told.bend.p:.2g}). S_min and B_c are then wrong by more than their intervals say; steps near the data are not."
        )
    said += [_doubt(rise) for rise in told.domain.rises if math.isnan(rise.p)]
    if stopped := int((~told.domain.runs.reached_N).sum()):
        said.append(
            f"{stopped} of the fitted runs ended before the target: they are taken for runs that needed more steps than they had, "
            "not for runs that would never arrive."
        )
    if told.tested:
        band = told.tested.band
        said += [_noise(band.fitted), _band(band)]
        fails = told.domain.fails_from
        most = f"below {fails:g}" if fails <= told.domain.most else f"{told.domain.most:g}"
        said.append(
            f"The law is asked from a batch of {told.domain.least:g} to {most}; further out it gives no number."
        )
    return said


def _failures(told: Answer) -> list[str]:
    """Where the law doesn't hold, or can't be asked."""
    failures = [
        f"at a batch of {one.batch:g} no run reached the target, in up to {number(one.steps)} steps{_beside_law(told, one.batch, one.steps)}"
        for one in told.domain.unreached
    ]
    failures += [
        f"steps rise from {number(rise.from_steps)} at a batch of {rise.from_batch:g} to {number(rise.to_steps)} at "
        f"{rise.to_batch:g}, beyond noise (p = {rise.p:.2g}): the law doesn't hold there, and is fitted to smaller batches"
        for rise in told.domain.rises
        if rise.is_beyond_noise
    ]
    return failures


def _beside_law(told: Answer, batch: float, steps: float) -> str:
    """Whether the law would have had a run arrive by then."""
    if told.tested is None or batch > told.domain.most or batch < told.domain.least:
        return ""
    expected = told.tested.band.steps(batch)
    if expected.high < steps:
        return f", though the law has {in_words(expected)}: it doesn't hold there"
    return f"; the law has {in_words(expected)}, so they may have had too few"


def _doubt(rise: Rise) -> str:
    return (
        f"Steps rise from {number(rise.from_steps)} at a batch of {rise.from_batch:g} to {number(rise.to_steps)} at "
        f"{rise.to_batch:g}: with one run a batch nobody can tell whether that is noise; by the law they never rise."
    )


def _noise(fitted: Fitted) -> str:
    off = float(np.sqrt(np.mean((fitted.logs_K - fitted.log_steps(fitted.runs.sizes)) ** 2)))
    batches = f"batches lie {percent(math.expm1(off))} off the law"
    if not fitted.has_replicates:
        return f"Root mean square: {batches}. With one run a batch that is all that tells what is noise."
    told = f"Root mean square: {batches}, runs {percent(math.expm1(fitted.spread))} off their batch's mean"
    p = fitted.errors.misfit_p
    if math.isnan(p):
        return f"{told}."
    surprise = f"p = {p:.2g}" if p >= LEAST_P else f"p below {LEAST_P:g}"
    if fitted.errors.are_of_batches:
        verdict = "don't" if p < SURE else "may not"
        return f"{told}. Runs {verdict} explain it ({surprise}): intervals take whole batches for chance."
    return f"{told}. Runs explain it ({surprise})."


def _band(band: Band) -> str:
    own = "The band of one more run is the law's own, which holds 95 % if the law is true"
    if not band.tested:
        return f"{own}; no batch could be held out to test it."
    stretched = f", stretched {number(band.stretch)} times" if band.stretch > 1 else ""
    count = "1 batch" if band.tested == 1 else f"{band.tested} batches"
    return (
        f"{own}{stretched}. As wide as that it would have held all runs of the {count} that came next after a cut. If the next "
        f"batch is like these, it holds that one's runs in at least {band.tested} of {band.tested + 1} cases: the data back no "
        "more."
    )
