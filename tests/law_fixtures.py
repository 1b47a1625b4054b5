"""Made-up runs of a known law."""

import numpy as np

from strongscale.advice.runs import Runs

LEAST_STEPS, CRITICAL_BATCH = 800.0, 400.0
BATCHES = 32.0 * 2.0 ** np.arange(7)


def law_runs(random=None, *, spread=0.1, seeds=3, critical=CRITICAL_BATCH, batches=BATCHES, cap=np.inf, power=1.0):
    """Log-normal about the law; those that would take more steps than `cap` end there."""
    batches_N = np.repeat(np.asarray(batches, dtype=float), seeds)
    off_N = (random or np.random.default_rng(5)).normal(0, spread, len(batches_N)) if spread else 0.0
    steps_N = LEAST_STEPS * (1 + (critical / batches_N) ** power) * np.exp(off_N)
    return Runs(batches_N=batches_N, steps_N=np.minimum(steps_N, cap), reached_N=steps_N <= cap)
