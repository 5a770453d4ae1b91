"""One process or several: what rank this one is, and the few collective operations that training needs."""

import hashlib
import os
import platform
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

# What the first process of a machine may take to download and decode the data while the others wait.
TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True)
class Process:
    """This process among those of a run; alone, every collective operation is the identity.

    Attributes:
        rank: from 0, which is the one that writes the run folder.
        world_size: number of processes.
        device: that it computes on.
        backend: of torch.distributed; None when alone.
        local_rank: from 0 on each machine, which is the one that fills the caches there.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    backend: str | None = None
    local_rank: int = 0

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

    def from_main(self, content: bytes | None) -> bytes | None:
        """What rank 0 gives here, in every process."""
        if self.backend is None:
            return content
        size = torch.tensor(-1 if content is None else len(content), device=self.device)
        dist.broadcast(size, src=0)
        if size < 0:
            return None
        data = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        if self.is_main and content:
            data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        dist.broadcast(data, src=0)
        return bytes(data.cpu().numpy())

    def main_first(self) -> AbstractContextManager[None]:
        """Run the block in rank 0, then in the others, which find what it made; if it fails there, all stop."""
        return self._first(self.is_main)

    def node_first(self) -> AbstractContextManager[None]:
        """Run the block in one process of each machine, then in the others; if it fails there, all stop."""
        return self._first(self.local_rank == 0)

    @contextmanager
    def _first(self, leads: bool) -> Iterator[None]:
        if not leads:
            self._meet()
        try:
            yield
        except Exception:
            if leads:
                self.any(True)
            raise
        if leads:
            self._meet()

    def _meet(self) -> None:
        if self.any(False):
            raise RuntimeError(f"process {self.rank} stops, since another one failed: see its message")

    def _reduce(self, tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.backend is None:
            return tensor
        reduced = tensor.clone()
        dist.all_reduce(reduced, op=operation)
        return reduced


@dataclass(frozen=True)
class Launch:
    """The torchrun that started this process.

    Attributes:
        name: the same in all workers that it starts, and in those that take their place.
        restarted: whether this worker takes the place of one, after a fault.
    """

    name: str
    restarted: bool

    @classmethod
    def from_environment(cls) -> "Launch | None":
        """What torchrun's environment says; None without torchrun."""
        run_id = os.environ.get("TORCHELASTIC_RUN_ID")
        if run_id is None:
            return None
        # "none" is torchrun's name for a launch that was given none; its own process tells such launches apart.
        name = f"{platform.node()}:{os.getppid()}" if run_id == "none" else run_id
        return cls(name, int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0)


@contextmanager
def join(device: str = "auto") -> Iterator[Process]:
    """Be the process that torchrun's environment says, or a single one; leaves the group at the end.

    Args:
        device: "auto" (CUDA where there is one, else the CPU), or torch's name of a device.

    Raises:
        ValueError: if there is no such device.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, local_rank)
    if world_size == 1:
        yield Process(device=chosen)
        return
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    store, rank, world_size = next(rendezvous("env://", timeout=TIMEOUT))
    dist.init_process_group(
        backend,
        store=PrefixStore(agree_on_name(store, rank, world_size), store),
        rank=rank,
        world_size=world_size,
        timeout=TIMEOUT,
        device_id=chosen if chosen.type == "cuda" else None,
    )
    try:
        yield Process(rank, world_size, chosen, backend, local_rank)
    finally:
        # Gloo's threads take the GIL to free what they reduced last; freeing the group joins them with the GIL held,
        # and would wait for ever if they were not done.
        time.sleep(0.1)
        dist.destroy_process_group()


def agree_on_name(store: Store, rank: int, world_size: int) -> str:
    """A name that the processes that start together agree on, and none before them had.

    torchrun keeps its store when it starts workers anew, and they would meet the addresses that those before them left
    in it. So each process writes a random word and what it reads of all words; once all read the same, none is old.

    Args:
        store: may hold what former processes wrote in the same way.
        rank: of this process.
        world_size: number of processes.
    """
    words, views = ([f"wavedil/{kind}/{number}" for number in range(world_size)] for kind in ("word", "view"))
    store.set(words[rank], uuid.uuid4().hex)
    while True:
        view = hashlib.sha256(b"".join(store.multi_get(words))).hexdigest()
        store.set(views[rank], view)
        if all(other == view.encode() for other in store.multi_get(views)):
            return view
        time.sleep(0.02)


def choose_device(device: str, local_rank: int = 0) -> torch.device:
    """The device that a config's ``train.device`` means in the process of this rank on its machine."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f'train.device: expected "auto", "cpu" or "cuda", got {device!r}') from None
    if chosen.type != "cuda":
        return _tried(chosen)
    if not torch.cuda.is_available():
        raise ValueError(f"train.device: expected a device of this machine, got {device!r}, but there is no CUDA")
    chosen = torch.device("cuda", local_rank if chosen.index is None else chosen.index)
    torch.cuda.set_device(chosen)
    return chosen


def _tried(device: torch.device) -> torch.device:
    """A device that computes here, not only by its name."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: a torch that was built without it
        reason = str(error).partition("\n")[0].rstrip(".")
        expected = f"expected a device of this machine, got '{device}'"
        raise ValueError(f"train.device: {expected}, which cannot be used: {reason}") from error
    return device
