"""Snakemake that looks after its cluster jobs every half second: its plugins' own pauses can't be set so short."""

import asyncio
import sys

import snakemake_executor_plugin_lsf
import snakemake_executor_plugin_slurm
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def pause(executor):
    await asyncio.sleep(0.5)


if __name__ == "__main__":
    for plugin in (snakemake_executor_plugin_lsf, snakemake_executor_plugin_slurm):
        plugin.common_settings.init_seconds_before_status_checks = 0
    RemoteExecutor.sleep = pause
    main(sys.argv[1:])
