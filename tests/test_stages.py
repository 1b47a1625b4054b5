"""`python -m strongscale`: every stage by its name."""

import pytest

from strongscale import __main__ as stages
from strongscale.common.errors import UserError


def test_every_stage_is_listed_with_what_it_does(capsys):
    stages.main([])
    told = capsys.readouterr().out
    assert "  status" in told
    assert "  tuning.edge" in told
    assert "Tell what is going on in a study." in told
    assert all(stages.stages().values())


@pytest.mark.parametrize("name", ["status", "tuning.edge", "advice", "data.quality"])
def test_a_stage_is_run_by_its_name(name, capsys):
    with pytest.raises(SystemExit) as ended:
        stages.main([name, "--help"])
    assert ended.value.code == 0
    assert f"strongscale.{name}" in capsys.readouterr().out


def test_a_stage_that_there_is_not_is_one_line():
    with pytest.raises(UserError, match=r"tuning: no such stage; allowed: .*tuning\.edge"):
        stages.main(["tuning"])
