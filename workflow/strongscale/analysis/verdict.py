"""What a test of a claim answers: parts that hold, fail or lack data, and one verdict from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strongscale.analysis.runs import Run, in_words

HOLDS = "holds"
FAILS = "fails"
UNKNOWN = "can't be told from this study"


@dataclass(frozen=True)
class Part:
    """One statement of a claim: whether it holds (None: no data), and the numbers behind that."""

    holds: bool | None
    because: str


@dataclass(frozen=True)
class Verdict:
    """A claim's parts together, and the data that they looked at."""

    parts: tuple[Part, ...]
    data: str

    @property
    def outcome(self) -> str:
        """One failing part fails the claim; without one, a part without data leaves it open."""
        if any(part.holds is False for part in self.parts):
            return FAILS
        if not self.parts or any(part.holds is None for part in self.parts):
            return UNKNOWN
        return HOLDS

    @property
    def reason(self) -> str:
        """The parts' numbers, as sentences."""
        return " ".join(f"{part.because}." for part in self.parts)


def all_converge(runs: Sequence[Run], what: str) -> Part:
    """Whether every run reached the target; the others are named."""
    return _every(runs, True, what)


def none_converges(runs: Sequence[Run], what: str) -> Part:
    """Whether no run reached the target; the others are named."""
    return _every(runs, False, what)


def _every(runs: Sequence[Run], converged: bool, what: str) -> Part:
    if not runs:
        return Part(None, f"{what}: no such runs")
    against = [run for run in runs if run.result.converged != converged]
    verb = "reached" if converged else "did not reach"
    text = f"{what} at {counts(runs)} workers: {len(runs) - len(against)} of {len(runs)} runs {verb} the target"
    if against:
        text += f"; not so {in_words(named(against))}"
    return Part(not against, text)


def named(runs: Iterable[Run]) -> list[str]:
    """Runs by workers and seed, with how they ended."""
    return [f"{run.workers} workers seed {run.seed} ({run.result.outcome})" for run in runs]


def counts(runs: Iterable[Run]) -> str:
    """The numbers of workers of some runs, in words."""
    return in_words(sorted({run.workers for run in runs}))


def looked_at(runs: Sequence[Run]) -> str:
    """The runs behind a verdict, in words."""
    if not runs:
        return "no runs"
    strategies = in_words(dict.fromkeys(run.stands_as for run in runs))
    seeds = sorted({run.seed for run in runs})
    seeds_in_words = f"{'seeds' if len(seeds) > 1 else 'seed'} {in_words(seeds)}"
    trained = len({run.cell for run in runs})
    shared = f" that share {trained} trajector{'y' if trained == 1 else 'ies'}" if trained < len(runs) else ""
    return f"{strategies} at {counts(runs)} workers, {seeds_in_words}: {len(runs)} runs{shared}"
