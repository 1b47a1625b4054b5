"""Studies -> one page: who is fastest on which task, what is tied, where each strategy fails."""


localrules:
    comparison,
    comparison_figure,


rule comparison:
    """Take all studies of a comparison; make its rankings, its failures and CROSSBOW's claims."""
    input:
        code=COMPARISON_CODE,
        results=compared,
    output:
        expand(
            "results/{{comparison}}/tables/{table}.{form}",
            table=COMPARISON_TABLES,
            form=["csv", "md", "tex"],
        ),
        *[
            report(
                f"results/{{comparison}}/tables/{table}.html",
                caption=f"../report/{table}.rst",
                category="Comparison",
                labels={"what": title},
            )
            for table, title in COMPARISON_TABLES.items()
        ],
    log:
        "results/{comparison}/logs/comparison.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        studies=compared_studies,
        networks=compared_networks,
        folder="results/{comparison}",
    shell:
        "python -m strongscale.comparison.page {params.studies} --networks {params.networks}"
        " --output {params.folder:q} 2> {log:q}"


rule comparison_figure:
    """Take a study of a comparison; make the figure of its strategies, a panel each."""
    input:
        code=COMPARISON_CODE,
        results=drawn,
    output:
        multiext("results/{comparison}/figures/{study}", ".svg", ".pdf"),
        shown=report(
            "results/{comparison}/figures/{study}.png",
            caption="../report/strategies.rst",
            category="Comparison",
            labels={"what": "{study}"},
        ),
    log:
        "results/{comparison}/logs/figure.{study}.log",
    retries: 0
    conda:
        "../../envs/analyse.yaml"
    params:
        title=drawn_title,
        networks=compared_networks,
        member="results/{study}",
        folder="results/{comparison}",
    shell:
        "python -m strongscale.comparison.figure --study {params.title:q} {params.member:q} --networks {params.networks}"
        " --output {params.folder:q} 2> {log:q}"
