"""A shortened fault campaign; `make faults` runs the long one."""

import pytest
from faults import FAULTS, campaign


@pytest.mark.slow
def test_every_disturbed_run_ends_with_the_same_bits(tmp_path):
    deaths, outcomes = campaign(tmp_path, num_kills=len(FAULTS), num_workflows=1)
    assert sum(deaths.values()) >= len(FAULTS) // 2
    assert all(equal for _, equal in outcomes)
