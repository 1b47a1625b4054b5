"""How should a small data set use more GPUs? Scans -> cubes -> data set -> cells -> tables -> figures -> report."""

import sys
import time
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "workflow"))

from strongscale.common import lock
from strongscale.common.errors import UserError
from strongscale.jobs import last_words, receipts
from strongscale.jobs.scheduler.own import stand_in_front
from strongscale.settings.config_file import parse as parse_config
from strongscale.settings.config_file import refuse_repeated_keys
from strongscale.settings.site import read as read_site


configfile: str(BASE / "config.yaml")


try:
    refuse_repeated_keys(workflow.configfiles)
    CONFIG = parse_config(config)
    SITE = read_site(CONFIG.site)
except UserError as mistake:
    sys.exit(f"config: {mistake}")

if workflow.is_main_process:
    receipts.drop_hollow(Path("results"))
START_S = time.time()
stand_in_front()


report: "workflow/report/workflow.rst"


wildcard_constraints:
    study=r"[^/]+",
    comparison="|".join(CONFIG.comparisons) or "-",
    dataset=r"[^/]+",
    strategy=r"[^/]+",
    subset=r"subset\d+|all",
    part=r"\d+",
    workers=r"\d+",
    seed=r"\d+",
    ranks=r"\d+",
    work=r"[^/]+",
    search=r"[^/]+",
    number=r"\d+",
    clock="wall|emulated",


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs/data.smk"
include: "workflow/rules/inputs/training.smk"
include: "workflow/rules/inputs/exactness.smk"
include: "workflow/rules/inputs/analysis.smk"
include: "workflow/rules/inputs/comparison.smk"
include: "workflow/rules/inputs/advice.smk"
include: "workflow/rules/jobs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/advise.smk"
include: "workflow/rules/exactness.smk"


onstart:
    # Two Snakemakes would delete each other's files; their jobs, which may outlive them, can't (see receipts.py).
    try:
        workflow.held = lock.hold(Path(".snakemake", "at-work"))
    except UserError as busy:
        sys.exit(f"{busy}")


onerror:
    sys.stderr.write(last_words.page(last_words.of_failures(Path("results"), START_S)))


rule all:
    default_target: True
    input:
        default_artifacts,
