"""A task: data, model and loss together. Who trains it asks for nothing else, and it knows nothing of who trains it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from strongscale.common.parts import Part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    Batch = tuple[Tensor, ...]
    """Samples: as many tensors as the task needs, in each a row a sample; the model's input first."""


@dataclass(frozen=True)
class Task(Part, ABC):
    """The fields of a subclass are its parameters, to be set in config.yaml.

    A sample's loss may depend on the weights and that sample alone: not on the samples beside it, or on chance.
    """

    noun: ClassVar[str] = "task"
    room: ClassVar[str] = "strongscale.tasks"
    usual: ClassVar[str | None] = "autoencoding"
    takes_nodules: ClassVar[bool] = False
    """Whether samples and model are those that a study names, its `dataset` and `model`, in place of the task's own."""

    @abstractmethod
    def samples(self) -> "tuple[Batch, Batch]":
        """Samples for training, and for validation: the same ones each time."""

    @abstractmethod
    def create_model(self) -> "nn.Module":
        """The model, its initial weights drawn from PyTorch's random numbers, which are seeded before."""

    @abstractmethod
    def losses(self, model: "nn.Module", batch: "Batch") -> "Tensor":
        """One loss a sample: (B,). The mean over the samples is what training lowers."""

    @abstractmethod
    def constant_loss(self, training: "Batch", validation: "Batch") -> float:
        """The validation loss of the best output that ignores its input, as the training samples would have it."""

    def constant_measures(self, training: "Batch", validation: "Batch") -> dict[str, float]:
        """What `measures` would tell, in the mean, of an output that ignores its input: the baseline beside the models'."""
        return {}

    def outputs(self, model: "nn.Module", batch: "Batch") -> "Tensor":
        """What the model makes of the samples: (B, ...). Once it hardly differs between inputs, the run has collapsed."""
        outputs: Tensor = model(batch[0])
        return outputs

    def measures(self, model: "nn.Module", batch: "Batch") -> "dict[str, Tensor]":
        """What else is to be told of the trained model, by name: a number a sample, (B,), of which the mean is reported."""
        return {}

    @property
    def has_measures(self) -> bool:
        """Whether it tells anything else."""
        return type(self).measures is not Task.measures

    def of_groups(self, measured: "dict[str, Tensor]", samples: "Batch") -> "dict[str, Tensor] | None":
        """Where samples belong together, as the slices of a nodule do, what is told instead: a number a group, (G,).

        It is made of what `measures` told of all validation samples; None: each sample stands for itself.
        """
        return None


@dataclass(frozen=True)
class NoduleTask(Task):
    """A task whose samples are a study's cubes of nodules, and whose model is the study's `model`."""

    takes_nodules: ClassVar[bool] = True

    def samples(self) -> "tuple[Batch, Batch]":
        """The study's."""
        raise NotImplementedError

    def create_model(self) -> "nn.Module":
        """The study's."""
        raise NotImplementedError

    def constant_loss(self, training: "Batch", validation: "Batch") -> float:
        """The data set's, which dataset.json tells."""
        raise NotImplementedError


@dataclass(frozen=True)
class MaskTask(Task):
    """A task whose own samples are made of a study's `dataset`: cubes of nodules, and their masks."""

    def samples(self) -> "tuple[Batch, Batch]":
        """Made by `samples_of`."""
        raise NotImplementedError

    @abstractmethod
    def samples_of(
        self, cubes_NDHW: "NDArray[np.float32]", masks_NDHW: "NDArray[np.uint8]", is_training_N: "NDArray[np.bool_]"
    ) -> "tuple[Batch, Batch]":
        """Samples for training, and for validation, of cubes in [0, 1] and masks of 0 and 1 in the same places."""

    def check(self, voxels: int) -> None:
        """Refuse, with a `UserError`, what can't be done with cubes of so many voxels a side."""
