"""A setting that comes later leaves what was made before as it is."""

from strongscale.common.schema import build, plain
from strongscale.schedules.step import Step
from strongscale.settings.config import Training
from strongscale.settings.datasets import Cubes


def test_settings_that_came_later_leave_the_identity_of_earlier_runs_as_it_was():
    assert {"schedule", "stop_at_target"}.isdisjoint(plain(Training()))
    assert {"padding", "masks"}.isdisjoint(plain(Cubes()))
    later = Training(schedule=Step(), stop_at_target=False)
    assert {"schedule", "stop_at_target"} < set(plain(later))
    assert build(Training, plain(later), "training") == later
    assert build(Training, plain(Training()), "training") == Training()
