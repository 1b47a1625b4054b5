"""Data set -> cells. Takes a study's settings; makes a folder with result.json for each (strategy, workers, seed).

What a run makes is its own: Snakemake is told of a receipt, since it deletes what it is told of (see receipts.py).
"""


localrules:
    study,
    cell,
    target,


rule study:
    """Take a study's settings; write them down, resolved, beside its results."""
    input:
        dataset_made,
    output:
        "results/{study}/study.json",
    log:
        "results/{study}/logs/study.log",
    retries: 0
    conda:
        "../../envs/data.yaml"
    params:
        settings=study_settings,
        dataset=dataset_file,
    shell:
        "python -m strongscale.training.prepare --settings {params.settings:q} --dataset {params.dataset:q}"
        " --output {output:q} 2> {log:q}"


rule samples:
    """Take a task that has its own samples, and the data set that they are made of; make them, and try the task on a few."""
    input:
        task_sources,
    output:
        "results/{study}/receipts/samples.json",
    log:
        "results/{study}/logs/samples.log",
    conda:
        "../../envs/train.yaml"
    resources:
        **job_resources(stage_job),
    params:
        task=task_of,
        source=task_options,
        folder=study_folder,
    shell:
        "folder={params.folder:q}/samples; python -m strongscale.jobs.once {output:q} --inputs {input:q}"
        ' --makes "$folder/samples.safetensors" "$folder/dataset.json"'
        ' --run training.samples --task {params.task:q} {params.source} --output "$folder" 2> {log:q}'


rule network:
    """Take this machine; measure what joins two ranks on it."""
    output:
        "results/{study}/receipts/network.json",
    log:
        "results/{study}/logs/network.log",
    conda:
        "../../envs/train.yaml"
    threads: all_cores
    resources:
        **job_resources(two_ranks),
    params:
        folder=study_folder,
    shell:
        "python -m strongscale.jobs.once {output:q} --makes {params.folder:q}/network.json"
        " --run measurement.network --output {params.folder:q}/network.json 2> {log:q}"


rule timings:
    """Take a model and its samples; measure one worker's seconds on this machine, alone on it, for every study that needs them."""
    input:
        timed_samples,
        timed_files,
    output:
        "results/timings/receipts/{work}.json",
    log:
        "results/timings/{work}/timings.log",
    conda:
        "../../envs/train.yaml"
    threads: all_cores
    resources:
        **job_resources(timed_job),
    params:
        settings=timed_settings,
        dataset=timed_dataset,
        minibatches=timed_minibatches,
        made="results/timings/{work}/timings.json",
    shell:
        "python -m strongscale.jobs.once {output:q} --inputs {input:q} --makes {params.made:q}"
        " --run measurement.timings --settings {params.settings:q} --dataset {params.dataset:q}"
        " --minibatches {params.minibatches:q} --output {params.made:q} 2> {log:q}"


rule cell:
    """Take a cell's part of the settings and what other runs found; make its cell.json."""
    input:
        unpack(settings_from_runs),
        own_files,
    output:
        f"{CELL}/cell.json",
    log:
        f"{CELL}/cell.log",
    retries: 0
    conda:
        "../../envs/data.yaml"
    params:
        settings=cell_settings,
        from_runs=options_from_runs,
    shell:
        "python -m strongscale.training.prepare --settings {params.settings:q} {params.from_runs}"
        " --output {output:q} 2> {log:q}"


rule train:
    """Take a cell's folder with its cell.json; make its result: one MPI job."""
    input:
        settings=f"{CELL}/cell.json",
        dataset=dataset_made,
    output:
        f"{CELL}/{receipts.CELL}",
    log:
        f"{CELL}/launch.log",
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
        "python -m strongscale.jobs.launch {params.folder:q} {resources.launch} 2> {log:q}"


rule edge:
    """Take a study's settings; find the largest learning rate at which the sequential run trains, by short runs of some seeds."""
    input:
        dataset_made,
        sequential_files,
    output:
        "results/{study}/receipts/learning_rate.json",
    log:
        "results/{study}/logs/edge.log",
    conda:
        "../../envs/train.yaml"
    threads: search_threads
    resources:
        **job_resources(search_job),
    params:
        settings=edge_settings,
        dataset=dataset_file,
        made="results/{study}/learning_rate.json",
    shell:
        "python -m strongscale.jobs.once {output:q} --inputs {input:q} --makes {params.made:q}"
        " --run tuning.edge --settings {params.settings:q} --dataset {params.dataset:q} --output {params.made:q} 2> {log:q}"


rule tune:
    """Take a study's data and settings; make the learning rate and the warm-up of one batch size or line, from trials."""
    input:
        dataset_made,
        tuned_files,
    output:
        "results/{study}/receipts/tuning.{search}.json",
    log:
        "results/{study}/tuning/{search}/tune.log",
    conda:
        "../../envs/train.yaml"
    threads: search_threads
    resources:
        **job_resources(search_job),
    params:
        settings=tuned_settings,
        search=tuned_options,
        dataset=dataset_file,
        made=tuned_file,
    shell:
        "python -m strongscale.jobs.once {output:q} --inputs {input:q} --makes {params.made:q}"
        " --run tuning.tune --settings {params.settings:q} --dataset {params.dataset:q} {params.search}"
        " --output {params.made:q} 2> {log:q}"


rule target:
    """Take the pilots' sequential runs; make the validation loss that all cells race to."""
    input:
        pilots_trained,
    output:
        "results/{study}/target.json",
    log:
        "results/{study}/logs/target.log",
    retries: 0
    conda:
        "../../envs/data.yaml"
    params:
        results=pilot_results,
        epochs=target_epochs,
    shell:
        "python -m strongscale.analysis.pilots {params.results:q} --epochs {params.epochs} --output {output:q} 2> {log:q}"


rule reconstructions:
    """Take a trained sequential cell; make two validation nodules' reconstructions."""
    input:
        first_sequential_trained,
    output:
        "results/{study}/receipts/reconstructions.json",
    log:
        "results/{study}/logs/reconstructions.log",
    conda:
        "../../envs/train.yaml"
    resources:
        **job_resources(stage_job),
    params:
        cell=first_sequential_cell,
        folder=study_folder,
    shell:
        "python -m strongscale.jobs.once {output:q} --inputs {input:q} --makes {params.folder:q}/reconstructions.npz"
        " --run synthesis.reconstruct {params.cell:q} --output {params.folder:q}/reconstructions.npz 2> {log:q}"
