"""Scans -> cubes -> one data set. Takes a folder in LUNA16's form; makes results/datasets/<name>/."""


rule phantom_annotations:
    """Take a phantom's settings; make the two lists of its nodules."""
    output:
        annotations="results/datasets/{dataset}/scans/annotations.csv",
        excluded="results/datasets/{dataset}/scans/annotations_excluded.csv",
    log:
        "results/datasets/{dataset}/logs/annotations.log",
    conda:
        "../../envs/data.yaml"
    params:
        settings=phantom_settings,
        folder=scans_folder,
    shell:
        "python -m strongscale.data.phantom annotations --settings {params.settings:q}"
        " --output {params.folder:q} 2> {log:q}"


rule phantom_scans:
    """Take a phantom's settings; make the scans of one subset."""
    output:
        subset=directory("results/datasets/{dataset}/scans/{subset}"),
    log:
        "results/datasets/{dataset}/logs/{subset}.scans.log",
    conda:
        "../../envs/data.yaml"
    params:
        settings=phantom_settings,
    shell:
        "python -m strongscale.data.phantom scans --settings {params.settings:q}"
        " --subset {wildcards.subset} --output {output.subset:q} 2> {log:q}"


rule missing_scans:
    """Take a data set whose scans aren't there; say so when the time comes, so that everything can be planned before."""
    output:
        "results/datasets/{dataset}/missing/{name}",
    log:
        "results/datasets/{dataset}/logs/{name}.missing.log",
    conda:
        "../../envs/data.yaml"
    params:
        folder=scans_folder,
    shell:
        "python -m strongscale.data.missing {params.folder:q}/{wildcards.name:q} 2>&1 | tee {log:q}; exit 1"


rule cubes:
    """Take a subset's scans and the annotations; make a cube of every nodule, and their manifest."""
    input:
        scans=subset_folder,
        annotations=annotation_files,
    output:
        cubes="results/datasets/{dataset}/cubes/{subset}.npy",
        manifest="results/datasets/{dataset}/cubes/{subset}.csv",
    log:
        "results/datasets/{dataset}/logs/{subset}.cubes.log",
    benchmark:
        "results/datasets/{dataset}/logs/{subset}.cubes.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=cube_settings,
        folder=scans_folder,
    shell:
        "python -m strongscale.data.cubes --settings {params.settings:q} --scans {params.folder:q}"
        " --subset {wildcards.subset} --output {output.cubes:q} --manifest {output.manifest:q} 2> {log:q}"


rule dataset:
    """Take all subsets' cubes; make one data set, split by scan."""
    input:
        manifests=cube_manifests,
        cubes=cube_arrays,
    output:
        cubes="results/datasets/{dataset}/cubes.npy",
        manifest="results/datasets/{dataset}/manifest.csv",
        summary="results/datasets/{dataset}/dataset.json",
    log:
        "results/datasets/{dataset}/logs/dataset.log",
    conda:
        "../../envs/data.yaml"
    params:
        settings=dataset_settings,
        folder=dataset_folder,
    shell:
        "python -m strongscale.data.dataset --settings {params.settings:q}"
        " --manifests {input.manifests:q} --output {params.folder:q} 2> {log:q}"
