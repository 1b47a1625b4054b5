"""The one training loop: w <- Adam(w, (1/|B'|) · sum over workers of the sum over their samples of the gradient).

Each rank carries a contiguous block of workers, one after another. Per-sample losses go into one vector with a place
for each sample, filled by the rank that computed it and added up over ranks: adding zeros changes nothing, so losses
don't depend on who computed them.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from strongscale import models
from strongscale.distributed import replicas
from strongscale.distributed.world import World
from strongscale.recovery.checkpoint import Checkpoint
from strongscale.recovery.continuation import Continuation
from strongscale.settings.cells import CellSettings, whole_data
from strongscale.strategies.base import Strategy
from strongscale.tasks import collapse, suitability
from strongscale.tasks.autoencoding import msle
from strongscale.timing import stopwatch
from strongscale.timing.clock import Clock, EmulatedClock, WallClock
from strongscale.training import passes, sampler, stopping
from strongscale.training.epoch_log import Epoch, Journal
from strongscale.training.flat import FlatParameters
from strongscale.training.optimizers import AdamUpdate
from strongscale.training.passes import Passes
from strongscale.training.reduction import ExactReduction, FastReduction, Reduction
from strongscale.training.stopping import Verdict

log = logging.getLogger(__name__)

COUNTERS = ("epoch", "minibatch", "step", "samples")


@dataclass(kw_only=True)
class Trainer:
    """A run in progress: the same on every rank but for the workers it carries."""

    cell: CellSettings
    strategy: Strategy
    world: World
    device: torch.device
    training: Tensor  # (samples, voxels, ...)
    validation: Tensor
    null_loss: float
    constant_loss: float
    journal: Journal
    continuation: Continuation
    epoch: int = 0  # of the minibatch that comes next, counted from 0
    minibatch: int = 0  # its number in that epoch
    step: int = 0
    samples: int = 0
    losses: Tensor = field(init=False)  # of this epoch's samples, those that this rank computed
    model: torch.nn.Module = field(init=False)
    flat: FlatParameters = field(init=False)
    passes: Passes = field(init=False)
    reduction: Reduction = field(init=False)
    update: AdamUpdate = field(init=False)
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        settings = self.cell.training
        self.model = models.create(self.cell.model, self.training.shape[-1])
        models.initialise(self.model, self.cell.seed, self.cell.brightness)
        self.model.to(self.device)
        if self.device.type == "cpu":
            models.lay_out(self.model)
        suitability.check(self.model, losses_of, self.training, self.cell.model.kind)
        self.flat = FlatParameters(self.model)
        self.passes = passes.create(self.flat, lambda cubes: losses_of(self.model, cubes))
        self.reduction = (
            ExactReduction(self.flat, self.passes, self.world, settings.microbatch)
            if settings.reduction == "exact"
            else FastReduction(self.flat, self.passes, self.world)
        )
        self.update = AdamUpdate(self.flat, settings)
        self.losses = torch.zeros(len(self.training), device=self.device)
        self.clock = self._create_clock()
        self.workers = range(self.cell.workers)[sampler.split(self.cell.workers, self.world.size)[self.world.rank]]

    def run(self) -> Verdict:
        """Train to the end, from wherever it stands; the clock starts here."""
        if words := whole_data(self.minibatch_size, len(self.training)):
            log.warning("%s", words)
        self._compare("the weights that training starts with")
        self._get_ready()
        self.clock.start()
        while not (verdict := self._judge()):
            self._train_epoch()
            self._tell()
            self.continuation.after_epoch(self, self.step, self.epoch)
        return verdict

    def _judge(self) -> Verdict | None:
        if not self.journal.epochs:
            return None
        return stopping.judge(
            self.journal.training,
            self.journal.validation,
            target=self.target,
            max_epochs=self.cell.training.max_epochs,
            constant_loss=self.constant_loss,
            collapse=self.cell.training.collapse,
            ignores_input=self._ignores_input,
        )

    def _ignores_input(self) -> bool:
        """Whether the model has collapsed; rank 0 looks, so that no rank can think otherwise."""
        chunk = self.cell.training.evaluation_chunk
        looks = self.world.rank == 0
        return bool(self.world.largest(int(looks and collapse.ignores_input(self.model, self.validation, chunk))))

    def _train_epoch(self) -> None:
        indices = torch.from_numpy(sampler.epoch_order(len(self.training), self.cell.seed, self.epoch)).to(self.device)
        size = self.minibatch_size
        minibatches = indices.split(size)
        while self.minibatch < len(minibatches):
            rate = self._learning_rate(self.epoch + self.minibatch / len(minibatches))
            samples = minibatches[self.minibatch]
            self._take_step(samples, rate, self.losses[self.minibatch * size :][: len(samples)])
            self.minibatch += 1
            self.continuation.after_step(self, self.step)
        self._end_epoch(self._learning_rate(self.epoch + (len(minibatches) - 1) / len(minibatches)))

    def step_once(self) -> None:
        """One step on the first samples, for benchmarks; it counts for nothing."""
        samples = torch.arange(self.cell.training.batch_size, device=self.device)
        self._get_ready_for(len(samples))
        self._take_step(samples, 0.0, torch.zeros(len(samples), device=self.device))

    def _end_epoch(self, rate: float) -> None:
        """Evaluate, and write the epoch down."""
        training_loss = self._mean_over_ranks(self.losses)
        validation_loss = self._evaluate()
        seconds = self.clock.end_epoch(self.world, len(self._validation_chunks()))
        self.samples += len(self.training)
        self.epoch, self.minibatch = self.epoch + 1, 0
        self.losses.zero_()
        weights_hash = self.flat.digest()
        replicas.compare(self.world, weights_hash, f"the weights after epoch {self.epoch}")
        self.journal.add(
            Epoch(
                epoch=self.epoch,
                step=self.step,
                samples=self.samples,
                learning_rate=rate,
                training_loss=training_loss,
                validation_loss=validation_loss,
                time_s=seconds.total,
                compute_s=seconds.compute,
                communication_s=seconds.communication,
                evaluation_s=seconds.evaluation,
                weights_hash=weights_hash,
            )
        )

    def state(self) -> Checkpoint:
        """Everything that makes the run what it is, whoever carries it on: nothing in it knows of ranks or layouts."""
        self._compare(f"the weights or Adam's moments after step {self.step}")
        losses = self.losses.clone()
        self.world.sum(losses)
        tensors = {"losses": losses, "steps": self.update.steps}
        for kind, flat in self._flat_tensors().items():
            tensors |= {f"{kind}/{name}": part for name, part in self.flat.by_name(flat).items()}
        tensors |= {f"buffers/{name}": buffer.clone() for name, buffer in self._buffers().items()}
        counters = {name: getattr(self, name) for name in COUNTERS}
        journal = [asdict(epoch) for epoch in self.journal.epochs]
        return Checkpoint(
            {name: tensor.detach().cpu() for name, tensor in tensors.items()},
            {"counters": counters, "journal": journal, "clock": self.clock.state(), "device": self.device.type},
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, written by any number of ranks, on any kind of device."""
        for name, counter in checkpoint.values["counters"].items():
            setattr(self, name, counter)
        for kind, flat in self._flat_tensors().items():
            self.flat.take({name: checkpoint.tensors[f"{kind}/{name}"] for name in self.flat.names}, flat)
        for name, buffer in self._buffers().items():
            buffer.copy_(checkpoint.tensors[f"buffers/{name}"])
        self.update.steps.copy_(checkpoint.tensors["steps"])
        before = checkpoint.values["device"]
        if before != self.device.type and self.world.rank == 0:
            log.warning(
                "written on %s, continued on %s: numbers round otherwise from here on", before, self.device.type
            )
        if self.world.rank == 0:  # the losses are summed over ranks: one rank brings those computed before
            self.losses.copy_(checkpoint.tensors["losses"])
            self.clock.restore(checkpoint.values["clock"])
        else:
            self.clock.restore(checkpoint.values["clock"] | {"durations_s": {}})
        self.journal.restore([Epoch(**row) for row in checkpoint.values["journal"]])

    def _flat_tensors(self) -> dict[str, Tensor]:
        """What a run remembers of each parameter."""
        return {"weights": self.flat.values.data, **self.update.moments}

    def _buffers(self) -> dict[str, Tensor]:
        """What belongs to the model and isn't trained: it stays as it was made, perhaps by chance."""
        return {name: value for name, value in self.model.state_dict().items() if name not in self.flat.names}

    def _compare(self, what: str) -> None:
        """Stop if what a rank remembers isn't what the others do."""
        tensors = [*self._flat_tensors().values(), *self._buffers().values()]
        replicas.compare(self.world, replicas.digest(tensors), what)

    def lose(self, lost_s: float) -> None:
        """Account for seconds of work that died with an earlier attempt."""
        self.clock.lose(lost_s)

    @property
    def target(self) -> float | None:
        """The validation loss that ends the run; a run that sets the target of the others has none itself."""
        target = self.cell.training.target
        return target if isinstance(target, float) else None

    @property
    def minibatch_size(self) -> int:
        """Samples in one step of all workers together, in this epoch."""
        return self.strategy.minibatch(self.cell.training.batch_size, self.cell.workers, self.epoch)

    def _learning_rate(self, epochs_done: float) -> float:
        base = self.cell.training.learning_rate
        assert not isinstance(base, str)
        return self.strategy.learning_rate(base, self.cell.workers, epochs_done)

    def _take_step(self, minibatch: Tensor, rate: float, losses: Tensor) -> None:
        """One update of all workers; their samples' losses go to their places in `losses`."""
        shards = self.reduction.shards(len(minibatch), self.cell.workers)
        self.reduction.start(len(minibatch))
        for worker in self.workers:
            shard = shards[worker]
            if shard.stop > shard.start:
                with self.clock.computing(shard.stop - shard.start):
                    cubes = self.training[minibatch[shard]]
                    losses[shard] = self.reduction.add(cubes, shard.start)
        with self.clock.communicating():
            self.reduction.finish()
        with self.clock.updating():
            self.update(len(minibatch), rate)
        self.step += 1
        self.clock.end_step(shards[0].stop)

    def _get_ready(self) -> None:
        """Record on a GPU, and connect, all that this run can come to need: no second of it is the clock's."""
        batch_size, total = self.cell.training.batch_size, len(self.training)
        epochs = range(self.epoch, self.cell.training.max_epochs)
        sizes = {self.strategy.minibatch(batch_size, self.cell.workers, epoch) for epoch in epochs}
        for num_samples in sorted({min(size, total) for size in sizes} | {total % size for size in sizes} - {0}):
            self._get_ready_for(num_samples)
        with self._evaluating_model():
            for chunk in self._own_validation_chunks():
                self.passes.prepare(self.validation[chunk], "losses")
        self.reduction.connect()
        for samples in (self.training, self.validation):
            self.world.sum(torch.zeros(len(samples), device=self.device))

    def _get_ready_for(self, num_samples: int) -> None:
        """The same for minibatches of so many samples."""
        shards = self.reduction.shards(num_samples, self.cell.workers)
        for size in {shards[worker].stop - shards[worker].start for worker in self.workers} - {0}:
            self.reduction.prepare(self.training[:size])
        self.update.prepare(num_samples)

    def _evaluate(self) -> float:
        """The mean validation loss: fixed chunks, shared out over the ranks, each sample once."""
        losses = torch.zeros(len(self.validation), device=self.device)
        with self._evaluating_model():
            for chunk in self._own_validation_chunks():
                with self.clock.evaluating():
                    losses[chunk] = self.passes.losses(self.validation[chunk])
        return self._mean_over_ranks(losses)

    @contextlib.contextmanager
    def _evaluating_model(self) -> Iterator[None]:
        """The model is told that it isn't trained, though none is taken that would compute anything else then."""
        self.model.eval()
        yield
        self.model.train()

    def _own_validation_chunks(self) -> list[slice]:
        return self._validation_chunks()[self.world.rank :: self.world.size]

    def _validation_chunks(self) -> list[slice]:
        size, total = self.cell.training.evaluation_chunk, len(self.validation)
        return [slice(start, min(start + size, total)) for start in range(0, total, size)]

    def _mean_over_ranks(self, losses: Tensor) -> float:
        """The mean of all samples' losses, in float64 and in the order of their places."""
        with self.clock.communicating():
            self.world.sum(losses)
        return float(np.mean(losses.cpu().numpy(), dtype=np.float64))

    def _create_clock(self) -> Clock:
        watch = stopwatch.create(self.device, self.continuation.suspension.watch)
        if self.cell.network is None:
            return WallClock(watch, self.continuation.suspension)
        gradient = self.flat.gradient
        return EmulatedClock(
            watch,
            self.cell.network,
            self.cell.workers,
            gradient.numel() * gradient.element_size(),
        )

    def _tell(self) -> None:
        """One line an epoch, with the time that is left at most."""
        verdict, last, target = self._judge(), self.journal.epochs[-1], self.target
        left_s = last.time_s / last.epoch * (self.cell.training.max_epochs - last.epoch)
        log.info(
            "epoch %d/%d  step %d  rate %.3g  training %.6f  validation %.6f%s  %.1f s %s  %s",
            last.epoch,
            self.cell.training.max_epochs,
            last.step,
            last.learning_rate,
            last.training_loss,
            last.validation_loss,
            f" (target {target:.6f})" if target else "",
            last.time_s,
            self.cell.clock,
            f"{verdict.status} {verdict.because or ''}".strip() if verdict else f"at most {left_s:.0f} s left",
        )


def losses_of(model: torch.nn.Module, cubes: Tensor) -> Tensor:
    """The losses of these samples, one each; some models know a shorter way to them than the reconstruction."""
    if isinstance(model, models.WithLosses):
        return model.losses(cubes)
    return msle(model(cubes), cubes)
