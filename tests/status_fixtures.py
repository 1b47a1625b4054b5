"""A study's folder with cells in every stage of their lives, without any run."""

import json
import os
import struct

import pytest
from analysis_fixtures import settings_of

from strongscale.common.schema import build, plain
from strongscale.jobs.scheduler import states, submission
from strongscale.settings.cells import Cell
from strongscale.settings.config import Study
from strongscale.status.snapshot import take

NOW = 1_700_000_000.0
WEAK = Cell("small", "weak", 2, 1)
HEADER = "epoch,step,samples,learning_rate,training_loss,validation_loss,time_s"


def make_study(results, **changes):
    """A study without any cell: two strategies at 2 and 4 workers, on the wall clock."""
    raw = {
        "dataset": "tiny",
        "strategies": {"strong": {}, "weak": {}},
        "workers": [1, 2, 4],
        "training": {"target": 0.005, "max_epochs": 40},
    }
    study = build(Study, raw | changes, "study")
    folder = results / "small"
    folder.mkdir(parents=True)
    extra = {"name": "small", "dataset_provenance": "phantom scans, seed 1"}
    (folder / "study.json").write_text(json.dumps(plain(study) | extra))
    return study, folder


class Life:
    """Writes what the stages would leave in a cell's folder, at the times that a test chooses."""

    def __init__(self, study_folder, cell=WEAK):
        self.folder = study_folder.parent / cell.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cell = cell

    def write(self, name, text, at=NOW):
        path = self.folder / name
        path.write_text(text)
        os.utime(path, (at, at))

    def prepared(self, study):
        self.write("cell.json", json.dumps(plain(settings_of(study, self.cell))))
        return self

    def submitted(self, at, number="1234"):
        submission.note(
            self.folder, {"scheduler": "slurm", "id": number, "submitted_at": at, "log": f"logs/{number}.log"}
        )
        return self

    def told(self, state, at, number="1234"):
        """What the scheduler said of a job, as our commands in front of its own keep it."""
        states.keep(self.folder.parents[5], f"{number}|{state}\n", at)
        return self

    def locked(self, at, owner="host node1, process 7"):
        self.write("lock", owner, at)
        return self

    def beat(self, at, lived_s=0.0, attempts=1, lost_s=0.0):
        beat = {"at": at, "lived_s": lived_s, "lost_s": lost_s, "attempts": attempts}
        self.write("heartbeat.json", json.dumps(beat), at)
        return self

    def epochs(self, count, at, loss=0.01, end="\n"):
        rows = [f"{n},{16 * n},{512 * n},0.001,{loss},{loss},{2.0 * n}" for n in range(1, count + 1)]
        self.write("epochs.csv", "\n".join([HEADER, *rows]) + end, at)
        return self

    def failed(self, at, words="rank 1 on host node7 failed: RuntimeError: no such device"):
        self.write("failure.txt", words + "\n", at)
        return self

    def checkpoint(self, epoch, step=100):
        values = json.dumps({"counters": {"epoch": epoch}})
        header = json.dumps({"__metadata__": {"values": values}}).encode()
        path = self.folder / f"checkpoint-{step:09d}.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
        return self

    def ended(self, status="converged", **changes):
        cell = self.cell
        result = {"study": cell.study, "strategy": cell.strategy, "workers": cell.workers, "seed": cell.seed}
        result |= {"status": status, "clock": "wall", "epochs": 10, "time_s": 3590.0, "startup_s": 10.0}
        result |= {"ranks": cell.workers, "device": "GPU: A100", "final_validation_loss": 0.004, "target_loss": 0.005}
        self.write("result.json", json.dumps(result | changes))
        return self


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "results")


def status_of(folder, cell=WEAK, now=NOW):
    return next(one for one in take(folder, now).cells if one.cell == cell)
