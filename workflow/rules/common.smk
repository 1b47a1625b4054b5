"""What the rules ask of the configuration: plain functions, so that the rules themselves stay declarations."""

import functools
import json
import shlex
from dataclasses import replace

from strongscale.common import parts
from strongscale.common.schema import plain
from strongscale.jobs import receipts, request
from strongscale.settings import advised, cells, looks, timed, tuned
from strongscale.settings.config import LOOKS, SEQUENTIAL
from strongscale.settings.datasets import WHOLE, Expected

PACKAGE = str(BASE / "workflow")
CODE = f"{PACKAGE}/strongscale"


def code_of(package):
    """The files of a part of the package, for rules that follow its changes."""
    return [f"{CODE}/{package}/{path.name}" for path in sorted(Path(CODE, package).glob("*.py"))]


ANALYSIS_CODE = [
    *code_of("analysis"),
    *code_of("inference"),
    *(f"{CODE}/settings/{name}" for name in ("margins.py", "margins.toml")),
    *(f"{CODE}/timing/{name}.py" for name in ("emulation", "network", "steps", "timings")),
    *(f"{CODE}/{name}.py" for name in ("common/output", "common/style", "settings/timed")),
]
ADVICE_CODE = [*ANALYSIS_CODE, *code_of("advice"), f"{CODE}/settings/advised.py"]
COMPARISON_CODE = [*ANALYSIS_CODE, *code_of("comparison"), f"{CODE}/verdicts/verdict.py"]
CLAIMS_CODE = [*ANALYSIS_CODE, *code_of("verdicts")]
LOOK_CODE = [  # few, for another look may ask for other runs
    *code_of("inference"),
    *(f"{CODE}/analysis/{name}.py" for name in ("looks", "ratios", "targets")),
    *(f"{CODE}/settings/{name}" for name in ("margins.py", "margins.toml")),
]
QUALITY_CODE = code_of("data/quality")
TUNING_CODE = [f"{CODE}/tuning/table.py", f"{CODE}/common/output.py"]
# In every command, after a conda environment's activation; not in params, so that moving the project reruns nothing.
shell.prefix(f"{request.prelude(SITE) if workflow.remote_exec else ''}export PYTHONPATH={shlex.quote(PACKAGE)}; ")

CELL = "results/{study}/cells/{strategy}/{workers}workers/seed{seed}"

FIGURES = {
    "figure1": "1: nodules and reconstructions",
    "figure2": "2: time to target",
    "figure3": "3: warm-up",
    "figure4": "4: strong scaling",
    "figure5": "5: weak scaling",
    "losses": "Losses by epoch",
    "efficiency": "Efficiency",
    "edge": "The learning rate's edge",
    "parts": "Where the time goes",
    "pareto": "Time against GPU-hours",
}
COMPARISON_TABLES = {
    "leaders": "Who is fastest",
    "ranking": "All strategies",
    "failures": "Where they fail",
    "crossbow": "CROSSBOW's claims",
}
READABLE_TABLES = {
    "time_to_target": "Time to target",
    "epochs_to_target": "Epochs to target",
    "samples_to_target": "Samples to target",
    "decisions": "What to decide by",
    "ratios": "Ratios, seed by seed",
    "targets": "Three targets",
    "table1": "Table I: strong scaling",
    "table2": "Table II: weak scaling",
    "timings": "One worker's seconds",
    "stragglers": "Were workers not equally fast",
}


def study_of(wildcards):
    """The study a wildcard names."""
    check_scheduler()
    study = study_named(wildcards.study)
    check_limits(study)
    return study


def study_named(name):
    """The study of this name; one that names a file of a user's own which can't be used ends here, and no other does."""
    if name in CONFIG.broken:
        sys.exit(f"config: {CONFIG.broken[name]}")
    if name not in CONFIG.studies:
        sys.exit(f"config: no study {name!r}; allowed: {', '.join(CONFIG.studies)}")
    return CONFIG.studies[name]


def dataset_of(wildcards):
    """The data set a wildcard names."""
    check_scheduler()
    if wildcards.dataset not in CONFIG.datasets:
        sys.exit(f"config: no data set {wildcards.dataset!r}; allowed: {', '.join(CONFIG.datasets)}")
    return CONFIG.datasets[wildcards.dataset]


def cell_of(wildcards):
    """The cell whose folder the wildcards name, in the very way in which cells' folders are named."""
    study_of(wildcards)
    cell = cells.Cell(wildcards.study, wildcards.strategy, int(wildcards.workers), int(wildcards.seed))
    named, known = CELL.format(**wildcards), cells_of(wildcards.study)
    if cell not in known or named != f"results/{cell.folder}":
        allowed = cells.folders_in_words(sorted(known))
        study = CONFIG.studies[wildcards.study]
        if wildcards.strategy in study.strategies and cells.follows_sequential(study, wildcards.strategy):
            sys.exit(
                f"{named}: shares the sequential run's trajectory (share_trajectories); ask for results/{wildcards.study}/clock.json"
            )
        if study.trajectories:
            sys.exit(
                f"{named}: study {wildcards.study} trains nothing; its runs are those of study {study.trajectories}"
            )
        sys.exit(f"{named}: no cell of study {wildcards.study}; allowed: {allowed}")
    return cell


@functools.cache
def cells_of(name):
    """All cells of a study, to look one up."""
    return frozenset(cells.all_cells(name, looks.at_most(CONFIG.studies[name])))


def study_folder(wildcards):
    """Where a study lies."""
    return f"results/{wildcards.study}"


def dataset_folder(wildcards):
    """Where a data set lies."""
    return f"results/datasets/{wildcards.dataset}"


def cell_folder(wildcards):
    """Where a cell lies."""
    return f"results/{cell_of(wildcards).folder}"


def as_json(settings):
    """Settings as one line of JSON: a change of them reruns the rule."""
    return json.dumps(plain(settings))
