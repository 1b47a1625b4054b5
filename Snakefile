"""How should a small data set use more GPUs? Scans -> cubes -> data set -> cells -> tables -> figures -> report."""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.0")

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "workflow"))

from strongscale.config_file import parse as parse_config
from strongscale.errors import UserError
from strongscale.scheduler.own import stand_in_front
from strongscale.site import read as read_site


configfile: str(BASE / "config.yaml")


try:
    CONFIG = parse_config(config)
    SITE = read_site(CONFIG.site)
except UserError as mistake:
    sys.exit(f"config: {mistake}")

stand_in_front()


report: "workflow/report/workflow.rst"


wildcard_constraints:
    study=r"[^/]+",
    dataset=r"[^/]+",
    strategy=r"[^/]+",
    subset=r"subset\d+|all",
    part=r"\d+",
    workers=r"\d+",
    seed=r"\d+",
    ranks=r"\d+",
    clock="wall|emulated",


include: "workflow/rules/common.smk"
include: "workflow/rules/jobs.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/exactness.smk"


rule all:
    default_target: True
    input:
        study_artifacts(CONFIG.study),
