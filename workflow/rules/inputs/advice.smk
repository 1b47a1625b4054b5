"""What the rules of advice ask of the configuration: a small study beside the one that advice is on."""

PROBE = f"{CONFIG.study}{advised.SUFFIX}"
IS_ADVISED = (
    CONFIG.study in CONFIG.studies
    and CONFIG.studies[CONFIG.study].training.target is not None
    and PROBE not in CONFIG.studies
)
if IS_ADVISED:
    CONFIG.studies[PROBE] = advised.probe(CONFIG.studies[CONFIG.study], CONFIG.study)


def advised_study(wildcards):
    """The study that advice is on: the one of this command."""
    study = study_of(wildcards)
    if wildcards.study != CONFIG.study or not IS_ADVISED:
        sys.exit(
            f"results/{wildcards.study}/advice: advice is on the study of the command, with a target, and no other study may be "
            f"named {wildcards.study}{advised.SUFFIX}; add --config study={wildcards.study}, and see its training.target"
        )
    return study


def probe_of(wildcards):
    """The small study beside it."""
    advised_study(wildcards)
    return PROBE


def probe_folder(wildcards):
    """Where it lies."""
    return f"results/{probe_of(wildcards)}"


def probe_trained(wildcards):
    """The receipts of its cells, and its settings."""
    name = probe_of(wildcards)
    study = CONFIG.studies[name]
    edge = [edge_receipt(name)] if cells.seeks_edge(study) else []
    return [*(trained(cell) for cell in cells.all_cells(name, study)), f"results/{name}/study.json", *edge]


def advice_timings(wildcards):
    """The receipt of the timings of strong scaling on all numbers of workers, or the file that the study names."""
    study = advised_study(wildcards)
    if study.timings:
        return given_timings(wildcards.study, study)
    return f"results/timings/receipts/{timed.name_of(study, SEQUENTIAL)}.json"


def advice_timings_file(wildcards):
    """Where they lie."""
    study = advised_study(wildcards)
    if study.timings:
        return given_timings(wildcards.study, study)
    return f"results/timings/{timed.name_of(study, SEQUENTIAL)}/timings.json"


def advice_network(wildcards):
    """The measured network, where the study has it."""
    is_measured = advised_study(wildcards).network == "measured"
    return [f"results/{wildcards.study}/receipts/network.json"] if is_measured else []


def advice_options(wildcards):
    """Where that lies, and the price of a GPU-hour."""
    options = ["--network", f"results/{wildcards.study}/network.json"] if advice_network(wildcards) else []
    return shlex.join([*options, *(["--price", str(CONFIG.price)] if CONFIG.price is not None else [])])


def advice_asked(wildcards):
    """The page on the study of the command."""
    if CONFIG.study not in CONFIG.studies:
        sys.exit(f"advice: {CONFIG.study} is a comparison; allowed: --config study=<a study>")
    return f"results/{CONFIG.study}/advice/advice.html"
