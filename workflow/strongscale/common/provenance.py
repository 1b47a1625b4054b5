"""Where a result comes from: machine, versions, code."""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import torch

from strongscale.common.errors import UserError

PACKAGE = Path(__file__).parents[1]
ROOT = "strongscale.training.__main__"
WITHOUT_EFFECT = {
    f"strongscale.{name}"
    for name in (
        *("common.batch_job", "common.command", "common.errors", "common.files", "common.lock", "common.provenance"),
        *("recovery.failure", "recovery.finished", "recovery.interrupt", "settings.config_file"),
        *("data.annotations", "data.ledger", "data.losses", "data.split"),
    )
}
"""What a run imports without its result depending on it: words, locks, and how a data set is made, whose content has a hash."""
OVERSUBSCRIBED = re.compile(r", oversubscribed: \d+ ranks on \d+ cores")
DECIDING = ("torch", "numpy", "mpi4py", "openmpi")


def code(*kinds: str) -> dict[str, str]:
    """The files of this package that decide a run's result, each with a digest of its content.

    They are those that training imports, and those that these modules import (a strategy's, a model's, or the path of a
    user's own file), found by reading their import lines: the same on every rank, whatever this process has imported besides, and whatever other strategies
    lie beside the run's own.
    """
    found: dict[str, str] = {}
    seen, open_ends = set(WITHOUT_EFFECT), [ROOT, *kinds]
    while open_ends:
        name = open_ends.pop()
        if name.endswith(".py"):  # a user's own file, whose digest is in the run's settings
            open_ends += _imports("", Path(name), Path(name).read_text(encoding="utf-8"))
            continue
        path = _source(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        text = path.read_text(encoding="utf-8")  # lines end the same everywhere
        found[path.relative_to(PACKAGE).as_posix()] = hashlib.sha256(text.encode()).hexdigest()[:16]
        open_ends += [name.rpartition(".")[0], *_imports(name, path, text)]
    return dict(sorted(found.items()))


def code_hash(files: dict[str, str]) -> str:
    """One digest of them all."""
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def _source(name: str) -> Path | None:
    """The file of a module of this package; None for anything else."""
    package, *parts = name.split(".")
    if package != "strongscale" or not all(part.isidentifier() for part in parts):
        return None
    place = PACKAGE.joinpath(*parts)
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _imports(name: str, path: Path, text: str) -> Iterator[str]:
    """Whatever a module may import, inside functions too."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise UserError(f"{path}: line {error.lineno}: {error.msg}") from None
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def git_commit() -> str | None:
    """The commit of this source tree, with + if it was changed since; None outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=PACKAGE, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def host_name() -> str:
    """This host."""
    return platform.node()


def versions() -> dict[str, str]:
    """The versions that can change a result."""
    found = {"python": platform.python_version()}
    for name in DECIDING:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found


def device_name(device: torch.device, ranks_on_host: int = 1) -> str:
    """What a reader of a result calls the device; more ranks than cores is said, for their seconds mean little."""
    if device.type == "cuda":
        return f"GPU: {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads()
    name = f"CPU: {_processor()}, {threads} thread{'s' if threads > 1 else ''}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if ranks_on_host * threads > cores:
        name += f", oversubscribed: {ranks_on_host} ranks on {cores} cores"
    return name


def device_changed(names: list[str]) -> bool:
    """Whether attempts computed on different devices, however many ranks shared them."""
    return len({frozenset(bare_name(name).split(" and ")) for name in names}) > 1


def bare_name(name: str) -> str:
    """A device's name, however many ranks shared it."""
    return OVERSUBSCRIBED.sub("", name)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
