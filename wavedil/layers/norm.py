"""Normalisations that need nothing of the future: each is the same for a chunk as for the whole."""

from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from wavedil.layers.base import Pointwise, State

NormName = Literal["batch", "layer", "rms", "none"]
Module = TypeVar("Module", bound=nn.Module)


class BatchNorm1d(Pointwise, nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d``: in evaluation a fixed scale and shift, which streams.

    In training it reads the whole batch, so that a stream then has no meaning; call ``eval()`` first.
    """

    def apply_point(self, x: Tensor) -> Tensor:
        return nn.BatchNorm1d.forward(self, x)

    def start(self, x: Tensor, silence: bool) -> tuple[Tensor, State]:
        # What came before the start is no data: it must not move the running statistics.
        y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return (y if silence else torch.zeros_like(x)), ()


class _FrameNorm(Pointwise):
    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))

    def input_shape(self) -> tuple[int, ...]:
        return (self.channels,)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}"


class FrameLayerNorm(_FrameNorm):
    """Layer normalisation over the channels of each frame. Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450.

    Args:
        channels: of the input, ``(batch, channels, time)``.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)
        self.bias = nn.Parameter(torch.zeros(channels))

    def apply_point(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight[:, None] + self.bias[:, None]


class FrameRMSNorm(_FrameNorm):
    """Each frame divided by the root mean square of its channels. Source: Zhang and Sennrich 2019, arXiv:1910.07467.

    Args:
        channels: of the input, ``(batch, channels, time)``.
        eps: added to the mean square.
    """

    def apply_point(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + self.eps) * self.weight[:, None]


def make_norm(name: NormName, channels: int) -> Pointwise | None:
    """The normalisation of that name, or None for "none".

    Raises:
        ValueError: for another name.
    """
    norms: dict[str, Any] = {"batch": BatchNorm1d, "layer": FrameLayerNorm, "rms": FrameRMSNorm, "none": None}
    if name not in norms:
        raise ValueError(f"norm must be one of {', '.join(norms)}, got {name!r}")
    return None if norms[name] is None else norms[name](channels)


def add_weight_norm(module: Module) -> Module:
    """Give every convolution inside a weight norm, in place, its present weights kept.

    Call it after the weights are initialised: an initialiser that writes ``weight`` afterwards would be undone by the
    next forward. Source: Salimans and Kingma 2016, arXiv:1602.07868.

    Args:
        module: any module.

    Returns:
        The module.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d) and not parametrize.is_parametrized(layer):
            parametrizations.weight_norm(layer)
    return module


def fold_weight_norm(module: Module) -> Module:
    """Turn weight norm back into plain weights, in place, for inference; the outputs stay the same.

    Args:
        module: a module that :func:`add_weight_norm` changed.

    Returns:
        The module.
    """
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight")
    return module
