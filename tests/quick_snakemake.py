"""Snakemake that looks after its cluster jobs every half second: its plugins' own pauses can't be set so short."""

import asyncio
import sys

import snakemake_executor_plugin_lsf
import snakemake_executor_plugin_slurm
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

look_after = RemoteExecutor._wait_for_jobs


async def wait_for_jobs(executor):
    """Look after jobs once there is one.

    An executor starts this thread before it has made all that a look needs; without its first pause, of 20 seconds or
    more, a look might come too early. The thread would end, no job would ever be seen to end, and Snakemake wait for ever.
    """
    while executor.wait and not executor.active_jobs:
        await pause(executor)
    await look_after(executor)


async def pause(executor):
    await asyncio.sleep(0.5)


if __name__ == "__main__":
    for plugin in (snakemake_executor_plugin_lsf, snakemake_executor_plugin_slurm):
        plugin.common_settings.init_seconds_before_status_checks = 0
    RemoteExecutor._wait_for_jobs = wait_for_jobs
    RemoteExecutor.sleep = pause
    main(sys.argv[1:])
