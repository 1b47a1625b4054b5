"""Timings that come with the package and weren't measured: the paper's K80, reconstructed, and a modern GPU, assumed.

Every number follows from a rule that stands here; each file says by which command it was made, and what to doubt.
"""

import math

from strongscale.common.schema import plain
from strongscale.models.deepdensity import DeepDensity
from strongscale.paper_machine.readings import (
    BATCH,
    EPOCHS_OF_A_WEEK,
    FORWARD_SHARE,
    GRADIENT_BYTES,
    readings,
    step_of_a_week_s,
)
from strongscale.tasks.autoencoding import Autoencoding
from strongscale.timing.timings import Duration, Timings

COMMAND = "python -m strongscale.paper_machine --output docs/paper_machine --shipped"
SHIPPED_STEP_S = step_of_a_week_s(EPOCHS_OF_A_WEEK[1])
STEP_SIZES = (1, 2, 4, 8, 16, 32)
CHUNK_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
VOXELS = 16
DENSITY_TERMS = 10
"""Multiplications for one component at one voxel: the quadratic form of three coordinates, as a product of ten numbers."""
K80_OPERATIONS_PER_S, K80_BYTES_PER_S = 8.74e12 / 2, 480e9 / 2
"""Half of what NVIDIA states for a board of two GPUs: single precision at the highest frequency, and memory."""
ADAM_NUMBERS = 7
"""Read and written for each parameter: weight, gradient and two averages in, all but the gradient out."""
KERNELS_A_STEP, FEWEST_KERNELS, MOST_KERNELS = 300, 100, 1000
LAUNCH_S = 1e-5
"""What a framework takes on the host to start one kernel."""
UPDATE_KERNELS = 30
MODERN_OPERATIONS_PER_S = 5e12
"""Done, not promised: about a quarter of what an A100 could do at best in single precision."""


def operations_a_sample() -> float:
    """Floating-point operations of one sample's forward and backward passes: two for each multiplication and addition."""
    model, side, channels, multiplications = DeepDensity(), VOXELS, 1, 0
    for filters, kernel in zip(model.filters, model.kernels, strict=True):
        side -= kernel - 1
        multiplications += side**3 * filters * channels * kernel**3
        channels = filters
    outputs = 10 * model.components
    multiplications += channels * side**3 * outputs
    multiplications += model.components * VOXELS**3 * DENSITY_TERMS
    return 2 * multiplications / FORWARD_SHARE


def k80_least_step_s() -> float:
    """One worker's step of a whole minibatch, if a K80 did nothing but arithmetic at its best."""
    return BATCH * operations_a_sample() / K80_OPERATIONS_PER_S


def paper_k80() -> Timings:
    """The paper's device by the chosen reading: seconds by samples, from the middle of what "a week" may mean."""
    low, middle, high = (_rounded(step_of_a_week_s(epochs)) for epochs in reversed(EPOCHS_OF_A_WEEK))
    few, epochs, many = EPOCHS_OF_A_WEEK
    sample_s = middle / BATCH
    update_s = _rounded(ADAM_NUMBERS * GRADIENT_BYTES / K80_BYTES_PER_S)
    fitted_s = next(reading for reading in readings(middle) if reading.key == "f").value
    return Timings(
        origin="reconstructed",
        device="Tesla K80 of the paper",
        work={"task": plain(Autoencoding()), "model": plain(DeepDensity())},
        who_evaluates="everywhere",
        known_to=_rounded(high / middle),
        steps=tuple(Duration(samples=size, seconds=_rounded(size * sample_s)) for size in STEP_SIZES),
        update=Duration(seconds=update_s),
        evaluation=tuple(
            Duration(samples=size, seconds=_rounded(size * FORWARD_SHARE * sample_s)) for size in CHUNK_SIZES
        ),
        epoch=Duration(seconds=update_s),
        doubts=(
            "nothing of it was measured: it is reconstructed from what the paper and its talk state",
            f'the seconds are known to a factor of {high / middle:.1f} at best: "a week on a single K80" is read as '
            f"{epochs} epochs, {middle:.0f} s a step of {BATCH} samples; {few} epochs would make {high:.0f} s, {many} "
            f"epochs {low:.0f} s",
            f"if that week was not of such a run, they are not known at all: Table I by itself is met better by a step of "
            f"{fitted_s:.1f} s whose Gigabit messages cost the efficiency, and the model's arithmetic by itself would take "
            f"a K80 {1000 * k80_least_step_s():.0f} ms",
            "they belong to evaluation everywhere: with evaluation: shared they say that nothing but messages costs any "
            "efficiency, and Table I says otherwise",
            "only the ratios of Table I were compared, of one run each; how seconds depend on samples (in proportion) and "
            f"that a forward pass takes {FORWARD_SHARE:.2f} of forward and backward are assumed",
            "update and bookkeeping are a guess: the bytes of an Adam step by the memory's bandwidth",
            "they are seconds of the paper's model and batches, and of no other",
        ),
        made={"command": COMMAND, "page": "docs/paper_machine.md"},
    )


def modern_gpu() -> Timings:
    """A GPU so fast that starting kernels is all that a small model's step costs: so many of them, as long as each takes."""
    step_s = _rounded(KERNELS_A_STEP * LAUNCH_S)
    sample_s = operations_a_sample() / MODERN_OPERATIONS_PER_S

    def at_least(share: float, samples: int) -> float:
        return _rounded(share * max(step_s, samples * sample_s))

    return Timings(
        origin="assumed",
        device="modern data-centre GPU",
        known_to=_rounded(math.sqrt(MOST_KERNELS / FEWEST_KERNELS)),
        steps=tuple(Duration(samples=size, seconds=at_least(1.0, size)) for size in (*STEP_SIZES, *_more())),
        update=Duration(seconds=_rounded(UPDATE_KERNELS * LAUNCH_S)),
        evaluation=tuple(Duration(samples=size, seconds=at_least(FORWARD_SHARE, size)) for size in CHUNK_SIZES),
        epoch=Duration(seconds=step_s),
        doubts=(
            "nothing of it was measured: it is assumed, by a rule",
            f"a step of a small model is taken to last {1000 * step_s:.0f} ms whatever the shard: {KERNELS_A_STEP} kernels, "
            f"{1e6 * LAUNCH_S:.0f} µs each; {FEWEST_KERNELS} to {MOST_KERNELS} kernels would make "
            f"{1000 * FEWEST_KERNELS * LAUNCH_S:.0f} to {1000 * MOST_KERNELS * LAUNCH_S:.0f} ms, and CUDA graphs less",
            f"beyond {math.floor(step_s / sample_s)} samples the paper's model's arithmetic takes longer, at "
            f"{MODERN_OPERATIONS_PER_S:.0e} operations a second, which is assumed too; for a larger model from fewer samples on",
            "any model's are said to be the same: measure your own GPU before you believe them",
        ),
        made={"command": COMMAND, "page": "docs/paper_machine.md"},
    )


def _more() -> tuple[int, ...]:
    """Shards of growing minibatches."""
    return tuple(2 * STEP_SIZES[-1] * 2**power for power in range(5))


def _rounded(seconds: float) -> float:
    """To six digits: more would only tell of the machine that computed them."""
    return float(f"{seconds:.6g}")
