"""Runs that stopped before the target, completed by what the law and the other runs make likely (Tobin's model, by EM).

Such a run is taken for one that needed more steps than it had; not for one that would never have arrived.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from strongscale.advice.runs import Numbers, Runs

ROUNDS = 100
CLOSE = 1e-6
LEAST_SPREAD = 1e-6


def completed(runs: Runs, expected: Callable[[Numbers], Numbers], parameters: int) -> Numbers:
    """The log steps of each run: as measured, or the mean of what may lie beyond where it stopped.

    `expected` fits the law to log steps, and gives the law's.
    """
    floors_N = np.log(runs.steps_N)
    logs_N, open_N = floors_N.copy(), ~runs.reached_N
    if not open_N.any():
        return logs_N
    freedom = max(1, len(logs_N) - parameters)
    spread = max(LEAST_SPREAD, float(np.std(logs_N - expected(logs_N))))
    for _ in range(ROUNDS):
        before_N, means_N = logs_N.copy(), expected(logs_N)
        gaps_M = (floors_N - means_N)[open_N] / spread
        lifts_M = np.exp(stats.norm.logpdf(gaps_M) - stats.norm.logsf(gaps_M))
        logs_N[open_N] = means_N[open_N] + spread * lifts_M
        hidden = float((1 + gaps_M * lifts_M - lifts_M**2).clip(0).sum())
        squares = float(((logs_N - means_N) ** 2).sum()) + spread**2 * hidden
        spread = max(LEAST_SPREAD, math.sqrt(squares / freedom))
        if float(np.abs(logs_N - before_N).max()) < CLOSE:
            break
    return np.maximum(logs_N, floors_N)
