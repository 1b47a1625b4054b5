"""Cells -> tables, claims, figures. Takes a study's results; makes what a reader looks at, in the report too."""


localrules:
    tables,
    speedup,
    claims,
    figures,
    clock,
    machines,
    clock_check,
    look,
    measures,
    readings,
    tuning,


checkpoint look:
    """Take the runs of a study with `seeds: auto`; make a look at it: who is faster already, and where more seeds are needed."""
    input:
        code=LOOK_CODE,
        study="results/{study}/study.json",
        results=look_trained,
    output:
        "results/{study}/looks/{number}.json",
    log:
        "results/{study}/logs/look.{number}.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
    shell:
        "python -m strongscale.analysis.looks --study {params.folder:q} --number {wildcards.number}"
        " --output {output:q} 2> {log:q}"


rule tables:
    """Take all results of a study; make its tables, the paper's Tables I and II among them."""
    input:
        code=ANALYSIS_CODE,
        study="results/{study}/study.json",
        results=all_trained,
    output:
        multiext(
            "results/{study}/tables/",
            *["cells.csv", "edge.csv", "where_time_goes.csv"],
            *expand("{table}.{form}", table=READABLE_TABLES, form=["csv", "md", "tex"]),
        ),
        *[
            report(
                f"results/{{study}}/tables/{table}.html",
                caption=f"../report/{table}.rst",
                category="Tables",
                labels={"table": title},
            )
            for table, title in READABLE_TABLES.items()
        ],
    log:
        "results/{study}/logs/tables.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.analysis.tables --study {params.folder:q} 2> {log:q}"


rule tuning:
    """Take what was found for each batch size or line; make the table of it, and of what it cost."""
    input:
        all_tuned,
        code=TUNING_CODE,
        study="results/{study}/study.json",
    output:
        multiext("results/{study}/tables/tuning", ".csv", ".md", ".tex"),
        page=report(
            "results/{study}/tables/tuning.html",
            caption="../report/tuning.rst",
            category="Tables",
            labels={"table": "Tuned rates"},
        ),
    log:
        "results/{study}/logs/tuning.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.tuning.table --study {params.folder:q} 2> {log:q}"


rule speedup:
    """Take the results of strong scaling; make what its epochs are made of, and the fit of the paper's speed-up law."""
    input:
        code=ANALYSIS_CODE,
        study="results/{study}/study.json",
        results=all_trained,
    output:
        multiext("results/{study}/tables/speedup_law", ".csv", ".md"),
        multiext("results/{study}/tables/speedup_parts", ".csv", ".md"),
        expand("results/{{study}}/figures/speedup.{form}", form=["svg", "pdf"]),
        law=report(
            "results/{study}/tables/speedup_law.html",
            caption="../report/speedup_law.rst",
            category="Tables",
            labels={"table": "Speed-up law"},
        ),
        parts=report(
            "results/{study}/tables/speedup_parts.html",
            caption="../report/speedup_parts.rst",
            category="Tables",
            labels={"table": "Where strong scaling's seconds go"},
        ),
        figure=report(
            "results/{study}/figures/speedup.png",
            caption="../report/speedup.rst",
            category="Figures",
            labels={"figure": "Why strong scaling saturates"},
        ),
    log:
        "results/{study}/logs/speedup.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.analysis.speedup --study {params.folder:q} 2> {log:q}"


rule claims:
    """Take all results of a study; make the verdicts on the paper's ten claims."""
    input:
        code=CLAIMS_CODE,
        proof=proof_beside,
        study="results/{study}/study.json",
        results=all_trained,
    output:
        table="results/{study}/claims.csv",
        text="results/{study}/claims.md",
        page=report(
            "results/{study}/claims.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"table": "The ten claims"},
        ),
    log:
        "results/{study}/logs/claims.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.verdicts.claims --study {params.folder:q} 2> {log:q}"


rule figures:
    """Take all results of a study; make its figures, the paper's 1 to 5 among them."""
    input:
        code=ANALYSIS_CODE,
        study="results/{study}/study.json",
        reconstructions=reconstructions,
        results=all_trained,
    output:
        expand("results/{{study}}/figures/{figure}.{form}", figure=FIGURES, form=["svg", "pdf"]),
        *[
            report(
                f"results/{{study}}/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels={"figure": title},
            )
            for figure, title in FIGURES.items()
        ],
    log:
        "results/{study}/logs/figures.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
        figures=list(FIGURES),
    shell:
        "python -m strongscale.analysis.figures --study {params.folder:q} {params.figures} 2> {log:q}"


rule clock:
    """Take a study's trajectories, timings and network; make the emulated seconds of each cell, in the cells' folders."""
    input:
        code=ANALYSIS_CODE,
        study="results/{study}/study.json",
        results=all_trained,
    output:
        "results/{study}/clock.json",
    log:
        "results/{study}/logs/clock.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.analysis.cell_clocks --study {params.folder:q} --output {output:q} 2> {log:q}"


rule machines:
    """Take a study's trajectories; make its seconds on other devices and networks, and where which strategy is right."""
    input:
        code=ANALYSIS_CODE,
        study="results/{study}/study.json",
        results=all_trained,
    output:
        multiext("results/{study}/tables/machines", ".csv", ".md", ".tex"),
        expand("results/{{study}}/figures/machines.{form}", form=["svg", "pdf"]),
        table=report(
            "results/{study}/tables/machines.html",
            caption="../report/machines.rst",
            category="Tables",
            labels={"table": "Other machines"},
        ),
        figure=report(
            "results/{study}/figures/machines.png",
            caption="../report/machines.rst",
            category="Figures",
            labels={"figure": "When is strong scaling right?"},
        ),
    log:
        "results/{study}/logs/machines.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.analysis.machines --study {params.folder:q} 2> {log:q}"


rule measures:
    """Take all results of a study whose task tells more of its models than a loss; make the table and the figure of that."""
    input:
        code=ANALYSIS_CODE,
        study="results/{study}/study.json",
        results=all_trained,
    output:
        multiext("results/{study}/tables/measures", ".csv", ".md", ".tex"),
        expand("results/{{study}}/figures/measures.{form}", form=["svg", "pdf"]),
        table=report(
            "results/{study}/tables/measures.html",
            caption="../report/measures.rst",
            category="Tables",
            labels={"table": "The trained models"},
        ),
        figure=report(
            "results/{study}/figures/measures.png",
            caption="../report/measures.rst",
            category="Figures",
            labels={"figure": "The trained models"},
        ),
    log:
        "results/{study}/logs/measures.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.analysis.measures --study {params.folder:q} 2> {log:q}"


rule new_nodules:
    """Take a trained sequential cell; make new nodules, and the checks that they are fit for use and look like nodules."""
    input:
        first_sequential_trained,
    output:
        "results/{study}/nodules/nodules.npy",
        "results/{study}/nodules/nodules.csv",
        "results/{study}/nodules/novelty.json",
        "results/{study}/nodules/novelty.md",
        "results/{study}/nodules/likeness.csv",
        directory("results/{study}/nodules/nifti"),
        montage=report(
            "results/{study}/nodules/montage.png",
            caption="../report/new_nodules.rst",
            category="New nodules",
            labels={"figure": "Drawn from the model"},
        ),
        novelty=report(
            "results/{study}/nodules/novelty.png",
            caption="../report/novelty.rst",
            category="New nodules",
            labels={"figure": "How new they are"},
        ),
        likeness=report(
            "results/{study}/nodules/likeness.png",
            caption="../report/likeness.rst",
            category="New nodules",
            labels={"figure": "How alike they are"},
        ),
    log:
        "results/{study}/logs/new_nodules.log",
    conda:
        "../../envs/nodules.yaml"
    resources:
        **job_resources(stage_job),
    params:
        cell=first_sequential_cell,
        settings=new_nodule_settings,
        folder=study_folder,
    shell:
        "python -m strongscale.synthesis {params.cell:q} --settings {params.settings:q}"
        " --output {params.folder:q}/nodules 2> {log:q}"


rule clock_check:
    """Take two studies of the same cells on the two clocks; make the error of the emulation."""
    input:
        code=ANALYSIS_CODE,
        study="results/{study}/study.json",
        results=all_trained,
        other_study=other_clock_study,
        other_results=other_clock_trained,
    output:
        "results/{study}/tables/clock_check.csv",
        "results/{study}/tables/clock_check.md",
        expand("results/{{study}}/figures/clock_check.{form}", form=["svg", "pdf"]),
        shown=report(
            "results/{study}/figures/clock_check.png",
            caption="../report/clock_check.rst",
            category="Figures",
            labels={"figure": "Emulated against wall clock"},
        ),
    log:
        "results/{study}/logs/clock_check.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folder=study_folder,
        other=other_clock_folder,
        clock=clock_in_words,
    shell:
        "python -m strongscale.analysis.clock_check --study {params.folder:q} --other {params.other:q} 2> {log:q}"


rule readings:
    """Take the sequential runs of all studies named reading_* and start_*; make the page that judges readings of the paper."""
    input:
        code=ANALYSIS_CODE,
        studies=reading_studies,
        results=readings_trained,
    output:
        multiext("results/readings/readings", ".md", ".csv"),
    log:
        "results/readings/readings.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        folders=reading_folders,
        command="snakemake --profile local --configfile studies/readings.yaml -- readings",
    shell:
        "python -m strongscale.analysis.readings {params.folders:q} --output results/readings"
        " --command {params.command:q} 2> {log:q}"
