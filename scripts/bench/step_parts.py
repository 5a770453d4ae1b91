"""Where the time of a training step goes, and what the device could do at most."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from wavedil.data.augment import spec_augment
from wavedil.training.loop import Trainer


def peak_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of a large product of random matrices, the best of several."""
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(8):
        start = time.perf_counter()
        left @ right
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / min(times)


def parts(trainer: Trainer, repeats: int) -> dict[str, float]:
    """Median milliseconds of each part of a step, the device awaited after each; without a CUDA graph."""
    step, state, device = trainer.train_step, trainer.state, trainer.process.device
    model, config = state.model.train(), trainer.config
    times: dict[str, list[float]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = function()
        wait(device)
        times.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
        return result

    def forward(inputs: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=step.dtype, enabled=step.dtype != torch.float32):
            logits = network(inputs).float()
        return F.cross_entropy(logits, expected, label_smoothing=config.train.label_smoothing)

    def optimise() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.grad_clip or float("inf"))
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.ema.update(state.step)

    features = (
        (lambda x: spec_augment(model.features(x), config.augment, step.generator)) if model.has_spectrogram else None
    )
    network: Any = model.classify if features else model.clip_logits
    network = torch.compile(network) if step.compiled else network
    batches = trainer.order.share(trainer.order.epoch(0))
    for number in range(repeats + 2):
        batch = batches[number % len(batches)]
        inputs, expected = timed(
            "gather and augment", lambda b=batch: step.augment(*trainer.training.batch(b), step.generator)
        )
        if features:
            inputs = timed("features", lambda x=inputs: features(x))
        loss = timed("forward", lambda x=inputs, y=expected: forward(x, y))
        timed("backward", loss.backward)
        timed("optimiser and average", optimise)
    return {name: statistics.median(taken[2:]) for name, taken in times.items()}


def wait(device: torch.device) -> None:
    """Until all that was launched is computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
