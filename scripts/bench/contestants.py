"""The processes of :mod:`train_speed`: each contestant trains in its own, and one more says what is compared."""

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import torch
from step_parts import parts, peak_flops, wait
from torch.utils.flop_counter import FlopCounterMode
from tutorial_loop import tutorial_steps

from wavedil.config import Config
from wavedil.data.clips import load_splits
from wavedil.training.cuda_graph import choose_cuda_graph
from wavedil.training.distributed import Process, choose_device, join
from wavedil.training.interrupt import Interrupts
from wavedil.training.loop import Trainer
from wavedil.training.memory import keep_freed_memory
from wavedil.training.run_folder import RunFolder

TUTORIAL, EAGER, OURS = "DataLoader, as the tutorials", "wavedil, eager float32", "wavedil"
WORKERS = 8  # more than the tutorials give their loop
MORE_WORKERS = f"the tutorials' with {WORKERS} workers"
NO_GRAPH, NOT_COMPILED = "wavedil, without the CUDA graph", "wavedil, not compiled"
AS_BATCH = "wavedil, the batch as a batch"
PROCESSES = "wavedil, a process for each thread"
OPTIONS: dict[str, dict[str, Any]] = {
    EAGER: {"precision": "float32", "compile": "off", "cuda_graph": "off"},
    NO_GRAPH: {"cuda_graph": "off"},
    NOT_COMPILED: {"compile": "off"},
    AS_BATCH: {"layout": "batch"},
}


class Rival:
    """A process that answers what it is asked.

    Args:
        context: that starts it.
        target: called in it with the connection and the arguments.
        arguments: of the target.
    """

    def __init__(self, context: Any, target: Callable[..., None], *arguments: Any) -> None:
        self._connection, other = context.Pipe()
        self._process = context.Process(target=target, args=(other, *arguments))
        self._process.start()
        other.close()

    def ask(self, question: Any) -> None:
        """Send a question."""
        self._connection.send(question)

    def answer(self) -> Any:
        """Wait for the answer.

        Raises:
            RuntimeError: if the process ended or failed.
        """
        try:
            answer = self._connection.recv()
        except EOFError:
            raise RuntimeError("the process ended without an answer") from None
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def dismiss(self) -> None:
        """Ask the process to end."""
        with contextlib.suppress(OSError):  # it has ended
            self._connection.send(None)

    def stop(self) -> None:
        """End the process."""
        self.dismiss()
        self._process.join(30)
        self._process.kill()


class Team:
    """Rivals that train together, each on its share of every batch; asked and answering as one.

    Args:
        size: number of processes.
        context: that starts them.
        target: called in each with the connection, the arguments and torchrun's environment.
        arguments: of the target.
    """

    def __init__(self, size: int, context: Any, target: Callable[..., None], *arguments: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]  # free again when they start
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
        ranks = ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size))
        self._members = [Rival(context, target, *arguments, shared | rank) for rank in ranks]

    def ask(self, question: Any) -> None:
        """Send a question to all."""
        for member in self._members:
            member.ask(question)

    def answer(self) -> tuple[int, float, float]:
        """All their examples, the time of the slowest, and the CPU of all."""
        examples, seconds, cpu = zip(*(member.answer() for member in self._members), strict=True)
        return sum(examples), max(seconds), sum(cpu)

    def stop(self) -> None:
        """End the processes."""
        for member in self._members:  # all, since none leaves the group before the others
            member.dismiss()
        for member in self._members:
            member.stop()


def contestant(
    connection: Connection, name: str, config: Config, workers: int, environment: Mapping[str, str] | None = None
) -> None:
    """The body of a contestant's process: train as many steps as it is asked for, and say how long they took."""
    os.environ.update(environment or {})
    tutorial = name in (TUTORIAL, MORE_WORKERS)
    device = _set_up(config, tutorial)
    try:
        splits = load_splits(config.data, ("training",))
        config = replace(config, train=replace(config.train, **OPTIONS.get(name, {})))
        with join(config.train.device) as process:
            if tutorial:
                steps = tutorial_steps(config, splits, device, workers)
            else:
                steps = our_steps(Trainer(config, RunFolder("."), splits, process, Interrupts()))
            while (asked := connection.recv()) is not None:
                connection.send(_timed(steps, device, 2 * workers + 1, asked))
    except Exception as error:
        connection.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


def _timed(steps: Iterator[int], device: torch.device, warm_up: int, counted: int) -> tuple[int, float, float]:
    for _ in range(warm_up):
        next(steps)
    wait(device)
    start, cpu = time.perf_counter(), time.process_time()
    examples = sum(next(steps) for _ in range(counted))
    wait(device)
    return examples, time.perf_counter() - start, time.process_time() - cpu


def our_steps(trainer: Trainer) -> Iterator[int]:
    """Take the steps of a run for ever; gives the number of examples after each."""
    trainer.state.model.train()
    for epoch in itertools.count():
        for indices in trainer.order.share(trainer.order.epoch(epoch)):
            trainer.train_step(*trainer.training.batch(indices))
            yield len(indices)


def inspected(connection: Connection, config: Config, repeats: int) -> None:
    """The body of a process that says what is compared: device, model, peak, and the time of each part of a step."""
    device = _set_up(config, tutorial=False)
    try:
        splits = load_splits(config.data, ("training",))
        trainer = Trainer(config, RunFolder("."), splits, Process(device=device), Interrupts())
        step, model = trainer.train_step, trainer.state.ema.model
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.clip_logits(torch.zeros(1, 1, config.data.clip_samples, device=device))  # pyright: ignore
        answer = {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "model": config.model.name,
            "batch_size": trainer.order.batch_size,
            "precision": str(step.dtype).removeprefix("torch."),
            "compiled": step.compiled,
            "cuda_graph": choose_cuda_graph(config.train, Process(device=device)),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "macs": counter.get_total_flops() // 2,
            "peak_flops": peak_flops(step.dtype, device),
            "parts_ms": parts(trainer, repeats),
        }
        connection.send(answer)
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
    connection.recv()


def _set_up(config: Config, tutorial: bool) -> torch.device:
    if not tutorial:
        keep_freed_memory()
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    return choose_device(config.train.device)
