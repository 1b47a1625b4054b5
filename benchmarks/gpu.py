"""Everything that wants a GPU, in one command and a few minutes: checks, the step, timings, then a study's whole matrix.

It needs Python, PyTorch and what usually comes with it, but neither Snakemake nor MPI nor a network, nor readers of scans: those
are phantoms. Each part's result is written as soon as it is there, and a second call goes on where the first was cut off.
"""

import argparse
import importlib.util
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml

from benchmarks.by_hand import ROOT, ByHand, OutOfTime
from strongscale.common.command import run
from strongscale.common.errors import UserError
from strongscale.common.files import read_json, write_text
from strongscale.settings.config_file import parse

log = logging.getLogger(__name__)

CHECKS = ("tests/test_cuda_graph.py", "tests/test_density.py", "tests/test_stopwatch.py")
NEEDED = ("numpy", "scipy", "pandas", "safetensors", "yaml", "matplotlib", "seaborn", "tabulate")


@dataclass
class Page:
    """gpu.md, written anew after each part."""

    path: Path
    started_s: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)

    def add(self, name: str, outcome: str) -> None:
        """A part has ended."""
        self.lines.append(f"| {name} | {time.monotonic() - self.started_s:.0f} s | {outcome} |")
        log.info("%s: %s", name, outcome)
        facts = f"{_device()}, PyTorch {torch.__version__}, Python {platform.python_version()}"
        table = "\n".join(["| part | done after | outcome |", "|---|---|---|", *self.lines])
        write_text(self.path, f"# What was measured on {facts}\n\n`{_command()}`\n\n{table}\n")


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"


def _command() -> str:
    return " ".join(["python -m benchmarks.gpu", *sys.argv[1:]])


def check(output: Path, until_s: float) -> str:
    """The tests that a GPU changes; those that are skipped elsewhere run here."""
    if importlib.util.find_spec("pytest") is None or importlib.util.find_spec("hypothesis") is None:
        return "not run: there is no pytest, or no hypothesis"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *CHECKS]
    return _outcome(command, output / "checks.log", until_s)


def bench(output: Path, until_s: float, *, quick: bool) -> str:
    """The training step against its peers."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.training",
        "--repeats",
        "7",
        "--devices",
        "cuda",
        "--output",
        str(output),
    ]
    return _outcome(command + ["--quick"] * quick, output / "bench.log", until_s)


def _outcome(command: list[str], path: Path, until_s: float) -> str:
    left_s = max(1.0, until_s - time.monotonic())
    environment = {"PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT}:{ROOT / 'tests'}"}
    with path.open("wb") as said:
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=os.environ | environment, stdout=said, stderr=said, timeout=left_s, check=False
            )
        except subprocess.TimeoutExpired:
            return f"cut off after {left_s:.0f} s; see {path.name}"
    last = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    return f"status {ended.returncode}: {' '.join(last)[:200]}"


def main(arguments: list[str]) -> None:
    """Check, measure and train on the GPU of this machine, and write what was found below a folder."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=main.__doc__)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for gpu.md and all results; a second call goes on there"
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything together")
    parser.add_argument("--study", default="phantom", help="of config.yaml, on phantom scans or with its own samples")
    parser.add_argument("--config", type=Path, default=ROOT / "config.yaml", help="the configuration")
    parser.add_argument("--side-by-side", type=int, default=4, help="runs that share the GPU")
    parser.add_argument("--quick", action="store_true", help="a tiny model in the benchmark: to try the command")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        log.warning(
            "there is no GPU that PyTorch can use: the checks and the benchmark are left out, the rest runs on the CPU"
        )
    config = parse(yaml.safe_load(options.config.read_text(encoding="utf-8")))
    if options.study not in config.studies:
        raise UserError(f"--study: {options.study!r} is not allowed; allowed: {', '.join(config.studies)}")
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        log.warning("%s: not there, so what needs them fails; the rest goes on", ", ".join(missing))
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    page, end_s = Page(output / "gpu.md"), time.monotonic() + 60 * options.minutes
    study = ByHand(config, options.study, output / "results", end_s, options.side_by_side)
    page.add("start", _device())
    if torch.cuda.is_available():
        page.add("checks", check(output, min(end_s, time.monotonic() + 90)))
        page.add("the step", bench(output, min(end_s, time.monotonic() + 75), quick=options.quick))
    parts: dict[str, Callable[[], object]] = {
        "data": study.dataset,
        "timings": lambda: [doubt for path in study.timings() for doubt in read_json(path)["doubts"]],
        "matrix": lambda: study.matrix(lambda words: page.add("matrix", words)),
        "analysis": study.analyse,
    }
    for name, part in parts.items():
        try:
            found = part()
            page.add(name, f"done {found or ''}".strip())
        except OutOfTime:
            page.add(name, "out of time: the same command goes on from here")
            return
        except RuntimeError as failure:
            page.add(name, f"failed: {' '.join(str(failure).split())[-300:]}")
            if name not in ("timings",):
                return


if __name__ == "__main__":
    run(main)
