"""steps.json: what each step of a trajectory asked of the hardware. It knows no seconds; the clock makes them of it."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from strongscale.common.errors import UserError
from strongscale.common.files import read_json
from strongscale.common.schema import AT_LEAST_0, AT_LEAST_1, build, plain
from strongscale.updates.base import Message, Update, Work

AGAIN = "remove the folder and run it again"
Samples = Annotated[int, AT_LEAST_0]


@dataclass(frozen=True)
class Kind:
    """Steps that are alike."""

    samples: Annotated[int, AT_LEAST_1, "of the minibatch"]
    passes: Annotated[tuple[tuple[Samples, ...], ...], "samples of each pass, of each worker"]
    messages: Annotated[tuple[Message, ...], "all-reduces, one after another"]
    num_updates: Annotated[int, AT_LEAST_0, "of each worker"]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """All steps of a run, epoch by epoch, and what else an epoch takes."""

    workers: Annotated[int, AT_LEAST_1, "that took them"]
    num_training: Annotated[int, AT_LEAST_1, "training samples, whose losses are added up each epoch"]
    num_validation: Annotated[int, AT_LEAST_1, "validation samples, evaluated each epoch"]
    evaluation_chunk: Annotated[int, AT_LEAST_1, "of those, evaluated at once"]
    gradient_bytes: Annotated[int, AT_LEAST_1, "of one gradient"]
    kinds: Annotated[tuple[Kind, ...], "the different steps"]
    epochs: Annotated[tuple[tuple[tuple[Samples, Samples], ...], ...], "of each epoch, how many steps of which kind"]

    def on(self, workers: int, update: Update) -> "Steps":
        """The same path on another number of workers, where it is the same."""
        if workers == self.workers:
            return self
        kinds = []
        for kind in self.kinds:
            work = update.work(kind.samples, workers, self.gradient_bytes)
            assert work is not None, "another number of workers takes another path"
            kinds.append(Kind(kind.samples, work.passes, work.messages, work.num_updates))
        return replace(self, workers=workers, kinds=tuple(kinds))


@dataclass
class StepLog:
    """The record as it grows."""

    workers: int
    num_training: int
    num_validation: int
    evaluation_chunk: int
    gradient_bytes: int
    kinds: dict[Kind, int] = field(default_factory=dict)
    epochs: list[tuple[tuple[int, int], ...]] = field(default_factory=list)
    _counts: Counter[int] = field(default_factory=Counter)
    """Of the epoch that isn't done."""

    def add(self, num_samples: int, work: Work) -> None:
        """A step has been taken."""
        kind = Kind(num_samples, work.passes, work.messages, work.num_updates)
        self._counts[self.kinds.setdefault(kind, len(self.kinds))] += 1

    def end_epoch(self) -> None:
        """The epoch is done."""
        self.epochs.append(tuple(sorted(self._counts.items())))
        self._counts.clear()

    def whole(self) -> Steps:
        """What steps.json tells."""
        own = ("workers", "num_training", "num_validation", "evaluation_chunk", "gradient_bytes")
        values: dict[str, Any] = {name: getattr(self, name) for name in own}
        return Steps(**values, kinds=tuple(self.kinds), epochs=tuple(self.epochs))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"whole": plain(self.whole()), "counts": sorted(self._counts.items())}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        whole = build(Steps, state["whole"], "steps")
        self.kinds = {kind: number for number, kind in enumerate(whole.kinds)}
        self.epochs = list(whole.epochs)
        self._counts = Counter(dict(state["counts"]))


def read_steps(path: Path) -> Steps:
    """The record of a run; a `UserError` where it can't be one."""
    raw = read_json(path)
    try:
        steps = build(Steps, raw, "" if isinstance(raw, dict) else "all of it")
    except UserError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from None
    for number, epoch in enumerate(steps.epochs, start=1):
        for kind, _ in epoch:
            if kind >= len(steps.kinds):
                raise UserError(f"{path}: epoch {number}: no kind {kind}; {AGAIN}")
        samples = sum(count * steps.kinds[kind].samples for kind, count in epoch)
        if samples != steps.num_training:
            raise UserError(f"{path}: epoch {number}: steps of {samples} samples, of {steps.num_training}; {AGAIN}")
    return steps
