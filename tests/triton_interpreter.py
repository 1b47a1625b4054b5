"""Run the density layer's Triton kernel by Triton's interpreter, without a GPU: numbers in, numbers out.

python triton_interpreter.py IN.npz OUT.npz, in a process of its own, because TRITON_INTERPRET counts at import only.
"""

import sys

import numpy as np
import torch

from strongscale.models.density import triton_kernel


def main(source, destination):
    """Answer each case of the source: its parts, cubes and monomials."""
    cases = np.load(source)
    answers = {}
    for case in sorted({name.split("/")[0] for name in cases}):
        arguments = [torch.from_numpy(cases[f"{case}/{name}"]) for name in ("parts", "cubes", "monomials")]
        sums, gradient = triton_kernel.sums(*arguments, True)
        answers |= {f"{case}/sums": sums.numpy(), f"{case}/gradient": gradient.numpy()}
        answers[f"{case}/without"] = triton_kernel.sums(*arguments, False)[0].numpy()
    np.savez(destination, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
