"""A study from end to end without Snakemake, MPI or network: the same stages, called one after another, on what there is.

For a machine that has Python, PyTorch and what usually comes with it (NumPy, SciPy, pandas, safetensors, PyYAML; for tables and
figures tabulate, matplotlib and seaborn). What is done already isn't done again, so a second call goes
on where the first was cut off.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongscale.common.schema import plain
from strongscale.recovery.finished import is_finished
from strongscale.settings import cells, timed
from strongscale.settings.cells import Cell
from strongscale.settings.config import Config, SequentialEpochs, Study
from strongscale.settings.datasets import Dataset

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]
TO_LEAVE_S = 20.0
"""For a run to write its checkpoint, when time is up."""


class OutOfTime(Exception):
    """The time that was given is used up; what is done stays."""


@dataclass
class ByHand:
    """Runs the stages of one study below a folder."""

    config: Config
    name: str
    results: Path
    until_s: float
    """When to be done, in seconds of `time.monotonic`."""
    side_by_side: int = 1
    """Runs that train at the same time."""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        """Its settings."""
        return self.config.studies[self.name]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.results / self.name

    def stage(self, module: str, *arguments: object, makes: Path | None = None) -> None:
        """Call a stage, unless it has made this already; its log lies below logs/."""
        done = makes and makes.with_name(f".{makes.name}.done")
        if done and done.exists():
            return
        left_s = self.until_s - time.monotonic()
        if left_s <= 0:
            raise OutOfTime
        path = self.results / "logs" / f"{module}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", f"strongscale.{module}", *map(str, arguments)]
        variables = os.environ | {"PYTHONPATH": str(ROOT / "workflow")} | self.environment
        with path.open("ab") as said:
            process = subprocess.Popen(command, stdout=said, stderr=said, env=variables, cwd=self.results.parent)
            try:
                status = process.wait(timeout=left_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=TO_LEAVE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                raise OutOfTime from None
        if status:
            raise RuntimeError(f"{module} failed with status {status}: see {path}\n{_end_of(path)}")
        if done:
            done.touch()

    def each(self, work: Callable[[Any], None], things: Iterable[Any], side_by_side: int) -> None:
        """Do it with all of them, some at the same time; the first failure is raised when all have ended."""
        with ThreadPoolExecutor(max_workers=side_by_side) as pool:
            for done in [pool.submit(work, thing) for thing in things]:
                done.result()

    def dataset(self) -> Path:
        """dataset.json of what the study is trained on, made where it isn't there."""
        study = self.study
        found = [self._cubes(study.dataset)] if study.dataset else []
        if study.task.takes_nodules:
            return found[0]
        made = self.folder / "samples" / "dataset.json"
        source = [option for path in found for option in ("--dataset", path.parent)]
        self.stage("training.samples", "--task", _json(study.task), *source, "--output", made.parent, makes=made)
        return made

    def _cubes(self, name: str) -> Path:
        """dataset.json of a data set, cut where it isn't there."""
        settings, folder = self.config.datasets[name], self.results / "datasets" / name
        if not (folder / "dataset.json").exists():
            self._cut(settings, folder)
        return folder / "dataset.json"

    def _cut(self, settings: Dataset, folder: Path) -> None:
        rows = [folder / "cubes" / f"{name}.csv" for name in settings.subset_names]
        cores = os.cpu_count() or 1
        scans = Path(settings.folder).absolute() if settings.folder else folder / "scans"
        if settings.phantom:
            self._render(settings, scans, cores)
        elif settings.download:
            names = [*settings.subset_names, "annotations.csv"] if settings.download == "luna16" else ["lidc"]
            names += ["annotations_excluded.csv"] if settings.cubes.minimum_readers == 1 else []
            for name in names:
                marker = folder / "download" / f"{name}.json"
                self.stage("data.download", "--folder", scans, "--item", name, "--marker", marker, makes=marker)

        def cut(path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            source = ("--settings", _json(settings.cubes), "--scans", scans, "--subset", path.stem, "--part", "0/1")
            self.stage("data.cubes", *source, "--cubes", path.with_suffix(".npy"), "--rows", path, makes=path)

        self.each(cut, rows, cores)
        ledger = folder / "ledger.csv"
        whole = _json(settings)
        self.stage(
            "data.ledger", "--settings", whole, "--scans", scans, "--parts", *rows, "--output", ledger, makes=ledger
        )
        told = ("--ledger", ledger, "--tolerated", settings.tolerated_losses, "--parts", *rows)
        self.stage("data.dataset", "--settings", whole, *told, "--output", folder)

    def _render(self, settings: Dataset, scans: Path, cores: int) -> None:
        """Artificial scans, with their masks where these are asked for."""
        phantom = _json(settings.phantom)
        self.stage(
            "data.phantom", "annotations", "--settings", phantom, "--output", scans, makes=scans / "annotations.csv"
        )
        if settings.cubes.masks:
            masks = scans / "masks"
            self.stage("data.phantom", "masks", "--settings", phantom, "--output", masks, makes=masks)

        def render(subset: str) -> None:
            path = scans / subset
            self.stage("data.phantom", "scans", "--settings", phantom, "--subset", subset, "--output", path, makes=path)

        self.each(render, settings.subset_names, cores)

    def timings(self) -> list[Path]:
        """The timings of all lines, measured where they aren't there: before anything else uses the device."""
        study, found = self.study, []
        lines = {timed.name_of(study, line): line for line in reversed(study.strategies)}
        for name, line in lines.items():
            minibatches = [f"{samples}:{workers}" for samples, workers in sorted(timed.minibatches(study, line))]
            made, own = self.results / "timings" / name / "timings.json", _json(timed.own_part(study, line))
            told = ("--settings", own, "--dataset", self.dataset(), "--minibatches", *minibatches)
            self.stage("measurement.timings", *told, "--output", made, makes=made)
            found.append(made)
        return found

    def matrix(self, tell: Callable[[str], None] = log.info) -> None:
        """Train every run of the study, in the order in which they need one another."""
        dataset, study = self.dataset(), self.study
        self.stage(
            "training.prepare", "--settings", _json(study), "--dataset", dataset, "--output", self.folder / "study.json"
        )
        every = cells.all_cells(self.name, study)
        if cells.seeks_edge(study):
            rate, own = self.folder / "learning_rate.json", _json(cells.search_part(study))
            self.stage("tuning.edge", "--settings", own, "--dataset", dataset, "--output", rate, makes=rate)
        for stage in ("rates", "pilots", "sequential", "scaled"):
            todo = [cell for cell in every if cells.stage_of(cell.strategy) == stage]
            longest_first = sorted(todo, key=lambda cell: (cell.strategy != "weak", cell.workers))
            self.each(self.train, longest_first, self.side_by_side)
            if todo:
                tell(f"{len(todo)} runs: {stage}")
            if stage == "pilots" and isinstance(study.training.target, SequentialEpochs):
                results = [self.results / cell.folder / "result.json" for cell in todo]
                told = ("--epochs", study.training.target.sequential_epochs, "--output", self.folder / "target.json")
                self.stage("analysis.pilots", *results, *told)

    def train(self, cell: Cell) -> None:
        """One run, where its result isn't there."""
        study, folder = self.study, self.results / cell.folder
        options: list[object] = ["--dataset", self.dataset()]
        found = {"--learning-rate": "learning_rate.json", "--target": "target.json"}
        for option, name in found.items():
            if (self.folder / name).exists():
                options += [option, self.folder / name]
        own = _json(cells.own_part(study, cell.strategy))
        self.stage("training.prepare", "--settings", own, *options, "--output", folder / "cell.json")
        if not is_finished(folder):
            self.stage("training", folder)

    def analyse(self) -> None:
        """The clock, tables, claims, figures, other machines; where one fails the others are made nevertheless."""
        figures = ("figure2", "figure3", "figure4", "figure5", "losses", "efficiency", "edge", "parts", "pareto")
        plain_stages = ("analysis.tables", "verdicts.claims", "analysis.machines", "analysis.speedup")
        stages: dict[str, tuple[object, ...]] = {"analysis.cell_clocks": ("--output", self.folder / "clock.json")}
        stages |= dict.fromkeys(plain_stages, ()) | {"analysis.figures": figures}
        stages |= {"analysis.measures": ()} if self.study.task.has_measures else {}
        failed = []
        for stage, more in stages.items():
            try:
                self.stage(stage, "--study", self.folder, *more)
            except RuntimeError as failure:
                failed.append(str(failure))
        if failed:
            raise RuntimeError("; ".join(failed))


def _json(settings: object) -> str:
    return json.dumps(plain(settings))


def _end_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-2000:]
