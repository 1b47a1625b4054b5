"""The proof of exactness. Takes a study with reduction: exact; makes a table of digests, all equal, and the cost."""


localrules:
    exactness,
    exactness_case,
    exactness_table,


rule exactness:
    """Take the study `exactness`; make its proof: `snakemake --profile local exactness`."""
    input:
        "results/exactness/tables/exactness.csv",


rule exactness_case:
    """Take a study's settings; make the cell.json of one run of the proof."""
    input:
        dataset_made,
        own_files_of_case,
    output:
        f"{CASE}/cell.json",
    log:
        f"{CASE}/cell.log",
    retries: 0
    conda:
        "../../envs/train.yaml"
    params:
        folder=case_folder,
        settings=study_settings,
        dataset=dataset_file,
    shell:
        "python -m strongscale.analysis.exactness case --settings {params.settings:q} --dataset {params.dataset:q}"
        " --output {output:q} 2> {log:q}"


rule exactness_run:
    """Take a case's folder with its cell.json; make its result, on exactly so many ranks."""
    input:
        settings=f"{CASE}/cell.json",
        dataset=dataset_made,
    output:
        f"{CASE}/{receipts.CELL}",
    log:
        f"{CASE}/launch.log",
    conda:
        "../../envs/train.yaml"
    threads: case_ranks
    resources:
        **job_resources(case_job),
        launch=launch_options,
    params:
        folder=case_folder,
    shell:
        "python -m strongscale.jobs.launch {params.folder:q} {resources.launch} 2> {log:q}"


rule exactness_cost:
    """Take this machine for itself; make the ratio of exact to fast, for each number of workers."""
    input:
        dataset_made,
    output:
        "results/{study}/receipts/exactness_cost.json",
    log:
        "results/{study}/logs/exactness_cost.log",
    conda:
        "../../envs/train.yaml"
    threads: all_cores
    resources:
        **job_resources(stage_job),
    params:
        settings=study_settings,
        dataset=dataset_file,
        cost=exactness_cost,
    shell:
        "python -m strongscale.jobs.once {output:q} --inputs {input:q} --makes {params.cost:q} --run analysis.exactness cost"
        " --settings {params.settings:q} --dataset {params.dataset:q} --output {params.cost:q} 2> {log:q}"


rule exactness_table:
    """Take the results of all cases and the cost; make the table."""
    input:
        runs=case_receipts,
        cost="results/{study}/receipts/exactness_cost.json",
    output:
        "results/{study}/tables/exactness.csv",
        "results/{study}/tables/exactness.md",
    log:
        "results/{study}/logs/exactness.log",
    retries: 0
    conda:
        "../../envs/train.yaml"
    params:
        results=case_results,
        cost=exactness_cost,
        output=exactness_output,
    shell:
        "python -m strongscale.analysis.exactness table {params.results:q} --cost {params.cost:q}"
        " --output {params.output:q} 2> {log:q}"
