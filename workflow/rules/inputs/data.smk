"""What the rules of data sets ask of the configuration."""


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
        item = dataset.download if dataset.download == "lidc" else name  # whose files come in one go
        return f"results/datasets/{wildcards.dataset}/download/{item}.json"
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


def masks_folder(wildcards):
    """The folder of the nodules' masks, if they are asked for; of artificial scans, their receipt."""
    dataset = dataset_of(wildcards)
    if not dataset.cubes.masks:
        return []
    return [dataset_receipt(wildcards.dataset, "masks") if dataset.phantom else present(wildcards, "masks")]


def cut_from(wildcards):
    """What cubes are cut from, as `once` is to know it: where it lies, not the marker of a download."""
    names = annotation_names(wildcards)
    if dataset_of(wildcards).phantom:
        made = [subset_folder(wildcards), *masks_folder(wildcards)]
        return [*made, *(place_of(wildcards, name) for name in names)]
    masks = ["masks"] if dataset_of(wildcards).cubes.masks else []
    return [place_of(wildcards, name) for name in (wildcards.subset, *names, *masks)]


def masks_of_part(wildcards):
    """The masks that are cut with the cubes of a part, if they are asked for."""
    asked = dataset_of(wildcards).cubes.masks
    return [f"{dataset_folder(wildcards)}/cubes/{wildcards.subset}.{wildcards.part}.masks.npy"] if asked else []


def masks_of_dataset(wildcards):
    """The masks of the data set, if they are asked for."""
    return [f"{dataset_folder(wildcards)}/masks.npy"] if dataset_of(wildcards).cubes.masks else []


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
    dataset = dataset_of(wildcards)
    named = dataset.download if dataset.download == "lidc" else None  # dataset.json names its publishers
    without = {"download": named, "jobs_per_subset": 1, "partial": False, "tolerated_losses": 0, "expected": Expected()}
    return as_json(replace(dataset, **without))


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
