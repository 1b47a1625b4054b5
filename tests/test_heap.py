"""Freed memory is kept: a step that allocates as the one before asks the system for nothing."""

import platform
import subprocess
import sys

import pytest
from conftest import environment

STEPS = """
import resource, sys
import torch
from strongscale import models
from strongscale.models.deepdensity import DeepDensity
from strongscale.training.heap import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
model, cubes = DeepDensity().create(16), torch.rand(32, 16, 16, 16)
model.initialise(torch.Generator().manual_seed(0))
models.lay_out(model)
for step in range(12):
    if step == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.autograd.grad(model.losses(cubes).sum(), list(model.parameters()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """Pages that the system had to give in 8 passes forward and backward."""
    command = [sys.executable, "-c", STEPS, how]
    answer = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=120)
    return int(answer.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_steps_take_no_new_pages_from_the_system():
    assert page_faults("kept") < 4000 < page_faults("given back")
