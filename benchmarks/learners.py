"""Learners of one worker: their passes one after another, as in every run, against all at once with stacked weights."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmarks import frame
from benchmarks.training import RATE, SEED, write_dataset
from benchmarks.unet import write_nodules
from strongscale.common.command import run
from strongscale.common.files import write_json
from strongscale.common.schema import plain
from strongscale.distributed.world import World
from strongscale.gradients.flat import FlatParameters
from strongscale.gradients.passes import Batch, rows_of
from strongscale.models.deepdensity import DeepDensity
from strongscale.settings.cells import Cell
from strongscale.settings.config import SEQUENTIAL, Study, Training
from strongscale.tasks.base import Task
from strongscale.tasks.digits import Digits
from strongscale.tasks.segmentation import Segmentation
from strongscale.training import prepare, samples, setup
from strongscale.training.loop import Trainer
from strongscale.updates.sma import Sma

log = logging.getLogger(__name__)

IN_TURN, STACKED = "one after another", "stacked"
NUMBERS = (1, 2, 4, 8)
EACH = 4
STEPS = 16  # of one learner in a turn, and fewer of more
NOISE = 0.01
SAME = 1e-2  # a U-Net's maxima and ReLUs choose otherwise where numbers differ in their last bit
PACKAGES = ("torch", "numpy")

SAYS = {
    IN_TURN: "`sma` as in every run: a pass and an update of each learner, then the average",
    STACKED: "the same, but the passes of all learners are one: `torch.func.vmap` of `grad` over their stacked weights and samples; "
    "updates one after another",
}
CAVEATS = (
    "One CPU thread. Whether a GPU that a small batch leaves idle gains by it isn't said.",
    "At a rate of 0, one worker: no message travels.",
    "Other processes used the machine meanwhile; each ratio is of two turns that follow one another.",
)


class Losses(nn.Module):
    """A model with its task's loss, as one module."""

    def __init__(self, model: nn.Module, task: Task):
        super().__init__()
        self.model, self.task = model, task

    def forward(self, batch: Batch) -> Tensor:
        """The loss of each sample."""
        return self.task.losses(self.model, batch)


def stacked_gradients(module: Losses, flat: FlatParameters) -> Callable[[Tensor, Batch], tuple[Tensor, Tensor]]:
    """From flat weights (K, P) and samples (K, B, ...) to losses (K, B) and the sums of gradients (K, P)."""
    names = [name for name, _ in module.named_parameters()]

    def total(flat_P: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        losses = functional_call(module, dict(zip(names, flat.split(flat_P), strict=True)), (batch,))
        return losses.sum(), losses

    both: Any = vmap(grad(total, has_aux=True))

    def gradients(weights_KxP: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        gradients_KxP, losses_KxB = both(weights_KxP, batch)
        return losses_KxB, gradients_KxP

    return gradients


@dataclass
class Stacked(Sma):
    """The same learners, whose passes are taken at once."""

    def of(self, trainer: Trainer) -> "Stacked":
        """Ready for a model."""
        self._gradients = stacked_gradients(Losses(trainer.model, trainer.cell.task), trainer.flat)
        return self

    def _explore(self, minibatch: Tensor, rate: float) -> Tensor:
        number, engine = len(self.replicas), self.engine
        batch = tuple(one.unflatten(0, (number, -1)) for one in rows_of(engine.training, minibatch))
        losses_KxB, gradients_KxP = self._gradients(torch.stack(list(self.replicas.values())), batch)
        for replica, state, gradient in zip(self.replicas.values(), self.states.values(), gradients_KxP, strict=True):
            self.weights.copy_(replica)
            engine.flat.gradient.copy_(gradient)
            engine.apply(len(minibatch) // number, rate, state)
            replica.copy_(self.weights)
        return losses_KxB.flatten()


def write_samples(folder: Path, count: int) -> dict[str, tuple[dict[str, Any], Path]]:
    """Samples of each model: the study's settings, and where they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    unet = Segmentation(filters=8, levels=3)
    samples.make(Digits(), folder / "digits")
    samples.make(unet, folder / "unet", write_nodules(folder / "nodules", 1 + -(-count // 32), 32))
    write_dataset(folder / "cubes", count, 1, 16)
    return {
        "digits": ({"task": Digits()}, folder / "digits"),
        "autoencoder": ({"dataset": "random", "model": DeepDensity(dimensions=2)}, folder / "cubes"),
        "U-Net": ({"dataset": "random", "task": unet}, folder / "unet"),
    }


def trainer_of(folder: Path, settings: Mapping[str, Any], made: Path) -> Trainer:
    """A fast trainer, as a run has it."""
    training = Training(learning_rate=RATE, target=None, device="cpu")
    study = Study(strategies={}, training=training, **settings)
    cell = prepare.resolve(study, Cell("benchmark", SEQUENTIAL, 1, SEED), folder=folder, dataset=made)
    folder.mkdir(parents=True)
    write_json(folder / "cell.json", plain(cell))
    return setup.prepare(folder, World())


def learning(trainer: Trainer, rule: Sma) -> Trainer:
    """The same trainer with learners."""
    rule.begin(trainer.update.engine)
    return replace(trainer, update=rule)


def turn(trainer: Trainer, number: int, name: str) -> frame.Figures:
    """The mean milliseconds of some steps, after one that doesn't count."""
    order = torch.arange(number * EACH)
    trainer.step_once(order)
    count = max(1, STEPS // number)
    start_s = time.perf_counter()
    for _ in range(count):
        trainer.step_once(order)
    return {f"{name}_{number}_ms": 1000 * (time.perf_counter() - start_s) / count}


def difference(trainer: Trainer, number: int) -> float | None:
    """How much both ways' gradients differ, relative to their length; None where an operation has no rule for stacks."""
    engine, start = trainer.update.engine, trainer.flat.values.data.clone()
    weights_KxP = start + NOISE * torch.randn(number, len(start), generator=torch.Generator().manual_seed(SEED))
    rows, expected = torch.arange(number * EACH), []
    batch = tuple(one.unflatten(0, (number, EACH)) for one in rows_of(engine.training, rows))
    try:
        _, found_KxP = stacked_gradients(Losses(trainer.model, trainer.cell.task), trainer.flat)(weights_KxP, batch)
    except RuntimeError as error:
        log.info("%s", str(error).partition("\n")[0])
        return None
    for weights, own in zip(weights_KxP, rows.split(EACH), strict=True):
        trainer.flat.values.data.copy_(weights)
        engine.take_gradient(own)
        expected.append(trainer.flat.gradient.clone())
    trainer.flat.values.data.copy_(start)
    aside = float((found_KxP - torch.stack(expected)).norm() / torch.stack(expected).norm())
    if not aside < SAME:
        raise RuntimeError(f"stacked gradients are others: {aside:.1e} aside")
    return aside


def measure(
    trainers: Mapping[str, Trainer], numbers: Sequence[int], repeats: int
) -> tuple[list[frame.Summary], dict[str, str]]:
    """Every model with every number of learners; why a model can't be stacked, or how much its weights differ."""
    whole: dict[str, list[dict[str, float]]] = {
        IN_TURN: [{} for _ in range(repeats)],
        STACKED: [{} for _ in range(repeats)],
    }
    said: dict[str, str] = {}
    for name, trainer in trainers.items():
        aside = [difference(trainer, number) for number in numbers]
        rules: dict[str, type[Sma]] = {IN_TURN: Sma}
        if None not in aside:
            said[name], rules[STACKED] = f"{max(filter(None, aside)):.1e}", Stacked
        for number in numbers:
            contenders = {}
            for contender, kind in rules.items():
                rule = kind(learners=number)
                own = learning(trainer, rule.of(trainer) if isinstance(rule, Stacked) else rule)
                contenders[contender] = partial(turn, own, number, name)
            for contender, rounds in frame.take_turns(contenders, repeats).items():
                for row, figures in zip(whole[contender], rounds, strict=True):
                    row.update(figures)
    return frame.summarise(whole), said


def page(said: Mapping[str, str], models: Sequence[str], numbers: Sequence[int], command: str) -> frame.Page:
    """What was compared and how."""
    lines = [f"- *{name}*: {words}." for name, words in SAYS.items()]
    lines += [
        f"- The {name} can't be stacked: its operations have no rule for it." for name in models if name not in said
    ]
    told = "; ".join(f"{name} {words}" for name, words in said.items())
    return frame.Page(
        title="Learners of a worker, on one CPU thread",
        command=command,
        compared=f"One step of a worker's {', '.join(map(str, numbers))} learners with {EACH} samples each: the digits' network, the "
        "autoencoder of slices of 16² pixels, and a U-Net of 3 levels and 8 filters on 32² pixels.\n\n"
        + "\n".join(lines),
        how="Contenders take turns in one process, at one number of learners after another; the first round is thrown away. A column "
        "is a model and its number of learners. Before that, both were given the same weights and samples: their "
        f"gradients differed, relative to their length, by at most {told} (allowed: {SAME:.0e}).",
        caveats=CAVEATS,
    )


def main(arguments: list[str]) -> None:
    """Measure, and write learners.md and learners.csv."""
    options = frame.parser("learners", main.__doc__, repeats=15).parse_args(arguments)
    numbers = NUMBERS[:2] if options.quick else NUMBERS
    facts = frame.machine(PACKAGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = write_samples(folder / "samples", NUMBERS[-1] * EACH)
        trainers = {name: trainer_of(folder / name, *how) for name, how in made.items()}
        summaries, said = measure(trainers, numbers, options.repeats)
    command = f"python -m benchmarks.learners --repeats {options.repeats}" + " --quick" * options.quick
    frame.write(frame.folder_of(options), "learners", page(said, list(made), numbers, command), summaries, facts)


if __name__ == "__main__":
    run(main)
