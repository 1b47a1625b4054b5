"""The paper's own numbers and claims, to stand beside ours."""

import math

ETA = 0.00105
MAX_EPOCHS = 400
WARMUP_EPOCHS = 5
LONG_WARMUP_EPOCHS = 10
WARMUP_LIMIT_WORKERS = 4

CLOCK = "wall clock, POWER8 hosts with Tesla K80 GPUs, Gigabit Ethernet"

# Efficiency in per cent by number of GPUs; NaN: the target was never reached.
TABLE_1 = {"strong": {1: 100.0, 2: 105.17, 4: 86.81, 8: 90.09, 16: 58.08, 32: 46.25}}
TABLE_2 = {
    "weak": {1: 100.0, 2: 96.96, 4: 63.86, 8: 42.32, 16: 19.65, 32: 9.45},
    "warmup": {1: 100.0, 2: 84.95, 4: 75.49, 8: math.nan, 16: math.nan, 32: math.nan},
    "linear": {1: 100.0, 2: math.nan, 4: math.nan, 8: math.nan, 16: math.nan, 32: math.nan},
}
EFFICIENCY = TABLE_1 | TABLE_2

CLAIMS = {
    1: "Strong scaling reaches the target at every n.",
    2: "Strong scaling follows the sequential run's path: the same losses, epoch by epoch.",
    3: "Weak scaling without a rate change reaches the target at every n, but more workers than two hardly help.",
    4: "The linear rule fails at every n > 1.",
    5: "Warm-up works for n <= 4 and fails from 8 on; 10 epochs of warm-up do not rescue it.",
    6: "Failing warm-up ends at a ceiling (0.042 in the paper), the loss of a model that has collapsed; "
    "at 32 it becomes infinite.",
    7: "Strong scaling is the fastest strategy at every n, and its efficiency the highest.",
    8: "Where warm-up converges (n = 4) it is faster than plain weak scaling.",
    9: "Raising eta in the sequential run makes it diverge.",
    10: "Loss falls sharply first, then slowly (shapes first, details later).",
}
