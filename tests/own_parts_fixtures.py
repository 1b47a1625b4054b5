"""A user's own parts, as files, and what becomes of their runs."""

import textwrap

import pytest
from conftest import write_cell

from strongscale.common.files import read_json
from strongscale.common.schema import build
from strongscale.distributed.world import World
from strongscale.tasks.base import Task
from strongscale.training import samples
from strongscale.training.run import train

LINES = '''
    from dataclasses import dataclass

    import torch
    from torch import nn

    from strongscale.tasks.base import Task


    @dataclass(frozen=True)
    class Lines(Task):
        """A noisy line: as many slopes as there are inputs."""

        inputs: int = 3

        def samples(self):
            generator = torch.Generator().manual_seed(1)
            x = torch.randn(60, self.inputs, generator=generator)
            y = x.sum(1) + 0.1 * torch.randn(60, generator=generator)
            return (x[:40], y[:40]), (x[40:], y[40:])

        def create_model(self):
            return nn.Linear(self.inputs, 1)

        def losses(self, model, batch):
            x, y = batch
            return (model(x)[:, 0] - y).square()

        def constant_loss(self, training, validation):
            return float((validation[1] - training[1].mean()).square().mean())

        def measures(self, model, batch):
            x, y = batch
            return {"right": ((model(x)[:, 0] - y).abs() < 0.5).float()}
'''

ADDING_UP = '''
    """Every worker takes steps of its own, with its own optimizer; then all weights are averaged."""

    from dataclasses import dataclass

    import torch

    from strongscale.strategies.base import Plan, Strategy
    from strongscale.updates.base import Message, Step, Update


    @dataclass(frozen=True)
    class Local(Strategy):
        """The sequential plan; each worker its own path for some steps."""

        steps: int = 2

        def update(self):
            return Averaging(self.steps)


    @dataclass
    class Averaging(Update):
        steps: int

        def begin(self, engine):
            self.engine, self.done = engine, torch.zeros(())
            weights = engine.flat.values.data
            self.replicas = {worker: weights.clone() for worker in engine.workers}
            self.states = {worker: engine.optimizer.start(weights) for worker in engine.workers}

        def step(self, minibatch, plan):
            engine, weights = self.engine, self.engine.flat.values.data
            shards = engine.reduction.shards(len(minibatch))
            losses = torch.zeros(len(minibatch))
            for worker in engine.workers:
                own = minibatch[shards[worker]]
                weights.copy_(self.replicas[worker])
                if len(own):
                    losses[shards[worker]] = engine.take_gradient(own)
                    engine.apply(len(own), plan.rate, self.states[worker])
                self.replicas[worker].copy_(weights)
            weights.copy_(sum(self.replicas.values()) / engine.num_workers)
            engine.reduction.world.all_reduce(weights)
            self.done += 1
            messages = ()
            if self.done % self.steps == 0:
                messages = (Message(engine.gradient_bytes, engine.num_workers),)
                for replica in self.replicas.values():
                    replica.copy_(weights)
            return Step(losses, tuple((shard.stop - shard.start,) for shard in shards), messages)

        def shared(self):
            return {"done": self.done}

        def own(self):
            return {worker: {"replica": self.replicas[worker], **self.states[worker]} for worker in self.replicas}
'''

SIGNS = '''
    from dataclasses import dataclass

    import torch

    from strongscale.optimizers.base import Optimizer


    @dataclass(frozen=True)
    class Signs(Optimizer):
        """w <- w - rate * sign(g)"""

        scale: float = 1.0

        def start(self, weights):
            return {}

        def step(self, weights, gradient, state, rate, layers):
            weights.sub_(self.scale * rate * gradient.sign())
'''

DENSE = '''
    from dataclasses import dataclass

    from torch import nn

    from strongscale.models.base import Model


    @dataclass(frozen=True, kw_only=True)
    class Dense(Model):
        """A dense autoencoder of a cube."""

        width: int = 4

        def create(self, voxels):
            numbers = voxels**self.dimensions
            shape = (voxels,) * self.dimensions
            return nn.Sequential(
                nn.Flatten(), nn.Linear(numbers, self.width), nn.Linear(self.width, numbers), nn.Softplus(), nn.Unflatten(1, shape)
            )
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that writes a user's own file, and gives its path as config.yaml would."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).write_text(textwrap.dedent(text).lstrip())
        return name

    return write


def cell_of(tmp_path, task, **settings):
    """The folder of a cell of a task with samples of its own."""
    folder = tmp_path / "results" / "tiny" / "samples"
    samples.make(build(Task, task, "task"), folder)
    return write_cell(tmp_path, folder, task=build(Task, task, "task"), **settings)


def trained(folder):
    """What a run comes to."""
    train(folder, World())
    return read_json(folder / "result.json")
