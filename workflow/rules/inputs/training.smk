"""What the rules of cells ask of the configuration."""


def study_settings(wildcards):
    """The settings of a study."""
    return as_json(study_of(wildcards))


def dataset_made(wildcards):
    """The receipt of what a study is trained on: a data set, or the samples that are its task's own."""
    return data_receipt(wildcards.study, study_of(wildcards))


def data_receipt(name, study):
    """The same, of a study by name."""
    if study.task.takes_nodules:
        return dataset_receipt(study.dataset, "dataset")
    return f"results/{name}/receipts/samples.json"


def dataset_file(wildcards):
    """The description of those."""
    return f"results/{cells.samples_folder(wildcards.study, study_of(wildcards))}/dataset.json"


def task_of(wildcards):
    """The task of a study that has its own samples, with its parameters."""
    task = study_of(wildcards).task
    if task.takes_nodules:
        sys.exit(
            f"results/{wildcards.study}/samples: study {wildcards.study} is trained on a data set, with task {task.kind}"
        )
    return as_json(task)


def task_sources(wildcards):
    """The file of a user's own task, and the data set that samples are made of: a change of either makes them again."""
    study = study_of(wildcards)
    source = [dataset_receipt(study.dataset, "dataset")] if study.dataset else []
    return [*source, *parts.digests([type(study.task)])]


def task_options(wildcards):
    """Where that data set lies, as a command-line option."""
    study = study_of(wildcards)
    return f"--dataset results/datasets/{study.dataset}" if study.dataset else ""


def own_files(wildcards):
    """The user's own files that a cell is made of: a change of one trains the cell again."""
    return list(parts.digests(study_of(wildcards).parts(wildcards.strategy)))


def trained(cell):
    """The receipt of a cell."""
    return f"results/{cell.folder}/{receipts.CELL}"


def result_file(cell):
    """The result of a cell."""
    return f"results/{cell.folder}/result.json"


def cell_settings(wildcards):
    """The part of the study's settings that this cell depends on: a change elsewhere doesn't rerun it."""
    study_of(wildcards)
    return line_settings(wildcards.study, wildcards.strategy)


@functools.cache
def line_settings(name, line):
    """The same for all cells of a line."""
    return as_json(cells.own_part(CONFIG.studies[name], line))


def sources_of_settings(wildcards):
    """What a cell must know from other runs, by the option that takes it: its receipt, and where it stands."""
    study, cell = study_of(wildcards), cell_of(wildcards)
    found = {"dataset": (dataset_made(wildcards), dataset_file(wildcards))}
    is_beside = cells.is_rate_name(cell.strategy)
    if cells.seeks_edge(study) and not is_beside:
        found["learning_rate"] = (edge_receipt(cell.study), f"results/{cell.study}/learning_rate.json")
    if tuned.is_tuned(study) and not is_beside:
        search = tuned.search_of(study, cell.strategy, cell.workers)
        found["learning_rate"] = tuple(f"results/{cell.study}/{path}" for path in (search.receipt, search.file))
    if study.pilots and not is_beside and cell.strategy != cells.PILOT:
        found["target"] = (f"results/{cell.study}/target.json",) * 2
    if timed.finds_learners(study, cell.strategy):
        found["timings"] = timings_of(cell.study, study, cell.strategy)
    return found


def timings_of(name, study, line):
    """The receipt of a line's timings, and where they lie; a user's own file is its own receipt."""
    path = timed.path_in(Path("results"), study, line)
    if study.clock == "emulated" and study.timings:
        return (given_timings(name, study),) * 2
    return f"results/timings/receipts/{path.parent.name}.json", str(path)


def given_timings(name, study):
    """The file of timings that a study names."""
    path = timed.path_of(study.timings)
    if not path.exists():
        sys.exit(
            f"config: studies.{name}.timings: {path}: no such file; allowed: {', '.join(timed.shipped())}, or a file"
        )
    return str(path)


def edge_receipt(name):
    """The receipt of the search for a study's edge."""
    return f"results/{name}/receipts/learning_rate.json"


def settings_from_runs(wildcards):
    """The receipts of these."""
    return {name: receipt for name, (receipt, _) in sources_of_settings(wildcards).items()}


def options_from_runs(wildcards):
    """These as command-line options."""
    found = sources_of_settings(wildcards)
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(path)}" for name, (_, path) in found.items())


@functools.cache
def timed_works():
    """What must be timed on this machine for all studies together: by its name, in which studies and lines it is needed."""
    works = {}
    for name, study in CONFIG.studies.items():
        names = {}
        for line in timed.measured_lines(name, study):
            optimizer = json.dumps(plain(timed.optimizer_of(study, line)))
            names.setdefault(optimizer, timed.name_of(study, line))
            works.setdefault(names[optimizer], []).append((name, line))
    if CONFIG.study in CONFIG.studies:  # advice on a wall clock's study needs them, too
        works.setdefault(timed.name_of(CONFIG.studies[CONFIG.study], SEQUENTIAL), []).append((CONFIG.study, SEQUENTIAL))
    return works


def timed_first(wildcards):
    """The first study and line that need these timings."""
    if wildcards.work not in timed_works():
        sys.exit(f"results/timings/{wildcards.work}: no study needs it; allowed: {', '.join(timed_works())}")
    name, line = timed_works()[wildcards.work][0]
    study_named(name)
    return name, CONFIG.studies[name], line


def timed_settings(wildcards):
    """The settings that these seconds depend on."""
    _, study, line = timed_first(wildcards)
    return as_json(timed.own_part(study, line))


def timed_files(wildcards):
    """The user's own files that these seconds depend on: a change of one has them measured again."""
    _, study, line = timed_first(wildcards)
    return list(parts.digests([type(study.task), type(study.model), type(timed.optimizer_of(study, line))]))


def timed_samples(wildcards):
    """The samples that are taken: their receipt."""
    name, study, _ = timed_first(wildcards)
    return data_receipt(name, study)


def timed_dataset(wildcards):
    """The description of those."""
    name, study, _ = timed_first(wildcards)
    return f"results/{cells.samples_folder(name, study)}/dataset.json"


def timed_minibatches(wildcards):
    """The minibatches of all studies that need these timings, as SAMPLES:WORKERS or SAMPLES:WORKERS:LEARNERS."""
    _, study, line = timed_first(wildcards)
    return timed.asked(study, line)


def timed_job(wildcards, attempt):
    """The job that takes the time: what a cell of one rank asks for."""
    _, study, _ = timed_first(wildcards)
    return training_job(study, 1, attempt)


def clock_sources(name, study):
    """What a study's seconds are made of besides its trajectories: timings and network."""
    if study.clock == "wall":
        return []
    if study.timings:
        found = [given_timings(name, study)]
    else:
        works = {work for work, needed in timed_works().items() if any(one == name for one, _ in needed)}
        found = [f"results/timings/receipts/{work}.json" for work in sorted(works)]
    return found + ([f"results/{name}/receipts/network.json"] if study.network == "measured" else [])


def cell_ranks(wildcards):
    """MPI processes of a cell."""
    return cells.num_ranks(study_of(wildcards), cell_of(wildcards))


def cell_threads(wildcards):
    """Cores of a cell: one a rank, or the whole machine where a cell must be alone."""
    study = study_of(wildcards)
    return all_cores(wildcards) if study.alone else cell_ranks(wildcards) * study.training.threads


def edge_settings(wildcards):
    """The part of the study's settings that the search for the edge depends on."""
    study = study_of(wildcards)
    if not cells.seeks_edge(study) or study.trajectories:
        sys.exit(f"results/{wildcards.study}/learning_rate.json: study {wildcards.study} looks for no edge of its own")
    return as_json(cells.search_part(study))


def sequential_files(wildcards):
    """The user's own files that sequential runs are made of: a change of one has the edge looked for again."""
    return list(parts.digests(study_of(wildcards).parts(SEQUENTIAL)))


def search_job(wildcards, attempt):
    """The job that looks for the edge, or tunes: what a cell of one rank asks for."""
    return training_job(study_of(wildcards), 1, attempt)


def search_threads(wildcards):
    """Its cores."""
    study = study_of(wildcards)
    return all_cores(wildcards) if study.alone else study.training.threads


def pilots_trained(wildcards):
    """The receipts of the runs that set the target."""
    return [trained(cell) for cell in cells.pilot_cells(wildcards.study, study_of(wildcards))]


def pilot_results(wildcards):
    """The results of those."""
    return [result_file(cell) for cell in cells.pilot_cells(wildcards.study, study_of(wildcards))]


def search_named(wildcards):
    """The study whose rates are tuned, and which of its searches this is."""
    study = study_of(wildcards)
    known = {search.name: search for search in tuned.searches(study)} if tuned.is_tuned(study) else {}
    if wildcards.search not in known or study.trajectories:
        allowed = ", ".join(known) or "none: its learning_rate isn't tuned"
        sys.exit(
            f"results/{wildcards.study}/receipts/tuning.{wildcards.search}.json: study {wildcards.study} tunes no "
            f"{wildcards.search}; allowed: {allowed}"
        )
    return study, known[wildcards.search]


def tuned_settings(wildcards):
    """The part of the study's settings that the search depends on."""
    study, search = search_named(wildcards)
    return as_json(tuned.own_part(study, search.line))


def tuned_options(wildcards):
    """What is tuned."""
    _, search = search_named(wildcards)
    of_line = f" --line {shlex.quote(search.line)} --workers {search.workers}" if search.is_own else ""
    return f"--batch {search.batch}{of_line}"


def tuned_files(wildcards):
    """The user's own files that the trials are made of: a change of one has them made again."""
    study, search = search_named(wildcards)
    return list(parts.digests(study.parts(search.line)))


def tuned_file(wildcards):
    """What it makes."""
    _, search = search_named(wildcards)
    return f"results/{wildcards.study}/{search.file}"


def tunings(name, study):
    """The receipts of all searches of a study; those of a study with another's trajectories are the other's."""
    return [f"results/{study.trajectories or name}/{search.receipt}" for search in tuned.searches(study)]


def all_tuned(wildcards):
    """The receipts of all searches of a study whose rates are tuned."""
    study = study_of(wildcards)
    if not tuned.is_tuned(study):
        sys.exit(
            f"results/{wildcards.study}/tables/tuning.csv: the learning_rate of study {wildcards.study} isn't tuned"
        )
    return tunings(wildcards.study, study)


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
