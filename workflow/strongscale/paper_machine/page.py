"""The page of the paper's machine: the derivation, the readings beside both tables, the choice, and what can't be told."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd
from scipy.stats import f as variance_ratio

from strongscale.analysis import paper
from strongscale.paper_machine.readings import (
    BATCH,
    EPOCHS_OF_A_WEEK,
    FORWARD_SHARE,
    GIGABIT,
    GRADIENT_BYTES,
    NUM_TRAINING,
    NUM_VALIDATION,
    OBSERVED,
    TARGET_EPOCHS,
    WORKERS,
    Judged,
    Reading,
    collecting_s,
    efficiencies,
    epoch_s,
    law,
    monotone,
    readings,
    step_of_a_week_s,
    unshared_share_at_least,
    without_one,
)
from strongscale.paper_machine.shipped import COMMAND, SHIPPED_STEP_S, k80_least_step_s
from strongscale.timing.network import all_reduce_s
from strongscale.timing.timings import Timings

SHORTER_STEPS_S = (10.0, 5.0, 2.0, 1.0)
MOST = max(WORKERS)
CHOSEN = "b"


def page(tried: Sequence[Reading], shipped: Mapping[str, Timings]) -> str:
    """The derivation, the tables and the choice."""
    by_key = {one.key: one for one in tried}
    parts = [
        "# The paper's machine, reconstructed",
        f"Made by `{COMMAND}`; do not edit. **Nothing on this page was measured**: every number is stated by the paper or its "
        "talk, assumed and said so, or computed from those on the emulated clock.",
        *_introduction(),
        *_table_one(tried),
        *_strength(by_key, tried),
        *_table_two(by_key, tried),
        *_week(by_key),
        *_choice(by_key),
        *_unknown(by_key),
        *_shipped(shipped),
    ]
    return "\n\n".join(parts) + "\n"


def _introduction() -> list[str]:
    few, middle, many = EPOCHS_OF_A_WEEK
    return [
        "The paper gives efficiencies (its Tables I and II), not seconds. Its machine: POWER8 hosts, at most two of their Tesla "
        'K80 GPUs used, Gigabit Ethernet between hosts. Its talk says that training "takes a week on a single GPU (K80)".',
        "## What is taken for granted",
        f"- {NUM_TRAINING} training samples (2100 nodules less {NUM_VALIDATION}, about), minibatches of {BATCH}, one evaluation "
        f"of {NUM_VALIDATION} samples after each epoch, {GRADIENT_BYTES / 1e6:.1f} MB of gradient, one all-reduce a step.\n"
        f"- A forward pass takes {FORWARD_SHARE:.2f} of forward and backward.\n"
        f"- Gigabit as in this project's preset: {1e6 * GIGABIT.latency_s:.0f} µs and "
        f"{GIGABIT.bandwidth_bytes_per_s / 1e6:.0f} MB/s between hosts of two workers; an all-reduce between {MOST} workers "
        f"lasts {1000 * _preset_s():.0f} ms.\n"
        f'- "A week" was {few} epochs (about what the paper\'s target took) to {many} (its limit), with their evaluations: a '
        f"step of {BATCH} samples then took one GPU {step_of_a_week_s(few):.0f} to {step_of_a_week_s(many):.0f} s. In the "
        f"middle, at {middle} epochs, {SHIPPED_STEP_S:.0f} s: used below where nothing else is said.",
    ]


def _table_one(tried: Sequence[Reading]) -> list[str]:
    stated: dict[str, str] = {"reading": "Table I", "where the seconds go": "", "fitted": ""}
    stated |= {str(workers): f"{value:.2f}" for workers, value in OBSERVED.items()}
    rows = [stated] + [
        _row(f"({one.key})", one.words, one.fitted.format(one.value).replace("%", " %"), one.judged)
        for one in sorted(tried, key=lambda one: one.key)
    ]
    place = next(number for number, row in enumerate(rows) if row["reading"] == "(f)")
    rows.insert(
        place, _row("(e)", "the paper's own law, T_S + T_P/n + c·log n", "all three, and with them T(1)", law())
    )
    rows.append(_row("", "the nearest that never rises with n nor exceeds 100 %", "all five", monotone()))
    return [
        "## The readings beside Table I",
        "Efficiency of strong scaling in per cent at 2 to 32 workers; errors in points of per cent, root mean square and "
        "largest. One number at most is fitted, but for (e). In the last column the one run on one worker, by which all "
        "efficiencies are divided, may have lasted longer or shorter by chance: one more fitted number.",
        _table(rows),
    ]


def _row(name: str, words: str, fitted: str, judged: Judged) -> dict[str, str]:
    return (
        {"reading": name, "where the seconds go": words, "fitted": fitted}
        | {str(workers): f"{value:.1f}" for workers, value in judged.predicted.items()}
        | {
            "RMS": f"{judged.root_mean_square:.1f}",
            "largest": f"{judged.largest:.1f}",
            "RMS, T(1) free": f"{judged.with_another_first.root_mean_square:.1f}",
        }
    )


def _strength(by_key: Mapping[str, Reading], tried: Sequence[Reading]) -> list[str]:
    ranked = sorted(tried, key=lambda one: one.judged.root_mean_square)
    order = ", ".join(f"({one.key}) {one.judged.root_mean_square:.1f}" for one in ranked)
    dropped = ", ".join(f"({key}) without n = {workers}" for workers, key in without_one(list(tried)).items())
    chosen = by_key[CHOSEN]
    gains = {key: _gain(chosen, by_key[key]) for key in ("b fit", "d")}
    return [
        f"By the error alone: {order}. Leaving out one number of Table I and fitting again, the nearest is {dropped}.",
        f"So Table I refutes (a), and by itself speaks for messages rather than for evaluation, but weakly. Between the best "
        f"and ({CHOSEN}), which has nothing fitted, lie "
        f"{chosen.judged.root_mean_square - ranked[0].judged.root_mean_square:.1f} points. Fitting the forward pass's share "
        f"as well, (b fit), explains as much as a needless number does by chance in {100 * gains['b fit']:.0f} of 100 tables; for "
        f"(d) beside ({CHOSEN}) the same figure is {100 * gains['d']:.0f}, though one is no special case of the other, so "
        f"that it only gives the scale. With T(1) free as well the order turns round: (b) "
        f"{chosen.judged.with_another_first.root_mean_square:.2f}, (d) "
        f"{by_key['d'].judged.with_another_first.root_mean_square:.2f}. (b fit) asks for {by_key['b fit'].value:.2f} where {FORWARD_SHARE:.2f} was expected. "
        "(c) has (b fit)'s shape, Amdahl's law: Table I can't tell an overhead of each step from unshared work of each epoch.",
        "**Scatter.** Each number is of one run. 105.17 % at two workers, and 90.09 % at eight after 86.81 % at four, no reading "
        f"gives: whatever never rises misses Table I by {monotone().root_mean_square:.1f} points or more. If (d) were right, "
        f"its errors would be the scatter, {_scatter(by_key['d'], 1):.1f} points; if ({CHOSEN}), {_scatter(chosen, 0):.1f}. "
        f"At eight workers every one of (b) to (d log) is too low, by "
        f"{min(_low_at_eight(by_key)):.0f} to {max(_low_at_eight(by_key)):.0f} points.",
    ]


def _low_at_eight(by_key: Mapping[str, Reading]) -> list[float]:
    return [OBSERVED[8] - by_key[key].judged.predicted[8] for key in ("b", "b fit", "c", "d", "d log")]


def _scatter(reading: Reading, fitted: int) -> float:
    """Standard deviation of one number, were the reading right."""
    return reading.judged.root_mean_square * math.sqrt(len(WORKERS) / (len(WORKERS) - fitted))


def _gain(less: Reading, more: Reading) -> float:
    """How often chance makes one more fitted number explain as much (F test)."""
    left, freedom = more.judged.root_mean_square**2, len(WORKERS) - 1
    return float(variance_ratio.sf((less.judged.root_mean_square**2 - left) / (left / freedom), 1, freedom))


def _table_two(by_key: Mapping[str, Reading], tried: Sequence[Reading]) -> list[str]:
    rows = []
    for one in sorted(tried, key=lambda one: one.key):
        times = one.weak_epochs()
        rows.append(
            {"reading": f"({one.key})"}
            | {str(workers): f"{value:.2f}" for workers, value in times.items()}
            | {"sequential epochs, at most": f"{one.sequential_epochs_at_most():.0f}"}
        )
    return [
        "## The readings beside Table II",
        "Weak scaling at the sequential rate takes n times fewer steps an epoch, hence n times fewer messages and overheads, but "
        "as many evaluations. Its epochs aren't stated. From its efficiencies and a reading's seconds of an epoch follows how "
        f"many times the sequential run's epochs it needed; as it reached the target within {paper.MAX_EPOCHS} epochs, this "
        f'bounds the sequential run\'s, which the paper calls "roughly a hundred".',
        _table(rows),
        "Only readings with unshared work in every epoch come near a hundred. With the rest shared out and messages free, "
        f"{100 * unshared_share_at_least():.1f} % of a sequential epoch must have been done by every worker for "
        f"{TARGET_EPOCHS} epochs to be possible; Table I asks for {100 * _evaluation_share(by_key['b fit'].value):.1f} %, (b fit); "
        f"evaluation everywhere, {100 * _evaluation_share(FORWARD_SHARE):.1f} %, lies between. Nothing is fitted to "
        "Table II. It doesn't say that this work was evaluation: shuffling, logging or loading data once an epoch would do as "
        "well. And it rests on one run, at 32 workers, and on two round numbers of the paper.",
    ]


def _evaluation_share(forward_share: float) -> float:
    """Of one worker's epoch."""
    return forward_share * NUM_VALIDATION / (NUM_TRAINING + forward_share * NUM_VALIDATION)


def _preset_s() -> float:
    return all_reduce_s(GIGABIT, MOST, GRADIENT_BYTES)


def _week(by_key: Mapping[str, Reading]) -> list[str]:
    slow, steps = [], {epochs: step_of_a_week_s(epochs) for epochs in EPOCHS_OF_A_WEEK}
    for epochs, step_s in steps.items():
        factor = next(one for one in readings(step_s) if one.key == "d").value
        slow.append(
            {
                "epochs in a week": str(epochs),
                "step of 32, s": f"{step_s:.0f}",
                f"all-reduce of {MOST} as (d) needs it, s": f"{factor * _preset_s():.2f}",
                "by the preset's": f"{factor:.0f}",
                "bandwidth that leaves, MB/s": f"{GIGABIT.bandwidth_bytes_per_s / factor / 1e6:.1f}",
            }
        )
    scales = []
    for step_s in (*steps.values(), *SHORTER_STEPS_S):
        own = {one.key: one for one in readings(step_s)}
        scales.append(
            {
                "step of 32, s": f"{step_s:.0f}",
                f"{TARGET_EPOCHS} epochs, h": f"{TARGET_EPOCHS * epoch_s(own['a'].chosen, 1) / 3600:.1f}",
                "shared, RMS": f"{own['a'].judged.root_mean_square:.1f}",
                "(g), RMS": f"{own['g'].judged.root_mean_square:.1f}",
                "everywhere, RMS": f"{own['b'].judged.root_mean_square:.1f}",
                f"everywhere, at {MOST}": f"{efficiencies(own['b'].chosen)[MOST]:.1f}",
            }
        )
    fitted_s = by_key["f"].value
    hours = {epochs: epochs * epoch_s(by_key["f"].chosen, 1) / 3600 for epochs in EPOCHS_OF_A_WEEK}
    return [
        '## "A week on a single K80"',
        "If it holds, could messages have cost the efficiency? Reading (d), reconstructed for what a week may mean:",
        _table(slow),
        "With an all-reduce as good as the preset's, Gigabit Ethernet isn't so slow. With a bad one it may be: if one worker "
        f"collects all gradients, (g), each costs {1000 * collecting_s():.0f} ms, where the fit of (d one) asks for "
        f"{1000 * by_key['d one'].value * SHIPPED_STEP_S:.0f}. (g) is {by_key['g'].judged.root_mean_square:.1f} points off with "
        f"nothing fitted: Table I and the week by themselves can't exclude it, Table II does, as far as it goes.",
        f"If the week doesn't hold, Gigabit as it is explains "
        f"Table I with a step of {fitted_s:.1f} s, reading (f): {hours[EPOCHS_OF_A_WEEK[0]]:.0f} h for "
        f"{EPOCHS_OF_A_WEEK[0]} epochs, {hours[EPOCHS_OF_A_WEEK[-1]]:.0f} h for {EPOCHS_OF_A_WEEK[-1]}. The same by the "
        "seconds of a step, Gigabit as it is: evaluation shared out, as (a) or (g), and everywhere:",
        _table(scales),
        f"Against the week: arithmetic alone would take a K80 {1000 * k80_least_step_s():.1f} ms for a step of the model as "
        f"the paper describes it. {SHIPPED_STEP_S:.0f} s are {_round(SHIPPED_STEP_S / k80_least_step_s())} times that, "
        f"{fitted_s:.1f} s still {_round(fitted_s / k80_least_step_s())} times. Neither is explained by anything stated.",
    ]


def _round(value: float) -> str:
    return f"{float(f'{value:.1g}'):,.0f}".replace(",", " ")


def _choice(by_key: Mapping[str, Reading]) -> list[str]:
    chosen, slow = by_key[CHOSEN], by_key["d"]
    return [
        "## The choice",
        f"**({CHOSEN}): seconds by samples, evaluation everywhere, {SHIPPED_STEP_S:.0f} s a step.** Not for Table I, where it is "
        f"{chosen.judged.root_mean_square:.1f} points off, its largest error {chosen.judged.largest:.1f}, and (d) and (f) fit "
        f"better ({slow.judged.root_mean_square:.1f}). But it has nothing fitted, and comes near whatever the week meant, as (g) "
        "doesn't; it agrees with a good all-reduce over Gigabit Ethernet; and beside Table II it allows "
        f"{chosen.sequential_epochs_at_most():.0f} sequential epochs, readings without unshared work an epoch "
        f"{max(by_key[key].sequential_epochs_at_most() for key in ('a', 'c', 'd', 'd log', 'd one', 'f', 'g')):.0f} at most, where "
        f"the paper says roughly {TARGET_EPOCHS}. The evidence is two statements of a talk and a paper, and one cell of a table.",
    ]


def _unknown(by_key: Mapping[str, Reading]) -> list[str]:
    return [
        "## What can't be told",
        "- Whether the unshared work was evaluation, or anything else that each worker did once an epoch.\n"
        "- Whether unshared work and messages both cost something: with five numbers and this scatter no mixture can be fitted.\n"
        f"- The seconds: a factor of {EPOCHS_OF_A_WEEK[1] / EPOCHS_OF_A_WEEK[0]:.0f} either way by the week, and down to "
        f"{by_key['f'].value:.1f} s without it.\n"
        "- Scatter from run to run, or why 105.17 %: the paper says stochasticity of the evaluation.\n"
        "- Whether every number of workers needed the same epochs, as is assumed here. The caption of the paper's Figure 4 "
        'says that with 32 GPUs the model "converges in just two iterations", which no reading here explains.',
    ]


def _shipped(shipped: Mapping[str, Timings]) -> list[str]:
    rows = [
        {
            "timings": name.removesuffix(".json"),
            "device": timings.label,
            "step of 1, s": f"{timings.step_s(1):.4g}",
            f"step of {BATCH}, s": f"{timings.step_s(BATCH):.4g}",
            "evaluation of 8, s": f"{timings.evaluation_s(8):.4g}",
        }
        for name, timings in shipped.items()
    ]
    doubts = [
        f"`{name.removesuffix('.json')}`, {timings.origin}:\n\n" + "\n".join(f"- {doubt}" for doubt in timings.doubts)
        for name, timings in shipped.items()
    ]
    return [
        "## The timings that are shipped",
        "For an emulated clock: `timings: paper_k80`, which brings `evaluation: everywhere`, with `network: gigabit`, or `timings: "
        "modern_gpu`. The device's name says of each that it wasn't measured, wherever it is shown.",
        _table(rows),
        *doubts,
    ]


def _table(rows: Sequence[dict[str, str]]) -> str:
    return str(pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True))
