"""What the rules of comparisons ask of the configuration."""


def comparison_of(wildcards):
    """The comparison a wildcard names."""
    check_scheduler()
    return CONFIG.comparisons[wildcards.comparison]


def compared(wildcards):
    """The receipts of all cells of all its studies, what their seconds are made of, and their settings."""
    names = list(comparison_of(wildcards).studies.values())
    return [made for name in names for made in all_made(name, study_named(name))] + [
        f"results/{name}/study.json" for name in names
    ]


def compared_studies(wildcards):
    """Titles and folders, as command-line options."""
    each = comparison_of(wildcards).studies.items()
    return " ".join(f"--study {shlex.quote(title)} results/{name}" for title, name in each)


def compared_networks(wildcards):
    """The networks."""
    return list(comparison_of(wildcards).networks)


def drawn(wildcards):
    """One study of a comparison: all that its seconds are made of."""
    if wildcards.study not in comparison_of(wildcards).studies.values():
        allowed = ", ".join(comparison_of(wildcards).studies.values())
        sys.exit(f"comparison {wildcards.comparison}: no study {wildcards.study}; allowed: {allowed}")
    return [*all_made(wildcards.study, study_of(wildcards)), f"results/{wildcards.study}/study.json"]


def drawn_title(wildcards):
    """Under which title it is shown."""
    each = comparison_of(wildcards).studies.items()
    return next((title for title, name in each if name == wildcards.study), wildcards.study)


def comparison_artifacts(name):
    """Everything that a comparison makes, and of its studies what a reader asks for next."""
    files = expand(f"results/{name}/tables/{{table}}.html", table=COMPARISON_TABLES)
    for one in CONFIG.comparisons[name].studies.values():
        study, folder = study_named(one), f"results/{one}"
        files += [f"results/{name}/figures/{one}.png", f"{folder}/tables/cells.csv", f"{folder}/figures/losses.png"]
        files += [f"{folder}/clock.json"]
        files += [f"{folder}/tables/tuning.csv"] if tuned.is_tuned(study) else []
        files += [f"{folder}/tables/measures.csv"] if study.task.has_measures else []
    return files
