"""Advice on a study, from a few short runs beside it and one device's timings: advice.md, .html and .json."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from strongscale.advice import forecast, study_page
from strongscale.advice.answer import Answer
from strongscale.advice.forecast import Choice
from strongscale.advice.study_runs import epochs_of, law_of
from strongscale.analysis.load import load
from strongscale.analysis.runs import StudyRuns
from strongscale.analysis.targets import in_epochs
from strongscale.common.errors import UserError
from strongscale.common.files import write_json, write_text
from strongscale.common.output import write_html
from strongscale.common.schema import build
from strongscale.settings.advised import GROWING
from strongscale.settings.config import NETWORKS, Study
from strongscale.timing.emulation import Emulation
from strongscale.timing.network import network_of
from strongscale.timing.steps import read_steps
from strongscale.timing.timings import read_timings


def main(arguments: list[str]) -> None:
    """Read the runs beside a study; write what they advise."""
    parser = argparse.ArgumentParser(prog="strongscale.advice study", description=main.__doc__)
    parser.add_argument("--settings", required=True, help="the study's settings as JSON")
    parser.add_argument("--probe", type=Path, required=True, help="folder of the small study beside it")
    parser.add_argument("--timings", type=Path, required=True, help="timings.json of the device")
    parser.add_argument("--network", type=Path, help="network.json, where the study's is measured")
    parser.add_argument("--price", type=float, help="of a GPU-hour")
    parser.add_argument("--output", type=Path, required=True, help="folder for advice.*")
    options = parser.parse_args(arguments)
    if options.price is not None and not options.price >= 0:
        raise UserError(f"--price: {options.price:g} is not allowed; allowed: a number of at least 0")
    study = build(Study, json.loads(options.settings), "study")
    advise(study, options)


def advise(study: Study, options: argparse.Namespace) -> None:
    """Foretell all strategies and workers on the study's network, and on the others; write the page."""
    counted = in_epochs(load(options.probe, with_seconds=False))
    law, one_epochs = law_of(counted, GROWING, counted.workers(GROWING)), epochs_of_one(counted)
    like = read_steps(options.probe.parent / counted.sequential[0].cell.folder / "steps.json")
    workers = sorted({count for line in study.strategies for count in study.workers_of(line)})
    timings = read_timings(options.timings)
    own = study.network if isinstance(study.network, str) else "the study's"
    networks = {own: network_of(study, options.network)} | {name: net for name, net in NETWORKS.items() if name != own}
    found = {
        name: forecast.choices(
            like,
            study.training.batch_size,
            workers,
            Emulation(timings=timings, network=network, evaluation=study.evaluation),
            one_epochs,
            law,
        )
        for name, network in networks.items()
    }
    write(options.output, found, own, law, counted, options.price, timings.label)


def epochs_of_one(counted: StudyRuns) -> list[float]:
    """Of each seed; none where one of them doesn't arrive."""
    epochs = [epochs_of(run) for run in counted.sequential if run.result.converged]
    return epochs if len(epochs) == len(counted.sequential) else []


def write(
    folder: Path,
    found: dict[str, list[Choice]],
    own: str,
    law: Answer | None,
    counted: StudyRuns,
    price: float | None,
    device: str,
) -> None:
    """The page, for people and programs."""
    answers = {name: study_page.answer_of(choices, name) for name, choices in found.items()}
    rate = counted.sequential[0].base_rate
    rows = study_page.table(found[own], rate, price)
    elsewhere = {name: words for name, words in answers.items() if name != own}
    why = study_page.reasons(found[own], law, own, elsewhere)
    heading = f"How should {counted.name.removesuffix('_advice')} use more workers?"
    made_of = (
        f"Foretold, not measured: from {len({run.cell for run in counted.runs})} runs of {counted.num_seeds} on one device, {device}; "
        f"{counted.data}. Target: a validation loss of {counted.sequential[0].result.target_loss:.4g}."
    )
    write_text(folder / "advice.md", study_page.page(heading, f"{answers[own]}\n\n{made_of}", rows, why))
    write_html(folder / "advice.html", pd.DataFrame(rows), "\n\n".join([heading, answers[own], made_of, *why]))
    write_json(folder / "advice.json", _plain(found, answers, own, rate))
    sys.stdout.write(f"{answers[own]}\n")  # the log goes into a file; whoever watches should know too


def _plain(found: dict[str, list[Choice]], answers: dict[str, str], own: str, rate: float) -> dict[str, Any]:
    """For a program: null is what is left open."""

    def row(choice: Choice) -> dict[str, Any]:
        intervals = {name: getattr(choice, name) for name in ("epochs", "seconds", "speedup")}
        return {
            "strategy": choice.line,
            "workers": choice.workers,
            "batch": choice.batch,
            "learning_rate": rate,
            **{name: vars(one) if one else None for name, one in intervals.items()},
            "gpu_hours": choice.gpu_hours,
            "why_not": choice.why_not or None,
            "epoch_s": choice.epoch.parts,
        }

    return {
        "answer": answers[own],
        "network": own,
        "on": {name: {"answer": answers[name], "choices": [row(one) for one in each]} for name, each in found.items()},
    }
