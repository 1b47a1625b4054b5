"""What the rules of the proof of exactness ask of the configuration."""

CASE_RANKS = (1, 2, 4)
CASE = "results/{study}/exactness/{strategy}/{clock}/{workers}workers/{ranks}ranks"


def case_folder(wildcards):
    """Where a run of the proof lies."""
    folder, known = CASE.format(**wildcards), cases(wildcards)
    if folder not in known:
        sys.exit(f"{folder}: no run of the proof; allowed: {', '.join(known)}")
    return folder


def case_ranks(wildcards):
    """Its ranks."""
    return int(wildcards.ranks)


def own_files_of_case(wildcards):
    """The user's own files that a run of the proof is made of."""
    return list(parts.digests(study_of(wildcards).parts(wildcards.strategy)))


def cases(wildcards):
    """The folders of each line's numbers of workers on every number of ranks that has a worker each, on both clocks."""
    study = study_of(wildcards)
    return [
        f"results/{wildcards.study}/exactness/{line}/{clock}/{workers:02d}workers/{ranks}ranks"
        for line, entry in study.strategies.items()
        for clock in ("wall", "emulated")
        for workers in entry.workers or study.workers
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
