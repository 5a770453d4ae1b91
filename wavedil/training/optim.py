"""Optimiser, learning-rate schedule and the moving average of the weights."""

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from wavedil.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum; weight decay on matrices and kernels, not on biases, norms and gains."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # Fused: one pass over all the weights; the loop over them costs a small model more than its arithmetic.
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=True)


def learning_rate(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up, then half a cosine to zero. Source: Loshchilov and Hutter 2017, arXiv:1608.03983, no restarts.

    Args:
        step: from 0.
        peak: reached at the end of the warm-up.
        warmup_steps: may be 0.
        total_steps: at whose end the rate would be zero.

    Example:
        >>> [round(learning_rate(step, 1.0, 2, 6), 3) for step in range(6)]
        [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    if step < warmup_steps:
        return peak * ((step + 1) / warmup_steps)
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class Ema:
    """Exponential moving average of a model's weights and buffers, which is what is evaluated and saved.

    The decay grows from 0.1 as ``(1 + step) / (10 + step)``, so that the first weights are soon forgotten.

    Args:
        model: whose weights are averaged.
        decay: in the long run; 0 keeps the weights themselves.

    Attributes:
        model: a copy that holds the average, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        self._averaged = _transposed(pair for pair in pairs if pair[0].is_floating_point())
        self._copied = _transposed(pair for pair in pairs if not pair[0].is_floating_point())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights as they are after step ``step``, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        # One kernel for many tensors, as torch.optim does it.
        torch._foreach_lerp_(*self._averaged, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)  # pyright: ignore[reportPrivateImportUsage]


def _transposed(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Pairs of tensors as a pair of lists."""
    kept = list(pairs)
    return [average for average, _ in kept], [value for _, value in kept]


def _tensors(model: nn.Module) -> Iterable[Tensor]:
    yield from (parameter.detach() for parameter in model.parameters())
    yield from model.buffers()
