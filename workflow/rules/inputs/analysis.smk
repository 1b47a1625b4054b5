"""What the rules of tables, figures and the report ask of the configuration."""


def reconstructions(wildcards):
    """The receipt of a study's reconstructions, which only autoencoders make."""
    study = study_of(wildcards)
    is_made = study.task.kind == "autoencoding" and not study.trajectories
    return [f"results/{wildcards.study}/receipts/reconstructions.json"] if is_made else []


def all_trained(wildcards):
    """The receipts of all cells of a study, and what their seconds are made of."""
    return all_made(wildcards.study, study_of(wildcards))


def all_made(name, study):
    """The same, of a study by name; one that takes another's trajectories needs that one's settings too."""
    study = with_all_seeds(name, study)
    others = [f"results/{study.trajectories}/study.json"] if study.trajectories else []
    others += [edge_receipt(study.trajectories or name)] if cells.seeks_edge(study) else []
    return [*(trained(cell) for cell in cells.all_cells(name, study)), *others, *clock_sources(name, study)]


def with_all_seeds(name, study):
    """The study with the seeds that looks at it asked for, one look after another; any other study as it is."""
    if study.seeds != "auto":
        return study
    owner = study.trajectories or name
    for number in range(len(LOOKS)):
        look = Path(checkpoints.look.get(study=owner, number=number).output[0])
        if json.loads(look.read_text(encoding="utf-8"))["is_done"]:
            break
    return looks.with_looks(study, Path("results", owner))


def look_trained(wildcards):
    """The receipts of all cells that a look is at, which the look before it asked for, and what their seconds are made of."""
    study, number = study_of(wildcards), int(wildcards.number)
    if study.seeds != "auto" or study.trajectories or number >= len(LOOKS):
        sys.exit(f"results/{wildcards.study}/looks/{number}.json: no look; seeds: auto has {len(LOOKS)}, from 0 on")
    before = [checkpoints.look.get(study=wildcards.study, number=one).output[0] for one in range(number)]
    study = looks.with_looks(study, Path("results", wildcards.study), number)
    every = [trained(cell) for cell in cells.all_cells(wildcards.study, study)]
    return before + every + clock_sources(wildcards.study, study)


def proof_beside(wildcards):
    """The proof of exactness, where it was made: claim 2 cites it."""
    study_of(wildcards)
    proof = "results/exactness/tables/exactness.csv"
    return [proof] if Path(proof).exists() else []


def other_clock_trained(wildcards):
    """The receipts of all cells of the study on the other clock."""
    other = study_of(wildcards).compare_clock_with
    return all_made(other, CONFIG.studies[other])


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
    timings = "measured timings"
    if study.timings and timed.path_of(study.timings).exists():
        origin = json.loads(timed.path_of(study.timings).read_text(encoding="utf-8")).get("origin")
        timings = f"{origin} timings ({study.timings})"
    return f"emulated clock: {timings}, modelled network ({network})"


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


def default_artifacts(wildcards):
    """Everything that the study or the comparison makes which a bare `snakemake` makes."""
    make = comparison_artifacts if CONFIG.study in CONFIG.comparisons else study_artifacts
    return make(CONFIG.study)


def study_artifacts(name):
    """Everything that a study makes."""
    folder = f"results/{name}"
    study = study_named(name)
    files = [f"{folder}/tables/cells.csv", f"{folder}/tables/speedup_law.csv", f"{folder}/claims.csv"]
    files += [made for made in all_made(name, study) if made.startswith("results/")]
    files += expand(f"{folder}/figures/{{figure}}.png", figure=FIGURES)
    if study.clock == "emulated":
        files += [f"{folder}/clock.json", f"{folder}/tables/machines.csv"]
    if tuned.is_tuned(study):
        files.append(f"{folder}/tables/tuning.csv")
    if study.task.has_measures:
        files.append(f"{folder}/tables/measures.csv")
    if study.dataset:
        dataset = f"results/datasets/{study.dataset}"
        files += [f"{dataset}/quality/quality.html", f"{dataset}/losses.json"]
    if study.trajectories:
        return files
    if study.task.kind == "autoencoding" and study.model.kind == "deepdensity" and study.model.dimensions == 3:
        files.append(f"{folder}/nodules/montage.png")  # others may have nothing to draw nodules from
    if study.compare_clock_with:
        files.append(f"{folder}/tables/clock_check.csv")
    return files
