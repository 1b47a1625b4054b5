"""The benchmarks that start processes: that they run, and that all contenders do the same work."""

import csv
from pathlib import Path

import pytest
from benchmarks import ranks, training, workflow
from conftest import ROOT, environment

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _package_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", [ranks.OVERLAPPED, ranks.BUCKETS])
def test_contenders_of_two_ranks_have_our_gradient(name: str, tmp_path: Path) -> None:
    training.write_dataset(tmp_path / "samples", 4, 1, training.TINY_VOXELS)
    figures = ranks.turn(tmp_path, name, 2, batches=(4,), quick=True, samples=tmp_path / "samples")
    assert set(figures) == {"batch_4_ms", "batch_4_communication_ms"}


def test_the_workflows_cost_is_measured(tmp_path: Path) -> None:
    workflow.main(["--quick", "--repeats", "1", "--output", str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / "workflow.csv").open()))
    assert [row["contender"] for row in rows] == [
        name for name in (workflow.PEER, "planning 6 cells", "doing 6 cells") for _ in range(2)
    ]
