"""The processes of a run, as torchrun starts them but without its price, and ways to end some of them."""

import multiprocessing
import os
import socket
import sys
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from tiny import kill_before
from torch import nn

from wavedil.config import Config
from wavedil.models import KeywordModel
from wavedil.training.config import to_toml


def children() -> ForkServerContext:
    """Where processes start in a moment, having imported before."""
    context = multiprocessing.get_context("forkserver")
    slow = ["torch._dynamo", "torch.nn.parallel.distributed", "torch.utils.tensorboard.writer"]
    context.set_forkserver_preload(["wavedil.training.loop", *slow])
    return context


class Group:
    """The processes of a run.

    Args:
        config: of the run; what the processes print goes to the files ``log*`` beside its folder.
        world_size: number of processes.
        restarts: how often "torchrun" has started them before; None is without torchrun.
        resume: given on the command line.
        kill: rank, and the step before which that process kills itself.
        frozen: without the batch statistics, which each process has its own of.
        options: further ones of the last process.
    """

    def __init__(
        self,
        config: Config,
        world_size: int = 2,
        restarts: int | None = None,
        resume: bool = False,
        kill: tuple[int, int] | None = None,
        frozen: bool = False,
        options: tuple[str, ...] = (),
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = Path(config.run_dir).parent
        (self.folder / "run.toml").write_text(to_toml(config))
        self.processes: list[ForkServerProcess] = []
        for rank in range(world_size):
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
            if restarts is not None:
                environment |= {"TORCHELASTIC_RUN_ID": "job", "TORCHELASTIC_RESTART_COUNT": str(restarts)}
            step = kill[1] if kill and kill[0] == rank else None
            given = [*(["--resume"] if resume else []), *(options if rank == world_size - 1 else [])]
            arguments = (environment, self.folder / f"log{rank}", given, step, frozen)
            self.processes.append(children().Process(target=_train, args=arguments))
            self.processes[-1].start()

    def join(self, seconds: float = 60.0) -> list[int | None]:
        """Wait for all to end; their exit codes, None of one that had to be ended."""
        deadline = time.monotonic() + seconds
        codes: list[int | None] = []
        for process in self.processes:
            process.join(max(deadline - time.monotonic(), 0))
            codes.append(process.exitcode)
            process.kill()
            process.join()
        return codes

    def said(self, rank: int) -> str:
        """What a process printed."""
        return (self.folder / f"log{rank}").read_text()


def _train(environment: dict[str, str], log: Path, options: list[str], step: int | None, frozen: bool) -> None:
    from wavedil.cli import main

    sys.modules["matplotlib.figure"] = None  # type: ignore[assignment]  # no pictures: they take most of the time
    if frozen:
        KeywordModel.train = lambda self, mode=True: nn.Module.train(self, False)  # type: ignore[method-assign]
    os.environ |= environment
    with log.open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    if step is not None:
        kill_before("step", step)
    sys.exit(main(["train", "--config", str(log.parent / "run.toml"), *options]))
