"""What stands between Snakemake's plugins and the scheduler's own commands.

The Snakefile puts workflow/scheduler/ first on the PATH. Its sbatch and bsub submit as they are told and note the job's
number in the cell's folder. Its squeue, bjobs and bkill keep the plugins from forgetting their jobs, or giving up, when the
scheduler doesn't answer for a while, from taking an unknown job for a finished one, and from dying when a job to be killed
has just ended.
"""
