"""A snapshot as text: the matrix, the cells that need a word, the totals."""

import datetime
import textwrap
from collections import Counter
from dataclasses import dataclass

from strongscale.settings.cells import PILOT, follows_sequential, is_rate_name, rate_of
from strongscale.settings.config import SEQUENTIAL
from strongscale.status.snapshot import Snapshot
from strongscale.status.state import FINISHED, STATES, CellStatus

WIDTH = 100
NUM_LISTED = 20
COLOURS = {
    "converged": "32",
    "exhausted": "33",
    "diverged": "35",
    "running": "36;1",
    "suspended": "33;1",
    "failed": "31;1",
    "silent": "31",
    "paused": "33",
    "queued": "34",
    "waiting": "2",
}
LEARNT_NOTHING = "nothing learnt from the input so far: no epoch below the best constant output"
WITH_LOGS = ("running", "suspended", "failed", "silent", "paused")


@dataclass(frozen=True)
class Page:
    """How to write: in how many columns, and whether in colour."""

    width: int = WIDTH
    colour: bool = False

    def write(self, snapshot: Snapshot) -> str:
        """The whole page."""
        parts = [self._heading(snapshot), *self._steps(snapshot), *self._matrix(snapshot), *self._lists(snapshot)]
        return "\n\n".join([*parts, self._totals(snapshot)]) + "\n"

    def _heading(self, snapshot: Snapshot) -> str:
        """The study, and the losses by which to judge its own."""
        moment = datetime.datetime.fromtimestamp(snapshot.at).astimezone().isoformat(" ", "seconds")
        title = self._wrap(f"study {snapshot.name}: {snapshot.data}, {snapshot.study.clock} clock; {moment}", "")
        named = {
            "target": "target",
            "constant_loss": "best constant output",
            "null_loss": "predicting zero",
        }
        told = [f"{words} {span}" for name, words in named.items() if (span := _span(snapshot.known(name)))]
        return "\n".join([title, *([self._wrap(f"validation loss: {'; '.join(told)}", "")] if told else [])])

    def _steps(self, snapshot: Snapshot) -> list[str]:
        """How far the data set is that the study waits for, and the search for its learning rate."""
        lines = [f"  {step.what.ljust(8)}  {step.done} of {step.of}" for step in snapshot.steps]
        lines += [f"    log: {snapshot.data_log}"] if snapshot.data_log else []
        parts = ["\n".join(["data set:", *lines])] if lines else []
        if snapshot.num_tried is not None:
            parts.append(f"search for the edge: {snapshot.num_tried} short runs done")
        return parts

    def _matrix(self, snapshot: Snapshot) -> list[str]:
        """Rows are strategies, columns numbers of workers; as many blocks below each other as the width asks for."""
        entries: dict[tuple[str, int], list[str]] = {}
        for one in snapshot.cells:
            entries.setdefault((one.cell.strategy, one.cell.workers), []).append(one.state)
        rows = sorted({row for row, _ in entries}, key=lambda row: _place(snapshot, row))
        columns = sorted({column for _, column in entries})
        stacks = {key: _stack(states, len(states)) for key, states in entries.items()}
        head = max(len(row) for row in [*rows, "workers"])
        widths = {
            column: max(len(text) for row in rows for text, _ in [(str(column), ""), *stacks.get((row, column), [])])
            for column in columns
        }
        gap = "  " if head + sum(width + 2 for width in widths.values()) <= self.width else " "
        blocks = self._blocks(head, widths, len(gap))
        shared = [line for line in snapshot.study.strategies if follows_sequential(snapshot.study, line)]
        notes = [f"{', '.join(shared)}: the sequential run's path to the bit, so nothing is trained"] if shared else []
        if snapshot.study.trajectories:
            notes.append(f"the runs of study {snapshot.study.trajectories}; nothing is trained for this one")
        return [*("\n".join(self._block(rows, block, stacks, head, widths, gap)) for block in blocks), *notes]

    def _blocks(self, head: int, widths: dict[int, int], gap: int) -> list[list[int]]:
        """The columns that fit beside each other."""
        blocks: list[list[int]] = [[]]
        used = head
        for column, width in widths.items():
            if blocks[-1] and used + gap + width > self.width:
                blocks.append([])
                used = head
            blocks[-1].append(column)
            used += gap + width
        return blocks

    def _block(
        self,
        rows: list[str],
        columns: list[int],
        stacks: dict[tuple[str, int], list[tuple[str, str]]],
        head: int,
        widths: dict[int, int],
        gap: str,
    ) -> list[str]:
        """The rows of some columns; a row without cells in them is left out."""
        lines = [gap.join(["workers".ljust(head), *(str(column).ljust(widths[column]) for column in columns)]).rstrip()]
        for row in rows:
            height = max(len(stacks.get((row, column), [])) for column in columns)
            for line in range(height):
                texts = [(row if line == 0 else "").ljust(head)]
                for column in columns:
                    stack = stacks.get((row, column), [])
                    text, state = stack[line] if line < len(stack) else ("", "")
                    texts.append(self._paint(text.ljust(widths[column]), state))
                lines.append(gap.join(texts).rstrip())
        return lines

    def _lists(self, snapshot: Snapshot) -> list[str]:
        """The cells that run, are queued or failed, each with its log; the waiting ones by what they wait for."""
        parts = []
        for state in (state for state in STATES if state not in (*FINISHED, "waiting")):
            found = [one for one in snapshot.cells if one.state == state]
            lines = [self._paint(f"{state}:", state)] if found else []
            for one in found[:NUM_LISTED]:
                lines += self._entry(one)
            if len(found) > NUM_LISTED:
                lines.append(f"  and {len(found) - NUM_LISTED} more; --json names them all")
            parts += ["\n".join(lines)] if lines else []
        if snapshot.learnt_nothing:
            lines = [f"{LEARNT_NOTHING}:"]
            lines += [
                self._wrap(f"{_title(one)}: {one.state}, best {one.best_validation_loss:.6f}")
                for one in snapshot.learnt_nothing[:NUM_LISTED]
            ]
            if len(snapshot.learnt_nothing) > NUM_LISTED:
                lines.append(f"  and {len(snapshot.learnt_nothing) - NUM_LISTED} more; --json names them all")
            parts.append("\n".join(lines))
        waiting = Counter(one.words for one in snapshot.cells if one.state == "waiting")
        if waiting:
            lines = [self._wrap(f"{count} cell{'s' if count > 1 else ''}: {words}") for words, count in waiting.items()]
            parts.append("\n".join([self._paint("waiting:", "waiting"), *lines]))
        return parts

    def _entry(self, one: CellStatus) -> list[str]:
        lines = [self._wrap(f"{_title(one)}: {one.words}")]
        if one.state in WITH_LOGS:
            lines += [f"    log: {log}" for log in one.logs]  # unbroken, to be copied
        return lines

    def _totals(self, snapshot: Snapshot) -> str:
        counts, hours = snapshot.counts, snapshot.hours
        states = ", ".join(f"{count} {state}" for state, count in counts.items())
        lines = [self._wrap(f"{len(snapshot.cells)} cell{'s' if len(snapshot.cells) != 1 else ''}: {states}", "")]
        spent = f"{hours.unit} (ranks x hours) spent: {_hours(hours.spent)}"
        if hours.num_unknown:
            spent += f", without {hours.num_unknown} finished whose time nobody wrote down"
        lines.append(self._wrap(spent, ""))
        if hours.to_come is None:
            lines.append(f"{hours.unit} to come: unknown, for nothing has finished")
        elif set(counts) - set(FINISHED):
            guess = "by the median of the finished cells of the same strategy, or of all"
            lines.append(self._wrap(f"{hours.unit} to come: about {_hours(hours.to_come)}, {guess}", ""))
        return "\n".join(lines)

    def _wrap(self, text: str, indent: str = "  ") -> str:
        return textwrap.fill(
            text,
            self.width,
            initial_indent=indent,
            subsequent_indent=indent + "  ",
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _paint(self, text: str, state: str) -> str:
        return f"\x1b[{COLOURS[state]}m{text}\x1b[0m" if self.colour and state in COLOURS and text.strip() else text


def _place(snapshot: Snapshot, row: str) -> tuple[int, float]:
    """The sequential run first, then pilots and its other rates, then the strategies as the study lists them."""
    if row == SEQUENTIAL:
        return 0, 0.0
    if row == PILOT:
        return 1, 0.0
    if is_rate_name(row):
        return 1, rate_of(row)
    return 2, list(snapshot.study.strategies).index(row)


def _stack(states: list[str], num_seeds: int) -> list[tuple[str, str]]:
    """The states of a cell's seeds, one below the other, with how many are in each; and the state for its colour."""
    counts = Counter(states)
    return [
        (state if num_seeds == 1 else f"{state} {counts[state]}/{num_seeds}", state)
        for state in STATES
        if counts[state]
    ]


def _title(one: CellStatus) -> str:
    workers = one.cell.workers
    return f"{one.cell.strategy}, {workers} worker{'s' if workers > 1 else ''}, seed {one.cell.seed}"


def _span(values: tuple[float, ...]) -> str:
    """The value that all have, or the lowest and the highest."""
    return " to ".join(dict.fromkeys(f"{value:.6f}" for value in (values[0], values[-1]))) if values else ""


def _hours(hours: float) -> str:
    if 0 < hours < 0.01:
        return "less than 0.01"
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"
