"""What the rules ask of the configuration: plain functions, so that the rules themselves stay declarations."""

import json
import shlex
from dataclasses import replace

from strongscale import cells, jobs
from strongscale.config import SEQUENTIAL, WHOLE, Expected, SequentialEpochs
from strongscale.schema import plain

PACKAGE = str(BASE / "workflow")
CODE = f"{PACKAGE}/strongscale"


def code_of(package):
    """The files of a part of the package, for rules that follow its changes."""
    return [f"{CODE}/{package}/{path.name}" for path in sorted(Path(CODE, package).glob("*.py"))]


ANALYSIS_CODE = code_of("analysis")
QUALITY_CODE = code_of("data/quality")
# In every command, after a conda environment's activation; not in params, so that moving the project reruns nothing.
shell.prefix(f"{jobs.prelude(SITE) if workflow.remote_exec else ''}export PYTHONPATH={shlex.quote(PACKAGE)}; ")

CELL = "results/{study}/cells/{strategy}/{workers}workers/seed{seed}"

FIGURES = {
    "figure1": "1: nodules and reconstructions",
    "figure2": "2: time to target",
    "figure3": "3: warm-up",
    "figure4": "4: strong scaling",
    "figure5": "5: weak scaling",
    "efficiency": "Efficiency",
    "edge": "The learning rate's edge",
    "parts": "Where the time goes",
}
READABLE_TABLES = {
    "time_to_target": "Time to target",
    "epochs_to_target": "Epochs to target",
    "samples_to_target": "Samples to target",
    "table1": "Table I: strong scaling",
    "table2": "Table II: weak scaling",
}


def study_of(wildcards):
    """The study a wildcard names."""
    check_scheduler()
    if wildcards.study not in CONFIG.studies:
        sys.exit(f"config: no study {wildcards.study!r}; allowed: {', '.join(CONFIG.studies)}")
    check_limits(CONFIG.studies[wildcards.study])
    return CONFIG.studies[wildcards.study]


def dataset_of(wildcards):
    """The data set a wildcard names."""
    check_scheduler()
    if wildcards.dataset not in CONFIG.datasets:
        sys.exit(f"config: no data set {wildcards.dataset!r}; allowed: {', '.join(CONFIG.datasets)}")
    return CONFIG.datasets[wildcards.dataset]


def cell_of(wildcards):
    """The cell whose folder the wildcards name."""
    return cells.Cell(wildcards.study, wildcards.strategy, int(wildcards.workers), int(wildcards.seed))


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


# --- data


def scans_folder(wildcards):
    """Where the scans of a data set lie."""
    return dataset_of(wildcards).folder or f"results/datasets/{wildcards.dataset}/scans"


def present(wildcards, name):
    """A file or folder of the scans; where a user's scans lack it, the output of the rule that fetches it or says so."""
    dataset = dataset_of(wildcards)
    folder = scans_folder(wildcards)
    path = folder if name == WHOLE else f"{folder}/{name}"
    if dataset.download:
        return f"results/datasets/{wildcards.dataset}/download/{name}.json"
    if dataset.phantom or Path(path).exists():
        return path
    return f"results/datasets/{wildcards.dataset}/missing/{name}"


def annotation_files(wildcards):
    """The annotation files that the data set's reader agreement asks for."""
    names = ["annotations.csv"]
    if dataset_of(wildcards).cubes.minimum_readers == 1:
        names.append("annotations_excluded.csv")
    return [present(wildcards, name) for name in names]


def subset_folder(wildcards):
    """One subset folder of scans."""
    return present(wildcards, wildcards.subset)


def num_parts(wildcards):
    """Jobs among which the scans of a subset are dealt out."""
    return dataset_of(wildcards).jobs_per_subset


def cube_files(wildcards, ending):
    """What the cutting of all parts of all subsets makes."""
    return expand(
        f"results/datasets/{wildcards.dataset}/cubes/{{subset}}.{{part}}.{ending}",
        subset=dataset_of(wildcards).subset_names,
        part=range(num_parts(wildcards)),
    )


def cube_rows(wildcards):
    """The rows of all parts."""
    return cube_files(wildcards, "csv")


def cube_arrays(wildcards):
    """The cubes of all parts."""
    return cube_files(wildcards, "npy")


def phantom_settings(wildcards):
    """The settings of artificial scans."""
    return as_json(dataset_of(wildcards).phantom)


def cube_settings(wildcards):
    """How nodules become cubes."""
    return as_json(dataset_of(wildcards).cubes)


def dataset_settings(wildcards):
    """What the cubes of a data set and their split depend on: a change of anything else trains nothing again."""
    without = {"download": None, "jobs_per_subset": 1, "partial": False, "tolerated_losses": 0, "expected": Expected()}
    return as_json(replace(dataset_of(wildcards), **without))


def ledger_settings(wildcards):
    """The settings that the ledger depends on: how many losses are tolerated, or the split, isn't among them."""
    without = {"download": None, "jobs_per_subset": 1, "tolerated_losses": 0, "num_validation": 1, "split_seed": 1}
    return as_json(replace(dataset_of(wildcards), **without))


def tolerated_losses(wildcards):
    """Nodules that may be lost."""
    return dataset_of(wildcards).tolerated_losses


# --- training


def study_settings(wildcards):
    """The settings of a study."""
    return as_json(study_of(wildcards))


def dataset_file(wildcards):
    """The data set of a study."""
    return f"results/datasets/{study_of(wildcards).dataset}/dataset.json"


def result_file(cell):
    """The result of a cell."""
    return f"results/{cell.folder}/result.json"


def cell_settings(wildcards):
    """The part of the study's settings that this cell depends on: a change elsewhere doesn't rerun it."""
    return as_json(cells.own_part(study_of(wildcards), wildcards.strategy))


def settings_from_runs(wildcards):
    """What a cell must know from other runs, by the name of the option that takes it."""
    study, cell = study_of(wildcards), cell_of(wildcards)
    needed = {"dataset": dataset_file(wildcards)}
    is_edge = cell in cells.edge_cells(cell.study, study)
    if study.training.learning_rate == "edge" and not is_edge:
        needed["learning_rate"] = f"results/{cell.study}/learning_rate.json"
    if isinstance(study.training.target, SequentialEpochs) and not is_edge and cell.strategy != SEQUENTIAL:
        needed["sequential"] = result_file(cells.Cell(cell.study, SEQUENTIAL, 1, cell.seed))
    if study.clock == "emulated" and study.network == "measured":
        needed["network"] = f"results/{cell.study}/network.json"
    return needed


def options_from_runs(wildcards, input):
    """The same as command-line options."""
    names = settings_from_runs(wildcards)
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(path)}" for name, path in names.items())


def cell_ranks(wildcards):
    """MPI processes of a cell."""
    return cells.num_ranks(study_of(wildcards), cell_of(wildcards))


def cell_threads(wildcards):
    """Cores of a cell: one a rank, or the whole machine where a cell must be alone."""
    study = study_of(wildcards)
    return all_cores(wildcards) if study.alone else cell_ranks(wildcards) * study.training.threads


def edge_results(wildcards):
    """The sequential runs at several rates."""
    return [result_file(cell) for cell in cells.edge_cells(wildcards.study, study_of(wildcards))]


def edge_tolerance(wildcards):
    """How much worse than a smaller rate's run a run may end."""
    return study_of(wildcards).edge.tolerance


def first_sequential_cell(wildcards):
    """The sequential run whose reconstructions are shown."""
    return f"results/{cells.sequential_cells(wildcards.study, study_of(wildcards))[0].folder}"


def first_sequential_result(wildcards):
    """Its result."""
    return f"{first_sequential_cell(wildcards)}/result.json"


def new_nodule_settings(wildcards):
    """How many nodules are drawn, and how."""
    return as_json(study_of(wildcards).new_nodules)


# --- exactness

CASE_RANKS = (1, 2, 4)


def case_folder(wildcards):
    """Where a run of the proof lies."""
    return f"results/{wildcards.study}/exactness/{wildcards.clock}/{wildcards.workers}workers/{wildcards.ranks}ranks"


def case_ranks(wildcards):
    """Its ranks."""
    return int(wildcards.ranks)


def case_results(wildcards):
    """Every number of workers on every number of ranks that has a worker each, on both clocks."""
    return [
        f"results/{wildcards.study}/exactness/{clock}/{workers:02d}workers/{ranks}ranks/result.json"
        for clock in ("wall", "emulated")
        for workers in study_of(wildcards).workers
        for ranks in CASE_RANKS
        if ranks <= workers
    ]


def exactness_output(wildcards):
    """The table's path without its ending."""
    return f"results/{wildcards.study}/tables/exactness"


# --- analysis


def all_results(wildcards):
    """The results of all cells of a study."""
    return [result_file(cell) for cell in cells.all_cells(wildcards.study, study_of(wildcards))]


def other_clock_results(wildcards):
    """The results of all cells of the study on the other clock."""
    other = study_of(wildcards).compare_clock_with
    return [result_file(cell) for cell in cells.all_cells(other, CONFIG.studies[other])]


def other_clock_study(wildcards):
    """The settings of the study on the other clock."""
    return f"results/{study_of(wildcards).compare_clock_with}/study.json"


def other_clock_folder(wildcards):
    """The folder of the study on the other clock."""
    return f"results/{study_of(wildcards).compare_clock_with}"


def clock_in_words(wildcards):
    """How seconds were obtained, for captions."""
    study = study_of(wildcards)
    if study.clock == "wall":
        return "wall clock: measured seconds of real ranks"
    network = study.network if isinstance(study.network, str) else "custom"
    return f"emulated clock: measured compute, modelled network ({network})"


def study_artifacts(name):
    """Everything that a study makes."""
    folder = f"results/{name}"
    files = [f"{folder}/tables/cells.csv", f"{folder}/tables/speedup_law.csv", f"{folder}/claims.csv"]
    files += [result_file(cell) for cell in cells.all_cells(name, CONFIG.studies[name])]
    files.append(f"results/datasets/{CONFIG.studies[name].dataset}/quality/quality.html")
    files += expand(f"{folder}/figures/{{figure}}.png", figure=FIGURES)
    model = CONFIG.studies[name].model
    if model.kind == "deepdensity" and model.dimensions == 3:  # others may have nothing to draw nodules from
        files.append(f"{folder}/nodules/montage.png")
    if CONFIG.studies[name].compare_clock_with:
        files.append(f"{folder}/tables/clock_check.csv")
    return files
