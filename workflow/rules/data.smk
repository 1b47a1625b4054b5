"""Scans -> cubes -> ledger -> one data set. Takes a folder in LUNA16's form; makes results/datasets/<name>/."""


localrules:
    download,
    missing_scans,
    phantom_annotations,
    ledger,
    losses,


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
    resources:
        **job_resources(stage_job),
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


rule download:
    """Take an item that the scans' folder lacks; fetch it from the publisher's records, where there is a network."""
    output:
        "results/datasets/{dataset}/download/{item}.json",
    log:
        "results/datasets/{dataset}/logs/{item}.download.log",
    conda:
        "../../envs/data.yaml"
    params:
        folder=scans_folder,
    shell:
        "python -m strongscale.data.download --folder {params.folder:q} --item {wildcards.item:q}"
        " --marker {output:q} --log {log:q}"


rule cubes:
    """Take a part of a subset's scans and the annotations; make the cubes of their nodules, a row an annotation."""
    input:
        scans=subset_folder,
        annotations=annotation_files,
    output:
        cubes="results/datasets/{dataset}/cubes/{subset}.{part}.npy",
        rows="results/datasets/{dataset}/cubes/{subset}.{part}.csv",
    log:
        "results/datasets/{dataset}/logs/{subset}.{part}.cubes.log",
    benchmark:
        "results/datasets/{dataset}/logs/{subset}.{part}.cubes.benchmark.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        **job_resources(stage_job),
    params:
        settings=cube_settings,
        folder=scans_folder,
        num_parts=num_parts,
    shell:
        "python -m strongscale.data.cubes --settings {params.settings:q} --scans {params.folder:q}"
        " --subset {wildcards.subset} --part {wildcards.part}/{params.num_parts}"
        " --cubes {output.cubes:q} --rows {output.rows:q} 2> {log:q}"


rule ledger:
    """Take what became of the annotations of all scans; make the account of every row, adding up."""
    input:
        annotations=annotation_files,
        parts=cube_rows,
    output:
        ledger="results/datasets/{dataset}/ledger.csv",
        totals="results/datasets/{dataset}/ledger.json",
    log:
        "results/datasets/{dataset}/logs/ledger.log",
    conda:
        "../../envs/data.yaml"
    params:
        settings=ledger_settings,
        scans=scans_folder,
        folder=dataset_folder,
    shell:
        "python -m strongscale.data.ledger --settings {params.settings:q} --scans {params.scans:q}"
        " --parts {input.parts:q} --output {params.folder:q} 2> {log:q}"


rule losses:
    """Take the ledger; go on if no more nodules were lost than is tolerated. The ledger stays, to be looked at."""
    input:
        "results/datasets/{dataset}/ledger.csv",
    output:
        "results/datasets/{dataset}/losses.json",
    log:
        "results/datasets/{dataset}/logs/losses.log",
    conda:
        "../../envs/data.yaml"
    params:
        tolerated=tolerated_losses,
    shell:
        "python -m strongscale.data.losses --ledger {input:q} --tolerated {params.tolerated} --output {output:q}"
        " 2> {log:q}"


rule dataset:
    """Take the ledger and all cubes; make one data set, split by scan."""
    input:
        # What the ledger says that the cubes' rows don't, expected counts or tolerated losses, changes no cube.
        losses=ancient("results/datasets/{dataset}/losses.json"),
        ledger=ancient("results/datasets/{dataset}/ledger.csv"),
        parts=cube_rows,
        cubes=cube_arrays,
    output:
        cubes="results/datasets/{dataset}/cubes.npy",
        manifest="results/datasets/{dataset}/manifest.csv",
        summary="results/datasets/{dataset}/dataset.json",
    log:
        "results/datasets/{dataset}/logs/dataset.log",
    conda:
        "../../envs/data.yaml"
    resources:
        **job_resources(stage_job),
    params:
        settings=dataset_settings,
        folder=dataset_folder,
    shell:
        "python -m strongscale.data.dataset --settings {params.settings:q} --ledger {input.ledger:q}"
        " --parts {input.parts:q} --output {params.folder:q} 2> {log:q}"


rule quality:
    """Take a data set and its ledger; make the pictures and the page by which to judge it."""
    input:
        code=QUALITY_CODE,
        cubes="results/datasets/{dataset}/cubes.npy",
        manifest="results/datasets/{dataset}/manifest.csv",
        summary="results/datasets/{dataset}/dataset.json",
        ledger="results/datasets/{dataset}/ledger.csv",
        totals="results/datasets/{dataset}/ledger.json",
    output:
        "results/datasets/{dataset}/quality/duplicates.csv",
        "results/datasets/{dataset}/quality/quality.md",
        figure=report(
            "results/datasets/{dataset}/quality/quality.png",
            caption="../report/quality.rst",
            category="Data",
            labels={"data": "Distributions"},
        ),
        montage=report(
            "results/datasets/{dataset}/quality/montage.png",
            caption="../report/montage.rst",
            category="Data",
            labels={"data": "Cubes"},
        ),
        page=report(
            "results/datasets/{dataset}/quality/quality.html",
            caption="../report/quality.rst",
            category="Data",
            labels={"data": "Accounts and checks"},
        ),
    log:
        "results/datasets/{dataset}/logs/quality.log",
    conda:
        "../../envs/analyse.yaml"
    resources:
        **job_resources(stage_job),
    params:
        folder=dataset_folder,
    shell:
        "python -m strongscale.data.quality {params.folder:q} --output {params.folder:q}/quality 2> {log:q}"
