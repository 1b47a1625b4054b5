"""The one training loop: plan -> step -> record -> progress, until the run is over. It knows no strategy by name.

Each rank carries a contiguous block of workers, one after another. Per-sample losses go into one vector with a place
for each sample, filled by the rank that computed it and added up over ranks: adding zeros changes nothing, so losses
don't depend on who computed them.
"""

import logging
import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from strongscale.distributed import replicas
from strongscale.distributed.world import World
from strongscale.gradients.flat import FlatParameters
from strongscale.gradients.passes import Batch
from strongscale.recovery.checkpoint import Checkpoint
from strongscale.recovery.continuation import Continuation
from strongscale.settings.cells import CellSettings, whole_data
from strongscale.settings.config import SequentialEpochs
from strongscale.strategies.base import Plan, Progress, Strategy, next_plan
from strongscale.timing.clock import Clock
from strongscale.timing.steps import StepLog
from strongscale.training import collapse, sampler, state, stopping
from strongscale.training.epoch_log import Epoch, EpochLog
from strongscale.training.evaluation import Evaluation
from strongscale.training.stopping import Verdict
from strongscale.updates.base import Update

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Trainer:
    """A run in progress: the same on every rank but for the workers it carries."""

    cell: CellSettings
    strategy: Strategy
    update: Update
    model: nn.Module
    flat: FlatParameters
    world: World
    device: torch.device
    training: Batch
    evaluation: Evaluation
    null_loss: float | None
    constant_loss: float
    clock: Clock
    steps: StepLog
    epoch_log: EpochLog
    continuation: Continuation
    progress: Progress = field(init=False)
    losses: Tensor = field(init=False)
    """Of this epoch's samples, those that this rank computed."""
    _first: int = 0
    _started_s: float = 0.0
    """This attempt's first epoch, and when it began: for telling how long is left."""

    def __post_init__(self) -> None:
        self.progress = Progress(workers=self.cell.workers, samples=len(self.training[0]))
        self.losses = torch.zeros(self.progress.samples, device=self.device)

    def run(self) -> Verdict:
        """Train to the end, from wherever it stands; the clock starts here."""
        if words := whole_data(self._planned(self.progress.epoch), self.progress.samples):
            log.warning("%s", words)
        state.compare(self, "the weights that training starts with")
        self._get_ready()
        self.clock.start()
        self._first, self._started_s = self.progress.epoch, time.perf_counter()
        while not (verdict := self._judge()):
            self._train_epoch()
            self._tell()
            self.continuation.after_epoch(self, self.progress.step, self.progress.epoch)
        return verdict

    def _train_epoch(self) -> None:
        order = sampler.epoch_order(self.progress.samples, self.cell.seed, self.progress.epoch)
        samples = torch.from_numpy(order).to(self.device)
        while self.progress.taken < self.progress.samples:
            training = self.cell.training
            plan = next_plan(self.strategy, training.plan, self.progress, training.course)
            self._take_step(samples[self.progress.taken :][: plan.batch], plan)
            self.continuation.after_step(self, self.progress.step)
        self._end_epoch()

    def _take_step(self, minibatch: Tensor, plan: Plan) -> None:
        taken = self.progress.taken
        step = self.update.step(minibatch, plan)
        self.steps.add(len(minibatch), step.work)
        self.losses[taken : taken + len(minibatch)] = step.losses
        self.progress = self.progress.after(plan, len(minibatch), step.statistics)

    def _end_epoch(self) -> None:
        """Evaluate, and write the epoch down."""
        training_loss, validation_loss = self.evaluation.mean(self.losses), self.evaluation.loss()
        seconds = self.clock.now()
        self.steps.end_epoch()
        self.progress = replace(self.progress, epoch=self.progress.epoch + 1, taken=0)
        self.losses.zero_()
        weights_hash = self.flat.digest()
        replicas.compare(self.world, weights_hash, f"the weights after epoch {self.progress.epoch}")
        self.epoch_log.add(
            Epoch(
                epoch=self.progress.epoch,
                step=self.progress.step,
                samples=self.progress.epoch * self.progress.samples,
                learning_rate=self.progress.rate,
                training_loss=training_loss,
                validation_loss=validation_loss,
                weights_hash=weights_hash,
                seconds=seconds,
            )
        )

    def _judge(self) -> Verdict | None:
        if not self.epoch_log.epochs:
            return None
        return stopping.judge(
            self.epoch_log.training,
            self.epoch_log.validation,
            target=self.target,
            stop_at_target=self.cell.training.stop_at_target,
            max_epochs=self.cell.training.max_epochs,
            constant_loss=self.constant_loss,
            settled=stopping.settled_steps(self.epoch_log.steps, self.epoch_log.rates),
            collapse=self.cell.training.collapse,
            ignores_input=self._ignores_input,
        )

    def _ignores_input(self) -> bool:
        """Whether the model has collapsed; rank 0 looks, so that no rank can think otherwise."""
        if self.world.rank > 0:
            return bool(self.world.maximum(0))
        samples, chunk = self.evaluation.validation, self.evaluation.chunk
        return bool(self.world.maximum(int(collapse.ignores_input(self.model, samples, chunk, self.cell.task.outputs))))

    @property
    def target(self) -> float | None:
        """The validation loss to reach, which ends the run unless it is to go on."""
        target = self.cell.training.target
        assert not isinstance(target, SequentialEpochs), "the pilots' target must be known before any step"
        return target

    def _planned(self, epoch: int) -> int:
        """What is planned for the beginning of an epoch, as far as that can be foreseen."""
        start = Progress(workers=self.cell.workers, samples=self.progress.samples, epoch=epoch)
        return next_plan(self.strategy, self.cell.training.plan, start).batch

    def _get_ready(self) -> None:
        """Before the clock starts: record on a GPU, and connect, all that this run can be foreseen to need."""
        total = self.progress.samples
        sizes = {self._planned(epoch) for epoch in range(self.progress.epoch, self.cell.training.max_epochs)}
        for num_samples in sorted({min(size, total) for size in sizes} | {total % size for size in sizes} - {0}):
            self.update.prepare(num_samples)
        self.evaluation.prepare()
        self.update.connect()
        for num_samples in (total, self.evaluation.num_samples):
            self.world.all_reduce(torch.zeros(num_samples, device=self.device))

    def step_once(self, samples: Tensor | None = None) -> None:
        """One step on these samples, or the first ones, as in a run, at a rate of 0: for measurements. It counts for nothing."""
        if samples is None:
            samples = torch.arange(self.cell.training.batch_size, device=self.device)
            self.update.prepare(len(samples))
        before = self.progress
        self._take_step(samples, Plan(len(samples), 0.0))
        self.progress = before

    def bookkeep_once(self) -> None:
        """What an epoch takes besides its steps and its evaluation; it counts for nothing."""
        torch.from_numpy(sampler.epoch_order(self.progress.samples, self.cell.seed, 0)).to(self.device)
        self.evaluation.mean(self.losses)
        self.losses.zero_()
        replicas.compare(self.world, self.flat.digest(), "the weights")

    def state(self) -> Checkpoint:
        """Everything that makes the run what it is; a collective call."""
        return state.save(self)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        state.restore(self, checkpoint)

    def lose(self, lost_s: float) -> None:
        """Account for seconds of work that died with an earlier attempt."""
        self.clock.lose(lost_s)

    def _tell(self) -> None:
        """One line an epoch, with the time that is left at most."""
        verdict, last, target = self._judge(), self.epoch_log.epochs[-1], self.target
        own_s = time.perf_counter() - self._started_s
        left_s = own_s / (last.epoch - self._first) * (self.cell.training.max_epochs - last.epoch)
        log.info(
            "epoch %d/%d  step %d  rate %.3g  training %.6f  validation %.6f%s  %s%s",
            last.epoch,
            self.cell.training.max_epochs,
            last.step,
            last.learning_rate,
            last.training_loss,
            last.validation_loss,
            f" (target {target:.6f})" if target else "",
            f"{last.seconds.total:.1f} s  " if last.seconds else "",
            f"{verdict.status} {verdict.because or ''}".strip() if verdict else f"at most {left_s:.0f} s left",
        )
