"""Why jobs failed, gathered from their logs when Snakemake ends: its own account of a failure is hundreds of lines long."""

from collections.abc import Iterable
from pathlib import Path

ERROR = " ERROR "
PATTERNS = (
    "*/tuning/*/tune.log",
    *("*/logs/*.log", "datasets/*/logs/*.log"),
    *("*/cells/*/*/*/launch.log", "*/cells/*/*/*/cell.log"),
    *("*/exactness/*/*/*/*/launch.log", "*/exactness/*/*/*/*/cell.log"),
)


def of_failures(results: Path, since_s: float) -> list[str]:
    """The reason of each job that failed since then, a line each; a log of which nothing else is known is named."""
    logs = sorted(path for pattern in PATTERNS for path in results.glob(pattern))
    reasons = [_reason(log) for log in logs if log.stat().st_mtime >= since_s]
    return list(dict.fromkeys(reason for reason in reasons if reason))


def _reason(log: Path) -> str:
    """What the last line says, if it tells of a failure: a user's mistake in a line, ours as a traceback's end."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "")
    if ERROR in last:
        return last.partition(ERROR)[2]
    if any(line.startswith("Traceback ") for line in lines):
        return f"{log}: {last}"
    return ""


def page(reasons: Iterable[str]) -> str:
    """The reasons as the last thing that a user reads; nothing without any."""
    lines = [f"  {reason}" for reason in reasons]
    return "\n".join(["", "Why it failed:", *lines, ""]) if lines else ""
