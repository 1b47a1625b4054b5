"""Scans -> cubes -> ledger -> one data set. Takes a folder in LUNA16's form; makes results/datasets/<name>/."""


localrules:
    download,
    missing_scans,
    phantom_annotations,
    ledger,
    totals,
    losses,


rule phantom_annotations:
    """Take a phantom's settings; make the two lists of its nodules."""
    output:
        annotations="results/datasets/{dataset}/scans/annotations.csv",
        excluded="results/datasets/{dataset}/scans/annotations_excluded.csv",
    log:
        "results/datasets/{dataset}/logs/annotations.log",
    retries: 0
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
        "results/datasets/{dataset}/receipts/scans.{subset}.json",
    log:
        "results/datasets/{dataset}/logs/{subset}.scans.log",
    conda:
        "../../envs/data.yaml"
    resources:
        **job_resources(stage_job),
    params:
        settings=phantom_settings,
        folder=scans_folder,
    shell:
        "python -m strongscale.jobs.once {output:q} --makes {params.folder:q}/{wildcards.subset}"
        " --run data.phantom scans --settings {params.settings:q}"
        " --subset {wildcards.subset} --output {params.folder:q}/{wildcards.subset} 2> {log:q}"


rule phantom_masks:
    """Take a phantom's settings; make the masks of the nodules of all its scans."""
    output:
        "results/datasets/{dataset}/receipts/masks.json",
    log:
        "results/datasets/{dataset}/logs/masks.log",
    conda:
        "../../envs/data.yaml"
    resources:
        **job_resources(stage_job),
    params:
        settings=phantom_settings,
        folder=scans_folder,
    shell:
        "python -m strongscale.jobs.once {output:q} --makes {params.folder:q}/masks"
        " --run data.phantom masks --settings {params.settings:q} --output {params.folder:q}/masks 2> {log:q}"


rule missing_scans:
    """Take a data set whose scans aren't there; say so when the time comes, so that everything can be planned before."""
    output:
        "results/datasets/{dataset}/missing/{name}",
    log:
        "results/datasets/{dataset}/logs/{name}.missing.log",
    retries: 0
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
        masks=masks_folder,
    output:
        "results/datasets/{dataset}/receipts/cubes.{subset}.{part}.json",
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
        cut_from=cut_from,
        num_parts=num_parts,
        cubes=dataset_folder,
        masks=masks_of_part,
    shell:
        "part={params.cubes:q}/cubes/{wildcards.subset}.{wildcards.part};"
        ' python -m strongscale.jobs.once {output:q} --inputs {params.cut_from:q} --makes "$part.npy" "$part.csv" {params.masks:q}'
        " --run data.cubes --settings {params.settings:q} --scans {params.folder:q}"
        " --subset {wildcards.subset} --part {wildcards.part}/{params.num_parts}"
        ' --cubes "$part.npy" --rows "$part.csv" 2> {log:q}'


rule ledger:
    """Take what became of the annotations of all scans; make the account of every row."""
    input:
        annotations=annotation_files,
        parts=cube_receipts,
    output:
        "results/datasets/{dataset}/ledger.csv",
    log:
        "results/datasets/{dataset}/logs/ledger.log",
    retries: 0
    conda:
        "../../envs/data.yaml"
    params:
        settings=ledger_settings,
        scans=scans_folder,
        rows=cube_rows,
    shell:
        "python -m strongscale.data.ledger --settings {params.settings:q} --scans {params.scans:q}"
        " --parts {params.rows:q} --output {output:q} 2> {log:q}"


rule totals:
    """Take the ledger; make its totals, which add up, beside those that somebody expects."""
    input:
        "results/datasets/{dataset}/ledger.csv",
    output:
        "results/datasets/{dataset}/ledger.json",
    log:
        "results/datasets/{dataset}/logs/totals.log",
    retries: 0
    conda:
        "../../envs/data.yaml"
    params:
        settings=totals_settings,
    shell:
        "python -m strongscale.data.totals --settings {params.settings:q} --ledger {input:q} --output {output:q}"
        " 2> {log:q}"


rule losses:
    """Take the ledger; say whether more nodules were lost than is tolerated now: the data set may be of another day."""
    input:
        "results/datasets/{dataset}/ledger.csv",
    output:
        "results/datasets/{dataset}/losses.json",
    log:
        "results/datasets/{dataset}/logs/losses.log",
    retries: 0
    conda:
        "../../envs/data.yaml"
    params:
        tolerated=tolerated_losses,
    shell:
        "python -m strongscale.data.losses --ledger {input:q} --tolerated {params.tolerated} --output {output:q}"
        " 2> {log:q}"


rule dataset:
    """Take the ledger and all cubes; make one data set, split by patient or scan. The ledger stays, to be looked at, if it isn't made."""
    input:
        ledger="results/datasets/{dataset}/ledger.csv",
        parts=cube_receipts,
    output:
        "results/datasets/{dataset}/receipts/dataset.json",
    log:
        "results/datasets/{dataset}/logs/dataset.log",
    retries: 0
    conda:
        "../../envs/data.yaml"
    resources:
        **job_resources(stage_job),
        tolerated=tolerated_losses,  # not in params, which would make the data set anew
    params:
        settings=dataset_settings,
        rows=cube_rows,
        folder=dataset_folder,
        masks=masks_of_dataset,
    shell:
        "folder={params.folder:q}; python -m strongscale.jobs.once {output:q} --inputs {input:q}"
        ' --makes "$folder/cubes.npy" "$folder/manifest.csv" "$folder/dataset.json" {params.masks:q}'
        " --run data.dataset --settings {params.settings:q} --ledger {input.ledger:q}"
        ' --tolerated {resources.tolerated} --parts {params.rows:q} --output "$folder" 2> {log:q}'


rule quality:
    """Take a data set and its ledger; make the pictures and the page by which to judge it."""
    input:
        code=QUALITY_CODE,
        dataset="results/datasets/{dataset}/receipts/dataset.json",
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
