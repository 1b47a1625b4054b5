"""Data set -> cells. Takes a study's settings; makes a folder with result.json for each (strategy, workers, seed)."""


localrules:
    study,
    cell,
    edge,


rule study:
    """Take a study's settings; write them down, resolved, beside its results."""
    input:
        dataset=dataset_file,
    output:
        "results/{study}/study.json",
    log:
        "results/{study}/logs/study.log",
    conda:
        "../../envs/data.yaml"
    params:
        settings=study_settings,
    shell:
        "python -m strongscale.prepare --settings {params.settings:q} --dataset {input.dataset:q}"
        " --output {output:q} 2> {log:q}"


rule network:
    """Take this machine; measure what joins two ranks on it."""
    output:
        "results/{study}/network.json",
    log:
        "results/{study}/logs/network.log",
    conda:
        "../../envs/train.yaml"
    threads: all_cores
    resources:
        **job_resources(two_ranks),
    shell:
        "python -m strongscale.network --output {output:q} 2> {log:q}"


rule cell:
    """Take a cell's part of the settings and what other runs found; make its cell.json."""
    input:
        unpack(settings_from_runs),
    output:
        f"{CELL}/cell.json",
    log:
        f"{CELL}/cell.log",
    conda:
        "../../envs/data.yaml"
    params:
        settings=cell_settings,
        from_runs=options_from_runs,
    shell:
        "python -m strongscale.prepare --settings {params.settings:q} {params.from_runs}"
        " --output {output:q} 2> {log:q}"


rule train:
    """Take a cell's folder with its cell.json; make its result: one MPI job."""
    input:
        settings=f"{CELL}/cell.json",
        dataset=dataset_file,
    output:
        epochs=f"{CELL}/epochs.csv",
        weights=f"{CELL}/weights.safetensors",
        result=f"{CELL}/result.json",
    log:
        f"{CELL}/train.log",
    benchmark:
        f"{CELL}/benchmark.tsv"
    group:
        cell_group
    conda:
        "../../envs/train.yaml"
    threads: cell_threads
    resources:
        **job_resources(cell_job),
        launch=launch_options,
    params:
        folder=cell_folder,
    shell:
        "python -m strongscale.launch {params.folder:q} {resources.launch} 2> {log:q}"


rule edge:
    """Take the sequential runs at several rates; make the largest rate that trains."""
    input:
        edge_results,
    output:
        "results/{study}/learning_rate.json",
    log:
        "results/{study}/logs/edge.log",
    conda:
        "../../envs/data.yaml"
    params:
        tolerance=edge_tolerance,
    shell:
        "python -m strongscale.edge {input:q} --tolerance {params.tolerance} --output {output:q} 2> {log:q}"


rule reconstructions:
    """Take a trained sequential cell; make two validation nodules' reconstructions."""
    input:
        first_sequential_result,
    output:
        "results/{study}/reconstructions.npz",
    log:
        "results/{study}/logs/reconstructions.log",
    conda:
        "../../envs/train.yaml"
    resources:
        **job_resources(stage_job),
    params:
        folder=first_sequential_cell,
    shell:
        "python -m strongscale.reconstruct {params.folder:q} --output {output:q} 2> {log:q}"
