"""A few short runs -> advice: how many workers, and how, before the matrix is paid for."""


localrules:
    advice,
    advice_page,


rule advice:
    """Take a study; make the page of advice on it: `snakemake --profile local advice --config study=<study>`."""
    input:
        advice_asked,


rule advice_page:
    """Take a few runs beside a study and one device's timings; make what they advise."""
    input:
        probe_trained,
        advice_network,
        timings=advice_timings,
        code=ADVICE_CODE,
    output:
        multiext("results/{study}/advice/advice", ".md", ".json"),
        page=report(
            "results/{study}/advice/advice.html",
            caption="../report/advice.rst",
            category="Advice",
            labels={"page": "How to use more workers"},
        ),
    log:
        "results/{study}/logs/advice.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        settings=study_settings,
        probe=probe_folder,
        timings=advice_timings_file,
        options=advice_options,
        folder="results/{study}/advice",
    shell:
        "python -m strongscale.advice study --settings {params.settings:q} --probe {params.probe:q}"
        " --timings {params.timings:q} {params.options} --output {params.folder:q} 2> {log:q}"
