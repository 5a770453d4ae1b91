"""Where the time of a training step goes, and what the device could do at most."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavedil.training.loop import Trainer


class Stopwatch:
    """Milliseconds of what it is given to do, by name, the device awaited each time.

    Args:
        device: that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: dict[str, list[float]] = {}

    def __call__(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function gives."""
        start = time.perf_counter()
        result = function(*arguments)
        wait(self.device)
        self.times.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
        return result


def parts(trainer: Trainer, repeats: int) -> dict[str, float]:
    """Median milliseconds of each part of a step, the device awaited after each; without a CUDA graph."""
    step, state, timed = trainer.train_step, trainer.state, Stopwatch(trainer.process.device)
    model = state.model.train()
    network: Any = step.network  # one process, so that nothing is around it

    def gather(indices: Tensor) -> tuple[Tensor, Tensor]:
        return step.augment(*trainer.training.batch(indices), step.generator)

    def forward(inputs: Tensor, expected: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, dtype=step.dtype, enabled=step.dtype != torch.float32):
            logits = network.logits(inputs).float()
        return F.cross_entropy(logits, expected, label_smoothing=trainer.config.train.label_smoothing)

    def optimise() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), trainer.config.train.grad_clip or float("inf"))
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.ema.update(state.step)

    batches = trainer.order.share(trainer.order.epoch(0))
    for number in range(repeats + 2):
        inputs, expected = timed("gather and augment", gather, batches[number % len(batches)])
        if network.model.has_spectrogram:
            inputs = timed("features", network.features, inputs, step.generator)
        loss = timed("forward", forward, inputs, expected)
        timed("backward", loss.backward)
        timed("optimiser and average", optimise)
    return {name: statistics.median(taken[2:]) for name, taken in timed.times.items()}


def peak_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of a large product of random matrices, the best of several."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    timed = Stopwatch(device)
    for _ in range(8):
        timed("product", torch.mm, left, right)
    return 2e3 * size**3 / min(timed.times["product"])


def wait(device: torch.device) -> None:
    """Until all that was launched is computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
