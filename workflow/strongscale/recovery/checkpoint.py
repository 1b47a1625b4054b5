"""Checkpoints: all that a run needs to go on as if nothing had happened.

A checkpoint is one safetensors file (loading it runs no code), written whole or not at all, named after its step. Its
metadata hold the identity of the run, and a digest of everything in it. The newest two are kept: one that is torn or
corrupt falls back to the one before. One of another run is refused by name. Rank 0 alone touches the files, and gives
the others what it reads: ranks whose file systems differ would go on from different places.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from strongscale.common.errors import UserError
from strongscale.common.files import atomic
from strongscale.distributed.world import World

log = logging.getLogger(__name__)

NUM_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and plain values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def to_bytes(self) -> bytes:
        """One safetensors file, with a digest of all that is in it."""
        values = json.dumps(self.values)
        content: bytes = safetensors.torch.save(
            self.tensors, {"values": values, "digest": _digest(self.tensors, values)}
        )
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> "Checkpoint":
        """What `to_bytes` gave; an error if anything was changed."""
        tensors = safetensors.torch.load(content)
        header_size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + header_size])["__metadata__"]
        if metadata["digest"] != _digest(tensors, metadata["values"]):
            raise ValueError("its digest doesn't match")
        return cls(tensors, json.loads(metadata["values"]))

    @classmethod
    def shared(cls, found: "Checkpoint | None", world: World) -> "Checkpoint | None":
        """What rank 0 has found, on all ranks; none of the others looks by itself, for it might find another."""
        content = world.broadcast_bytes(found.to_bytes() if found and world.size > 1 else b"")
        return cls.from_bytes(content) if content else found


@dataclass(frozen=True)
class Store:
    """The checkpoints of one run, in its cell's folder."""

    folder: Path
    identity: dict[str, str]
    """What must be equal for a checkpoint to belong to this run."""

    def paths(self) -> list[Path]:
        """The checkpoints there are, newest first."""
        return sorted(self.folder.glob("checkpoint-*.safetensors"), reverse=True)

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and drop the oldest. A full disk costs the checkpoint, not the run."""
        whole = Checkpoint(checkpoint.tensors, checkpoint.values | {"identity": self.identity})
        path = self.folder / f"checkpoint-{step:09d}.safetensors"
        try:
            with atomic(path) as temporary:
                temporary.write_bytes(whole.to_bytes())
        except OSError as error:
            log.warning("%s: not written (%s); training goes on", path, error.strerror)
            return
        for old in self.paths()[NUM_KEPT:]:
            old.unlink(missing_ok=True)

    def load(self) -> Checkpoint | None:
        """The newest whole checkpoint of this run; None where there is none."""
        torn: list[Path] = []
        for path in self.paths():
            try:
                checkpoint = Checkpoint.from_bytes(path.read_bytes())
            except (safetensors.SafetensorError, KeyError, ValueError) as error:
                log.warning("%s: torn or corrupt (%s); trying the one before", path, error)
                torn.append(path)
                continue
            theirs = checkpoint.values.get("identity", {})
            for name, value in self.identity.items():
                if theirs.get(name) != value:
                    raise UserError(
                        f"{path}: of another run ({name} {theirs.get(name)}, here {value}); "
                        "remove the folder's checkpoints to start over, or restore what was changed"
                    )
            for useless in torn:  # or it would be kept in the place of a whole one
                useless.unlink(missing_ok=True)
            return checkpoint
        return None

    def sweep(self) -> None:
        """Remove what a death in the middle of writing left behind."""
        for path in self.folder.glob(".*.safetensors"):
            path.unlink(missing_ok=True)

    def put_aside(self) -> None:
        """Keep the checkpoints for a reader; no run goes on from them."""
        for path in self.paths():
            path.replace(path.with_name(f"kept-{path.name}"))

    def clear(self) -> None:
        """Remove all checkpoints."""
        for path in self.paths():
            path.unlink(missing_ok=True)


def _digest(tensors: dict[str, Tensor], values: str) -> str:
    digest = hashlib.sha256(values.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()
