"""Advice on a study in words: the answer in two sentences, a table by strategy and workers, and why."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from strongscale.advice.answer import Answer
from strongscale.advice.forecast import LEAST_GAIN, STRONG, Choice, best_of, may_be_faster
from strongscale.advice.law import Interval
from strongscale.common.output import number, percent

LIMITS = {
    "passes": "shares of a minibatch so small that a pass is mostly overhead",
    "update": "the optimizer's step, which every worker does whole",
    "network": "the network",
    "evaluation": "the evaluation",
    "other": "what every worker does besides in each epoch",
}


def answer_of(found: Sequence[Choice], network: str) -> str:
    """The two sentences."""
    best, most = best_of(found), max(choice.workers for choice in found)
    if found[0].epochs is None:
        return (
            f"First of all, {found[0].why_not}: a lower rate, more epochs or an easier target come before more workers. "
            f"{beyond(found, best)}"
        )
    if best.workers == 1:
        return (
            f"One worker: up to {most}, no strategy surely saves {percent(LEAST_GAIN)} of the time for each doubling of the workers on "
            f"this network ({network}). {_perhaps(found, best)}{beyond(found, best)}"
        )
    assert best.speedup is not None
    hours = f", {number(best.workers / best.speedup.value)} times the GPU-hours"
    name = "Strong scaling" if best.line == STRONG else "Weak scaling"
    band = _known(best.speedup) if best.line != STRONG else ""
    return (
        f"{name} on {best.workers} workers: {number(best.speedup.value)} times as fast as one{band}{hours} ({network} network). "
        f"{_perhaps(found, best)}{beyond(found, best)}"
    )


def _perhaps(found: Sequence[Choice], best: Choice) -> str:
    """What may be faster, but these runs don't tell."""
    other = may_be_faster(found, best)
    if other is None or other.speedup is None:
        return ""
    name = "Strong scaling" if other.line == STRONG else "A minibatch that grows"
    return (
        f"{name} may be {number(other.speedup.value)}{_known(other.speedup)} times as fast on {other.workers}: these runs don't tell, "
        "running it would. "
    )


def beyond(found: Sequence[Choice], best: Choice) -> str:
    """What more workers would bring, and what limits."""
    more = [choice for choice in found if choice.workers > best.workers]
    limit = limit_of([choice for choice in more if choice.line == STRONG])
    if not more:
        return "More workers weren't asked about."
    without = sorted({choice.workers for choice in more if choice.speedup is None})
    open_words = (
        f" What a growing minibatch brings on {_list(without)} workers is left open by these runs." if without else ""
    )
    limits = f"; what limits is {limit}" if limit else ""
    return (
        f"Beyond {best.workers} a doubling doesn't surely gain {percent(LEAST_GAIN)} of the time{limits}.{open_words}"
    )


def limit_of(more: Sequence[Choice]) -> str:
    """What costs most of the seconds of strong scaling on the next number of workers."""
    following = min(more, key=lambda choice: choice.workers, default=None)
    if following is None or following.one is None:
        return ""
    lost = following.epoch.lost(following.one.epoch)
    return LIMITS[max(lost, key=lost.__getitem__)]


def table(found: Sequence[Choice], rate: float, price: float | None) -> list[dict[str, Any]]:
    """A row a choice, in the words of who sets it up: samples a rank, and the rate."""
    rows = []
    for choice in found:
        row: dict[str, Any] = {
            "strategy": choice.line,
            "workers": choice.workers,
            "samples a step": choice.batch,
            "batch_size of a rank": f"{choice.batch / choice.workers:g}",
            "lr": f"{rate:.4g}",
            "epochs": _whole(choice.epochs) or choice.why_not,
            "seconds": _whole(choice.seconds),
            "times as fast as one": _whole(choice.speedup),
            "GPU-hours": number(choice.gpu_hours),
        }
        if price is not None:
            row["price"] = number(price * choice.gpu_hours) if choice.gpu_hours else ""
        rows.append(row)
    return rows


def reasons(found: Sequence[Choice], law: Answer | None, network: str, elsewhere: dict[str, str]) -> list[str]:
    """Why, and what would change the answer."""
    strong = [choice for choice in found if choice.line == STRONG]
    told = []
    if strong:
        last, one = strong[-1], found[0]
        lost = last.epoch.lost(one.epoch)
        parts = ", ".join(f"{name} {percent(share)}" for name, share in lost.items() if share > 0.005)
        told.append(
            f"An epoch lasts {number(one.epoch.total_s)} s on one worker and {number(last.epoch.total_s)} s on {last.workers}, of whose "
            f"worker-seconds {percent(last.epoch.efficiency(one.epoch))} are the work of one; lost to: {parts}."
        )
        told.append(
            f"Strong scaling's speed-up needs no extrapolation: it takes the path of one worker, and steps of each share "
            f"of a minibatch were timed; the network ({network}) is a model."
        )
    if law and law.tested:
        gains, tested = law.tested.band.fitted.critical_batch, law.tested.band.tested
        doubt = (
            f"; {tested} batches tested its band"
            if tested
            else "; nothing was left to test its band on, so no level is claimed"
        )
        told.append(
            "A minibatch that grows: by the law of batch size steps are twice their least at "
            f"{number(gains.value)} samples{_known(gains)}{doubt}."
        )
    told += [f"On {name} the answer would be: {words}" for name, words in elsewhere.items()]
    told.append(
        "Independent runs side by side (seeds, folds of a cross-validation) cost no communication: as many GPUs do as many runs in the "
        "time of one, at one worker's GPU-hours each."
    )
    return told


def page(heading: str, answer: str, rows: Sequence[dict[str, Any]], why: Sequence[str]) -> str:
    """All of it, as Markdown."""
    body = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    return f"# {heading}\n\n{answer}\n\n{body}\n\n## Why\n\n" + "\n".join(f"- {one}" for one in why) + "\n"


def _whole(found: Interval | None) -> str:
    return f"{number(found.value)}{_known(found)}" if found else ""


def _known(found: Interval) -> str:
    if found.low == found.high:
        return ""
    low, high = number(found.low) if found.low > 0 else "open", number(found.high) or "open"
    return f" [{low}, {high}]"


def _list(numbers: Sequence[int]) -> str:
    texts = [str(one) for one in numbers]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
