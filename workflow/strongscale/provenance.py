"""Where a result comes from: machine, versions, code."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import torch

PACKAGE = Path(__file__).parent
WITHOUT_EFFECT = (
    *(
        "analysis",
        "data",
        "status",
        "synthesis",
        "config_file.py",
        "settings_page.py",
        "exactness.py",
        "edge.py",
        "reconstruct.py",
        "prepare.py",
    ),
    *(
        "launch.py",
        "launchers.py",
        "gpus.py",
        "jobs.py",
        "site.py",
        "scheduler",
        "failure.py",
        "lock.py",
        "interrupt.py",
    ),
)
DECIDING = ("torch", "numpy", "mpi4py", "openmpi")


def code_hash() -> str:
    """A digest of what computes a run: this package without its data and analysis stages."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.parts[0] not in WITHOUT_EFFECT:
            digest.update(str(relative).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


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


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
