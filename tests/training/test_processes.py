"""Several processes train as one would."""

import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest
import torch
from tiny import final_state, tiny_config, write_corpus
from torch import nn

from wavedil.config import Config
from wavedil.models import KeywordModel
from wavedil.training.distributed import Process, choose_device
from wavedil.training.interrupt import TrainingInterruptedError

PLAIN = {"shift_ms": 0.0, "gain_db": 0.0, "speed": 0.0, "noise_probability": 0.0, "mixup": 0.0, "time_masks": 0}


def _train(rank: int, world_size: int, port: int, config: Config, frozen: bool) -> None:
    from wavedil.training.loop import train

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    if frozen:  # without batch statistics and dropout, which each process has its own of
        KeywordModel.train = lambda self, mode=True: nn.Module.train(self, False)  # type: ignore[method-assign]
    with (Path(config.run_dir).parent / f"log{rank}.txt").open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        train(config)
    except TrainingInterruptedError as interrupted:
        sys.exit(interrupted.exit_status)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def children() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["wavedil.training.loop", "torch._dynamo", "torch.nn.parallel.distributed"])
    return context


def _start(children: ForkServerContext, config: Config, world_size: int, frozen: bool) -> list[ForkServerProcess]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        children.Process(target=_train, args=(rank, world_size, port, config, frozen)) for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    return processes


def _statuses(processes: list[ForkServerProcess], config: Config) -> list[int | None]:
    for process in processes:
        process.join(60)
        if process.is_alive():
            process.kill()
    logs = [path.read_text() for path in Path(config.run_dir).parent.glob("log*.txt")]
    print("\n".join(logs))
    return [process.exitcode for process in processes]


def test_two_processes_give_the_weights_and_figures_of_one(
    corpus: Path, tmp_path: Path, children: ForkServerContext
) -> None:
    states = []
    for world_size in (1, 2):
        (tmp_path / str(world_size)).mkdir()
        # SGD, since AdamW makes whole steps of gradients that are only rounding; float32 for the same reason.
        config = tiny_config(
            corpus,
            tmp_path / str(world_size) / "run",
            augment=PLAIN,
            train={"optimizer": "sgd", "epochs": 2, "precision": "float32"},
        )
        assert _statuses(_start(children, config, world_size, frozen=True), config) == [0] * world_size
        states.append(final_state(Path(config.run_dir)))
    one, two = states
    for part in ("model", "ema"):
        for name, tensor in one[part].items():
            assert torch.allclose(tensor, two[part][name], rtol=1e-4, atol=1e-6), name
    assert one["step"] == two["step"]
    for left, right in zip(one["history"], two["history"], strict=True):
        assert left == pytest.approx(right, rel=1e-5)
    moved = [(one["model"][name] - one["ema"][name]).abs().max().item() for name in one["model"]]
    assert max(moved) > 1e-4  # it did train


def test_a_signal_to_one_process_stops_all_at_the_same_step(
    corpus: Path, tmp_path: Path, children: ForkServerContext
) -> None:
    config = tiny_config(corpus, tmp_path / "run", train={"epochs": 10_000})
    processes = _start(children, config, 2, frozen=False)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints").is_dir() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(processes[1].pid or 0, signal.SIGTERM)
    assert _statuses(processes, config) == [143, 143]
    assert final_state(tmp_path / "run")["step"] > 0


def test_alone_the_collectives_are_the_identity() -> None:
    process, tensor = Process(), torch.tensor([1.0, math.inf])
    process.barrier()
    process.broadcast([tensor])
    assert process.sum(tensor) is tensor
    assert process.minimum(tensor) is tensor
    assert process.any(True)
    assert not process.any(False)
    with process.main_first():
        assert process.is_main


@pytest.mark.parametrize("name", ["gpu", "cuda:x"])
def test_a_device_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"train\.device: .*'{name}'"):
        choose_device(name)


@pytest.mark.skipif(torch.xpu.is_available(), reason="there is such a device")
def test_a_device_that_torch_was_built_without_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^train\.device: expected a device of this machine, got 'xpu', which cannot"):
        choose_device("xpu")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ValueError, match=r"train\.device: .*there is no CUDA"):
        choose_device("cuda")
    assert choose_device("auto") == torch.device("cpu")
