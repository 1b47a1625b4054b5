"""What the rules ask of the configuration: plain functions, so that the rules themselves stay declarations."""

import functools
import json
import shlex
from dataclasses import replace

from strongscale.common.schema import plain
from strongscale.jobs import receipts, request
from strongscale.settings import cells
from strongscale.settings.config import SEQUENTIAL, WHOLE, Expected, SequentialEpochs

PACKAGE = str(BASE / "workflow")
CODE = f"{PACKAGE}/strongscale"


def code_of(package):
    """The files of a part of the package, for rules that follow its changes."""
    return [f"{CODE}/{package}/{path.name}" for path in sorted(Path(CODE, package).glob("*.py"))]


ANALYSIS_CODE = [*code_of("analysis"), f"{CODE}/common/output.py", f"{CODE}/common/style.py"]
QUALITY_CODE = code_of("data/quality")
# In every command, after a conda environment's activation; not in params, so that moving the project reruns nothing.
shell.prefix(f"{request.prelude(SITE) if workflow.remote_exec else ''}export PYTHONPATH={shlex.quote(PACKAGE)}; ")

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
    """The cell whose folder the wildcards name, in the very way in which cells' folders are named."""
    study_of(wildcards)
    cell = cells.Cell(wildcards.study, wildcards.strategy, int(wildcards.workers), int(wildcards.seed))
    named, known = CELL.format(**wildcards), cells_of(wildcards.study)
    if cell not in known or named != f"results/{cell.folder}":
        allowed = cells.folders_in_words(sorted(known))
        sys.exit(f"{named}: no cell of study {wildcards.study}; allowed: {allowed}")
    return cell


@functools.cache
def cells_of(name):
    """All cells of a study, to look one up."""
    return frozenset(cells.all_cells(name, CONFIG.studies[name]))


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


def dataset_receipt(name, work):
    """The receipt of some of a data set's work."""
    return f"results/datasets/{name}/receipts/{work}.json"


def place_of(wildcards, name):
    """Where a file or folder of the scans lies, or will lie."""
    folder = scans_folder(wildcards)
    return folder if name == WHOLE else f"{folder}/{name}"


def present(wildcards, name):
    """A file or folder of the scans; where a user's scans lack it, the output of the rule that fetches it or says so."""
    dataset, path = dataset_of(wildcards), place_of(wildcards, name)
    if dataset.download:
        return f"results/datasets/{wildcards.dataset}/download/{name}.json"
    if dataset.phantom or Path(path).exists():
        return path
    lacking = name if Path(scans_folder(wildcards)).is_dir() else WHOLE  # one line for a folder, not one for each file
    return f"results/datasets/{wildcards.dataset}/missing/{lacking}"


def annotation_names(wildcards):
    """The annotation files that the data set's reader agreement asks for."""
    others = ["annotations_excluded.csv"] if dataset_of(wildcards).cubes.minimum_readers == 1 else []
    return ["annotations.csv", *others]


def annotation_files(wildcards):
    """The same, as what must be there."""
    return [present(wildcards, name) for name in annotation_names(wildcards)]


def subset_folder(wildcards):
    """One subset folder of scans; of artificial ones, their receipt."""
    if dataset_of(wildcards).phantom:
        return dataset_receipt(wildcards.dataset, f"scans.{wildcards.subset}")
    return present(wildcards, wildcards.subset)


def cut_from(wildcards):
    """What cubes are cut from, as `once` is to know it: where it lies, not the marker of a download."""
    names = annotation_names(wildcards)
    if dataset_of(wildcards).phantom:
        return [subset_folder(wildcards), *(place_of(wildcards, name) for name in names)]
    return [place_of(wildcards, name) for name in (wildcards.subset, *names)]


def num_parts(wildcards):
    """Jobs among which the scans of a subset are dealt out."""
    return dataset_of(wildcards).jobs_per_subset


def all_parts(wildcards):
    """All parts of all subsets."""
    return expand("{subset}.{part}", subset=dataset_of(wildcards).subset_names, part=range(num_parts(wildcards)))


def cube_rows(wildcards):
    """The rows of all parts."""
    return expand(f"results/datasets/{wildcards.dataset}/cubes/{{part}}.csv", part=all_parts(wildcards))


def cube_receipts(wildcards):
    """The receipts of all parts."""
    return [dataset_receipt(wildcards.dataset, f"cubes.{part}") for part in all_parts(wildcards)]


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


WITHOUT_LEDGER = {"download": None, "jobs_per_subset": 1, "tolerated_losses": 0, "num_validation": 1, "split_seed": 1}


def ledger_settings(wildcards):
    """The settings that the ledger depends on: how many losses are tolerated, or the split, isn't among them."""
    return as_json(replace(dataset_of(wildcards), expected=Expected(), **WITHOUT_LEDGER))


def totals_settings(wildcards):
    """The settings that the ledger's totals depend on: the counts to compare with, too."""
    return as_json(replace(dataset_of(wildcards), **WITHOUT_LEDGER))


def tolerated_losses(wildcards):
    """Nodules that may be lost."""
    return dataset_of(wildcards).tolerated_losses


# --- training


def study_settings(wildcards):
    """The settings of a study."""
    return as_json(study_of(wildcards))


def dataset_made(wildcards):
    """The receipt of a study's data set."""
    return dataset_receipt(study_of(wildcards).dataset, "dataset")


def dataset_file(wildcards):
    """The description of a study's data set."""
    return f"results/datasets/{study_of(wildcards).dataset}/dataset.json"


def trained(cell):
    """The receipt of a cell."""
    return f"results/{cell.folder}/{receipts.CELL}"


def result_file(cell):
    """The result of a cell."""
    return f"results/{cell.folder}/result.json"


def cell_settings(wildcards):
    """The part of the study's settings that this cell depends on: a change elsewhere doesn't rerun it."""
    return as_json(cells.own_part(study_of(wildcards), wildcards.strategy))


def sources_of_settings(wildcards):
    """What a cell must know from other runs, by the option that takes it: its receipt, and where it stands."""
    study, cell = study_of(wildcards), cell_of(wildcards)
    found = {"dataset": (dataset_made(wildcards), dataset_file(wildcards))}
    is_edge = cell in cells.edge_cells(cell.study, study)
    if study.training.learning_rate == "edge" and not is_edge:
        found["learning_rate"] = (f"results/{cell.study}/learning_rate.json",) * 2
    if study.pilots and not is_edge:
        found["target"] = (f"results/{cell.study}/target.json",) * 2
    elif isinstance(study.training.target, SequentialEpochs) and not is_edge and cell.strategy != SEQUENTIAL:
        sequential = cells.Cell(cell.study, SEQUENTIAL, 1, cell.seed)
        found["sequential"] = (trained(sequential), result_file(sequential))
    if study.clock == "emulated" and study.network == "measured":
        found["network"] = (f"results/{cell.study}/receipts/network.json", f"results/{cell.study}/network.json")
    return found


def settings_from_runs(wildcards):
    """The receipts of these."""
    return {name: receipt for name, (receipt, _) in sources_of_settings(wildcards).items()}


def options_from_runs(wildcards):
    """These as command-line options."""
    found = sources_of_settings(wildcards)
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(path)}" for name, (_, path) in found.items())


def cell_ranks(wildcards):
    """MPI processes of a cell."""
    return cells.num_ranks(study_of(wildcards), cell_of(wildcards))


def cell_threads(wildcards):
    """Cores of a cell: one a rank, or the whole machine where a cell must be alone."""
    study = study_of(wildcards)
    return all_cores(wildcards) if study.alone else cell_ranks(wildcards) * study.training.threads


def edge_runs(wildcards):
    """The receipts of the sequential runs at several rates."""
    return [trained(cell) for cell in cells.edge_cells(wildcards.study, study_of(wildcards))]


def edge_results(wildcards):
    """The results of those."""
    return [result_file(cell) for cell in cells.edge_cells(wildcards.study, study_of(wildcards))]


def edge_tolerance(wildcards):
    """How much worse than a smaller rate's run a run may end."""
    return study_of(wildcards).edge.tolerance


def rate_of_study(wildcards):
    """The file that tells the rate at the edge, where that is looked for."""
    return (
        [f"results/{wildcards.study}/learning_rate.json"]
        if study_of(wildcards).training.learning_rate == "edge"
        else []
    )


def rate_option(wildcards):
    """The study's rate, or the file that tells it, as an option."""
    files = [f"--learning-rate {shlex.quote(path)}" for path in rate_of_study(wildcards)]
    return files[0] if files else f"--rate {study_of(wildcards).training.learning_rate}"


def target_epochs(wildcards):
    """Epochs that pilots are given to set the target."""
    study = study_of(wildcards)
    if not study.pilots:
        sys.exit(f"results/{wildcards.study}/target.json: study {wildcards.study} has no training.target.pilots")
    return study.training.target.sequential_epochs


def first_sequential_cell(wildcards):
    """The sequential run whose reconstructions are shown."""
    return f"results/{cells.sequential_cells(wildcards.study, study_of(wildcards))[0].folder}"


def first_sequential_trained(wildcards):
    """Its receipt."""
    return f"{first_sequential_cell(wildcards)}/{receipts.CELL}"


def new_nodule_settings(wildcards):
    """How many nodules are drawn, and how."""
    return as_json(study_of(wildcards).new_nodules)


# --- exactness

CASE_RANKS = (1, 2, 4)
CASE = "results/{study}/exactness/{clock}/{workers}workers/{ranks}ranks"


def case_folder(wildcards):
    """Where a run of the proof lies."""
    folder, known = CASE.format(**wildcards), cases(wildcards)
    if folder not in known:
        sys.exit(f"{folder}: no run of the proof; allowed: {', '.join(known)}")
    return folder


def case_ranks(wildcards):
    """Its ranks."""
    return int(wildcards.ranks)


def cases(wildcards):
    """The folders of every number of workers on every number of ranks that has a worker each, on both clocks."""
    return [
        f"results/{wildcards.study}/exactness/{clock}/{workers:02d}workers/{ranks}ranks"
        for clock in ("wall", "emulated")
        for workers in study_of(wildcards).workers
        for ranks in CASE_RANKS
        if ranks <= workers
    ]


def case_receipts(wildcards):
    """Their receipts."""
    return [f"{folder}/{receipts.CELL}" for folder in cases(wildcards)]


def case_results(wildcards):
    """Their results."""
    return [f"{folder}/result.json" for folder in cases(wildcards)]


def exactness_cost(wildcards):
    """The measured cost."""
    return f"results/{wildcards.study}/exactness/cost.csv"


def exactness_output(wildcards):
    """The table's path without its ending."""
    return f"results/{wildcards.study}/tables/exactness"


# --- analysis


def all_trained(wildcards):
    """The receipts of all cells of a study."""
    return [trained(cell) for cell in cells.all_cells(wildcards.study, study_of(wildcards))]


def other_clock_trained(wildcards):
    """The receipts of all cells of the study on the other clock."""
    other = study_of(wildcards).compare_clock_with
    return [trained(cell) for cell in cells.all_cells(other, CONFIG.studies[other])]


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


def readings():
    """The studies that try readings of the paper, and their starts."""
    return [name for name in CONFIG.studies if name.startswith(("reading_", "start_"))]


def reading_folders(wildcards):
    """Where they lie."""
    return [f"results/{name}" for name in readings()]


def reading_studies(wildcards):
    """Their settings."""
    return [f"{folder}/study.json" for folder in reading_folders(wildcards)]


def readings_trained(wildcards):
    """The receipts of all their cells."""
    return [trained(cell) for name in readings() for cell in cells.all_cells(name, CONFIG.studies[name])]


def study_artifacts(name):
    """Everything that a study makes."""
    folder = f"results/{name}"
    files = [f"{folder}/tables/cells.csv", f"{folder}/tables/speedup_law.csv", f"{folder}/claims.csv"]
    files += [trained(cell) for cell in cells.all_cells(name, CONFIG.studies[name])]
    dataset = f"results/datasets/{CONFIG.studies[name].dataset}"
    files += [f"{dataset}/quality/quality.html", f"{dataset}/losses.json"]
    files += expand(f"{folder}/figures/{{figure}}.png", figure=FIGURES)
    model = CONFIG.studies[name].model
    if model.kind == "deepdensity" and model.dimensions == 3:  # others may have nothing to draw nodules from
        files.append(f"{folder}/nodules/montage.png")
    if CONFIG.studies[name].compare_clock_with:
        files.append(f"{folder}/tables/clock_check.csv")
    return files
