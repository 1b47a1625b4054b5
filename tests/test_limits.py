"""The queue's longest wall time is known before anything is submitted."""

import subprocess

import pytest
from conftest import ROOT

from strongscale.common.errors import UserError
from strongscale.jobs.scheduler import limits
from strongscale.settings.site import Site

BELOW = """QUEUE: normal
DEFAULT LIMITS:
 RUNLIMIT
 30.0 min of hostA

MAXIMUM LIMITS:
 CPULIMIT
 480.0 min of hostA
 RUNLIMIT
 720.0 min of hostA
"""
BESIDE = "QUEUE: normal\nMAXIMUM LIMITS:\n CPULIMIT            RUNLIMIT\n 20.0 min of hostA   720 min of hostA\n"
INLINE = "QUEUE: normal\nMAXIMUM LIMITS:\n CPULIMIT  20.0 min of HOST1\n RUNLIMIT  720 min of HOST1\n"
ALONE = "QUEUE: normal\nRUNLIMIT\n 720.0 min\n"


@pytest.fixture(autouse=True)
def commands(program, tmp_path, monkeypatch):
    """A function that writes a scheduler's own command."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    limits.longest_minutes.cache_clear()
    return program


@pytest.mark.parametrize("text", [BELOW, BESIDE, INLINE, ALONE])
def test_lsf_tells_the_largest_limit_of_a_queue(commands, text):
    commands(f"[ \"$*\" = '-l normal' ] && cat <<END\n{text}END", "bqueues")
    assert limits.longest_minutes("lsf", "normal") == ("normal", 720)


def test_lsf_tells_its_default_queue(commands):
    commands("echo 'Default Queues:  night day'", "bparams")
    commands(f"[ \"$*\" = '-l night' ] && cat <<END\n{ALONE}END", "bqueues")
    assert limits.longest_minutes("lsf", None) == ("night", 720)


@pytest.mark.parametrize(
    ("told", "minutes"),
    [
        ("1-00:00:00", 1440),
        ("2:30:00", 150),
        ("30:00", 30),
        ("infinite", None),
        ("n/a", None),
        ("10-12:00:59", 15120),
    ],
)
def test_slurm_tells_the_limit_of_a_partition(commands, told, minutes):
    commands(f"echo 'debug* 5:00'; echo 'long {told}'", "sinfo")
    assert limits.longest_minutes("slurm", "long") == ("long", minutes)
    assert limits.longest_minutes("slurm", None) == ("debug", 5)


@pytest.mark.parametrize("scheduler", ["slurm", "lsf"])
def test_where_nobody_tells_everything_is_allowed(commands, scheduler):
    limits.check(scheduler, Site(), 10**6)
    limits.longest_minutes.cache_clear()
    for name in ("sinfo", "bqueues", "bparams"):
        commands("echo no such command >&2; exit 1", name)
    limits.check(scheduler, Site(queue="long"), 10**6)


def test_more_minutes_than_the_queue_allows_are_one_line_that_says_what_to_set(commands):
    commands("echo 'long* 1:00:00'", "sinfo")
    limits.check("slurm", Site(longest_minutes=1440), 60)
    with pytest.raises(UserError) as mistake:
        limits.check("slurm", Site(longest_minutes=1440), 90)
    assert str(mistake.value) == (
        "site.yaml: longest_minutes: 1440 is not allowed, for jobs would ask for up to 90 minutes and "
        "slurm's queue long allows 60; allowed: longest_minutes: 60, or a queue with more"
    )


def test_a_quality_of_service_may_have_limits_of_its_own(commands):
    commands("echo 'long* 1:00:00'", "sinfo")
    limits.check("slurm", Site(extra="--qos=week"), 90)


def test_the_stand_in_for_lsf_tells_its_limits(commands, tmp_path, monkeypatch):
    monkeypatch.setenv("LSF_DOUBLE_STATE", str(tmp_path / "lsf"))
    monkeypatch.setenv("PATH", f"{ROOT / 'tests/lsf/bin'}:/usr/bin:/bin")
    try:
        assert limits.longest_minutes("lsf", "short") == ("short", 5)
        assert limits.longest_minutes("lsf", None) == ("normal", None)
    finally:
        subprocess.run(["lsf_double", "stop"], check=True)
