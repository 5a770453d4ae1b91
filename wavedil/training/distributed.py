"""One process or several: what rank this one is, and the few collective operations that training needs."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Process:
    """This process among those of a run; alone, every collective operation is the identity.

    Attributes:
        rank: from 0, which is the one that writes.
        world_size: number of processes.
        device: that it computes on.
        backend: of torch.distributed; None when alone.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    backend: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.any(False)  # a reduction; NCCL's own barrier guesses the device

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum of a tensor over the processes; the one given is left as it is."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def minimum(self, tensor: Tensor) -> Tensor:
        """Least of a tensor over the processes, element by element."""
        return self._reduce(tensor, dist.ReduceOp.MIN)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.backend is None:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)))

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors with those of rank 0."""
        if self.backend is not None:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in rank 0, then in the others, which find what it made."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.backend is None:
            return tensor
        reduced = tensor.clone()
        dist.all_reduce(reduced, op=operation)
        return reduced


@contextmanager
def join(device: str = "auto") -> Iterator[Process]:
    """Be the process that torchrun's environment says, or a single one; leaves the group at the end.

    Args:
        device: "auto" (CUDA where there is one, else the CPU), or torch's name of a device.

    Raises:
        ValueError: if there is no such device.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if world_size == 1:
        yield Process(device=chosen)
        return
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, device_id=chosen if chosen.type == "cuda" else None)
    try:
        yield Process(dist.get_rank(), world_size, chosen, backend)
    finally:
        # Gloo's threads take the GIL to free what they reduced last; freeing the group joins them with the GIL held,
        # and would wait for ever if they were not done.
        time.sleep(0.1)
        dist.destroy_process_group()


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """The device that a config's ``train.device`` means in the process of this rank on its machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f'train.device: expected "auto", "cpu" or "cuda", got {device!r}') from None
    if chosen.type != "cuda":
        return chosen
    if not torch.cuda.is_available():
        raise ValueError(f"train.device: expected a device of this machine, got {device!r}, but there is no CUDA")
    chosen = torch.device("cuda", local_rank if chosen.index is None else chosen.index)
    torch.cuda.set_device(chosen)
    return chosen
