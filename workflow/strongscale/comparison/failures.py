"""Where each strategy fails: from how many workers on some of its runs don't arrive, and how those ended."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from strongscale.analysis.runs import StudyRuns


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A line at a number of workers of which not all runs arrive."""

    line: str
    workers: int
    num_failed: int
    num_runs: int
    endings: str
    """How they ended, each with its count."""
    batch: int | None
    """Samples of a step."""


def failures(runs: StudyRuns) -> Iterator[Failure]:
    """All of a study, line by line; one worker's runs count where they are a line's own."""
    for line in runs.study.strategies:
        for workers in runs.workers(line):
            own = [run for run in runs.of(line, workers) if workers > 1 or run.stands_as == line]
            failed = [run for run in own if not run.result.converged]
            if failed:
                counts = Counter(run.result.outcome for run in failed)
                yield Failure(
                    line=line,
                    workers=workers,
                    num_failed=len(failed),
                    num_runs=len(own),
                    endings="; ".join(f"{count} {ending}" for ending, count in counts.most_common()),
                    batch=failed[0].result.minibatch,
                )
