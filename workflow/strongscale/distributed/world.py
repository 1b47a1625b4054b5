"""The ranks of a run and what they say to one another: the only file that knows mpi4py and torch.distributed."""

import os
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed import P2POp

from strongscale.common.errors import UserError

PIECE_BYTES = 2**30  # of one message: MPI counts in 32 bits
NO_GPU, SET_TO_CPU = "none found", "set to cpu there"  # why a rank computes on its CPU
STARTED_BY_MPI = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "PMIX_RANK")


class World:
    """One rank alone: no MPI needed."""

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1
    transport = "none"

    def all_reduce(self, values: Tensor) -> None:
        """Add up a tensor over all ranks, in place, on all of them."""

    def swap(self, sent: Sequence[Tensor], received: Sequence[Tensor]) -> None:
        """Give every other rank its tensor, and take one from it; the places of this rank itself are left alone."""

    def all_gather(self, value: Any) -> list[Any]:
        """The (small) value of every rank, on all ranks."""
        return [value]

    def broadcast_bytes(self, content: bytes) -> bytes:
        """The bytes that rank 0 gives, as many as there may be, on all ranks."""
        return content

    def maximum(self, value: int) -> int:
        """The largest of the ranks' numbers, on all ranks."""
        return value

    def barrier(self) -> None:
        """Wait until all ranks have come here."""

    def connect(self, device: torch.device) -> None:
        """Choose how tensors travel, once the device is known."""

    def close(self) -> None:
        """Leave in good order."""


class MPIWorld(World):
    """The ranks that mpirun (or srun) started."""

    transport = "mpi"

    def __init__(self) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = MPI.COMM_WORLD
        self.rank, self.size = self._comm.rank, self._comm.size
        host = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = host.rank, host.size
        self._pinned: dict[tuple[str, torch.dtype], Tensor] = {}

    def connect(self, device: torch.device) -> None:
        """NCCL where every rank has a GPU to itself (it refuses two ranks on one); MPI through the host otherwise.

        All ranks come here with the same kind of device.
        """
        if self.size == 1 or device.type != "cuda":
            return
        gpus = self.all_gather(str(torch.cuda.get_device_properties(device).uuid))
        if len(set(gpus)) < self.size:
            return
        address = self._comm.bcast((platform.node(), _free_port()) if self.rank == 0 else None)
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address[0], str(address[1])
        torch.distributed.init_process_group("nccl", rank=self.rank, world_size=self.size, device_id=device)
        self.transport = "nccl"

    def all_reduce(self, values: Tensor) -> None:
        """NCCL's or MPI's."""
        if self.transport == "nccl":
            torch.distributed.all_reduce(values)
        else:
            host = self._on_host(values, "all_reduce")
            self._comm.Allreduce(self._mpi.IN_PLACE, host.numpy())
            _put_back(host, values)

    def swap(self, sent: Sequence[Tensor], received: Sequence[Tensor]) -> None:
        """All at once, by NCCL or MPI; what is empty doesn't travel."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        takes, gives = ([rank for rank in others if len(tensors[rank])] for tensors in (received, sent))
        if self.transport == "nccl":
            calls = [P2POp(torch.distributed.irecv, received[rank], rank) for rank in takes]
            calls += [P2POp(torch.distributed.isend, sent[rank], rank) for rank in gives]
            for call in torch.distributed.batch_isend_irecv(calls) if calls else ():
                call.wait()
            return
        targets = {rank: self._on_host(received[rank], f"from {rank}", copied=False) for rank in takes}
        waiting = [self._comm.Irecv(target.numpy(), rank) for rank, target in targets.items()]
        waiting += [self._comm.Isend(self._on_host(sent[rank], f"to {rank}").numpy(), rank) for rank in gives]
        self._mpi.Request.Waitall(waiting)
        for rank, target in targets.items():
            _put_back(target, received[rank])

    def all_gather(self, value: Any) -> list[Any]:
        """The value of every rank, on all ranks."""
        return list(self._comm.allgather(value))

    def broadcast_bytes(self, content: bytes) -> bytes:
        """The bytes that rank 0 gives, on all ranks, in pieces of a size that MPI can count."""
        size = self._comm.bcast(len(content))
        buffer = np.frombuffer(content, np.uint8) if self.rank == 0 else np.empty(size, np.uint8)
        for start in range(0, size, PIECE_BYTES):
            self._comm.Bcast(buffer[start : start + PIECE_BYTES])
        return content if self.rank == 0 else buffer.tobytes()

    def maximum(self, value: int) -> int:
        """The largest of the ranks' numbers: one small all-reduce, after every step."""
        numbers = np.array([value])
        self._comm.Allreduce(self._mpi.IN_PLACE, numbers, self._mpi.MAX)
        return int(numbers[0])

    def barrier(self) -> None:
        """Wait until all ranks have come here."""
        self._comm.Barrier()

    def _on_host(self, values: Tensor, use: str, *, copied: bool = True) -> Tensor:
        """Where MPI reads and writes the numbers: a CPU's own memory; for a GPU pinned memory, kept from call to call."""
        if not values.is_cuda:
            return values
        if (kept := self._pinned.get((use, values.dtype))) is None or len(kept) < values.numel():
            kept = self._pinned[use, values.dtype] = torch.empty(values.numel(), dtype=values.dtype, pin_memory=True)
        host = kept[: values.numel()].view_as(values)
        return host.copy_(values) if copied else host

    def close(self) -> None:
        """Tear NCCL down; MPI ends with the process."""
        if self.transport == "nccl":
            torch.distributed.destroy_process_group()


def _put_back(host: Tensor, values: Tensor) -> None:
    if host is not values:
        values.copy_(host)


def is_started_by_mpi() -> bool:
    """Whether this process is one of the ranks of an MPI job."""
    return any(name in os.environ for name in STARTED_BY_MPI)


def create() -> World:
    """The world this process was started in."""
    if not is_started_by_mpi():
        return World()
    try:
        return MPIWorld()
    except ImportError as error:
        raise UserError(f"started by mpirun, but mpi4py cannot be used here: {error}") from None


def choose_device(wanted: str, ranks: World) -> torch.device:
    """`auto`, `cpu` or `cuda`: the same kind on all ranks, or a mistake that all of them tell.

    The ranks of a host share its GPUs in turn; one that is there but can't be used is never taken for none. A rank
    that left alone would be waited for by the others for ever.
    """
    gpu, obstacle = (None, SET_TO_CPU) if wanted == "cpu" else _own_gpu(ranks.local_rank)
    obstacles = ranks.all_gather((platform.node(), obstacle))
    if wanted != "cuda" and all(words in (NO_GPU, SET_TO_CPU) for _, words in obstacles):
        return torch.device("cpu")
    if any(words for _, words in obstacles):
        raise UserError(
            f"training.device: {wanted!r} is not possible here: no usable GPU on {_without_gpu(obstacles)}, and all ranks "
            "must compute on the same kind of device; mend the host, or set training.device: cpu"
        )
    assert gpu is not None
    return gpu


def _without_gpu(obstacles: list[tuple[str, str]]) -> str:
    """Which ranks on which hosts, and why."""
    ranks: dict[tuple[str, str], list[int]] = {}
    for rank, (host, words) in enumerate(obstacles):
        if words:
            ranks.setdefault((host, words), []).append(rank)
    return ", ".join(f"host {host} ({name_ranks(numbers)}: {words})" for (host, words), numbers in ranks.items())


def name_ranks(numbers: list[int]) -> str:
    """`rank 3`, or `ranks 0, 3`."""
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _own_gpu(local_rank: int) -> tuple[torch.device | None, str]:
    """The GPU of this rank, or why it has none."""
    if not torch.cuda.is_available():
        return None, NO_GPU
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:  # taken by another process, lost, or too old for this PyTorch
        return None, str(error).partition("\n")[0]
    return device, ""


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
    return port
