"""A batch as rows: the frames of all sessions in turn, channels side by side, through kernels where there are any.

The same as an interleaved signal (wavedil.layers.interleave), but with the channels of a frame next to each other in
memory, as the kernels want them. For training only, since what the kernels know is normalised over the batch.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavedil.layers import (
    BatchNorm1d,
    BroadcastResidualBlock,
    CausalConv1d,
    CausalConv2d,
    Chain,
    DilatedStack,
    StreamingModule,
    Wrap,
)
from wavedil.layers.base import State
from wavedil.layers.broadcast import FrequencyMean
from wavedil.layers.interleave import run_interleaved
from wavedil.models.entry import AsBands, AsSpectrogram
from wavedil.runtime.broadcast import BroadcastRows, DepthwiseRows, knows_block, knows_depthwise
from wavedil.runtime.entry import EntryRows, knows_convolution
from wavedil.runtime.modules import has_plain_weights
from wavedil.runtime.stack import StackRows, knows_stack

# What a few layers do to rows, ``(rows, channels)`` or ``(rows, bins, channels)``, given the rows before of each tensor
# of their state, None for zeros, and the number of sessions. Rows of bins may have channels of zeros at the end.
Step = Callable[[Tensor, Sequence[Tensor | None], int], Tensor]


def can_run_rows(module: nn.Module) -> bool:
    """Whether there can be a :class:`RowRunner` of a module."""
    try:
        RowRunner(cast(Any, None), module)
    except TypeError:
        return False
    return True


class RowRunner:
    """A :data:`wavedil.layers.interleave.BatchRunner` that trains a chain of layers on rows, in bfloat16.

    Args:
        kernels: see :func:`wavedil.runtime.native.load_kernels`.
        module: the chain.

    Raises:
        TypeError: if a layer of it is not known.
    """

    def __init__(self, kernels: ctypes.CDLL, module: nn.Module) -> None:
        if not isinstance(module, Chain):
            raise TypeError(f"expected a Chain, got {type(module).__name__}")
        self.kernels, self.module = kernels, module
        self._norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
        self._steps: list[tuple[Step, int]] = []  # with the number of tensors of the state
        layers, channels = cast(list[StreamingModule], list(module.layers.values())), 0
        while layers:
            step, taken = _first_step(layers, kernels, channels)
            self._steps.append((step, sum(len(layer.state_names) for layer in layers[:taken])))
            for layer in layers[:taken]:
                channels = getattr(layer, "out_channels", getattr(layer, "channels", channels))
            layers = layers[taken:]

    def __call__(self, module: StreamingModule, x: Tensor, state: State) -> Tensor:
        """The outputs of the module for sessions ``(sessions, channels, time)`` that begin in the state of one.

        Raises:
            ValueError: for another module.
        """
        if module is not self.module:
            raise ValueError(f"expected the module that this runs, got another {type(module).__name__}")
        sessions, _, frames = x.shape
        training = all(norm.training for norm in self._norms) and has_plain_weights(module)  # both may change
        if not training or sessions * frames < 2:  # there are no statistics of a single frame
            return run_interleaved(module, x, state)
        signal, first = x.permute(2, 0, 1).flatten(0, 1), 0
        with torch.autocast("cpu", torch.bfloat16):
            for step, tensors in self._steps:
                own, first = state[first : first + tensors], first + tensors
                signal = step(signal, [_rows_before(tensor, sessions) for tensor in own], sessions)
        return signal.unflatten(0, (frames, sessions)).permute(1, 2, 0)


def _first_step(layers: Sequence[StreamingModule], kernels: ctypes.CDLL, channels: int) -> tuple[Step, int]:
    """What the first layers do to so many channels, and how many layers they are."""
    layer, following = layers[0], layers[1] if len(layers) > 1 else None
    pairs: list[Any] = []
    for conv, norm, activation in zip(layers[::3], layers[1::3], layers[2::3], strict=False):
        if not (knows_convolution(conv, norm) and _is_relu(activation)):
            break
        pairs.append((conv, norm))
    if pairs:
        return EntryRows(kernels, pairs), 3 * len(pairs)
    if isinstance(layer, BroadcastResidualBlock) and knows_block(layer):
        return BroadcastRows(kernels, layer), 1
    if isinstance(layer, CausalConv2d) and knows_depthwise(layer):
        return DepthwiseRows(kernels, layer), 1
    if isinstance(layer, FrequencyMean):
        return partial(_frequency_mean, channels), 1
    if isinstance(layer, AsBands) and isinstance(following, CausalConv1d) and _is_plain(following):
        return partial(_bands, following), 2
    if isinstance(layer, DilatedStack) and knows_stack(layer):
        return StackRows(kernels, layer), 1
    if isinstance(layer, CausalConv1d) and _is_plain(layer):
        return partial(_convolution, layer), 1
    if type(layer) is BatchNorm1d:
        return partial(_norm, layer), 1
    if isinstance(layer, AsSpectrogram):
        return _as_spectrogram, 1
    if _is_relu(layer):
        return _relu, 1
    raise TypeError(f"not known on rows: {layer}")


def _bands(conv: CausalConv1d, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
    """A convolution of one tap over bands: its weights in the order of rows, bin by bin."""
    weight = conv.weight.squeeze(2).unflatten(1, (-1, x.shape[1])).mT
    return F.linear(x[..., : weight.shape[2]].flatten(1), weight.flatten(1), conv.bias)


def _convolution(conv: CausalConv1d, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
    """A convolution as one product with the rows of all taps side by side."""
    (taps,), dilation = conv.kernel_size, conv.dilation[0] * sessions
    if taps == 1:
        return F.linear(x, conv.weight.squeeze(2), conv.bias)
    before = x.new_zeros((taps - 1) * dilation, x.shape[1]) if past[0] is None else past[0].to(x.dtype)
    signal = torch.cat([before, x])
    windows = torch.cat([signal[j * dilation :][: len(x)] for j in range(taps)], dim=1)
    return F.linear(windows, conv.weight.mT.flatten(1), conv.bias)


def _norm(norm: BatchNorm1d, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
    return nn.BatchNorm1d.forward(norm, x)  # which takes rows


def _as_spectrogram(x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
    return x.unsqueeze(-1)


def _frequency_mean(channels: int, x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
    return x[..., :channels].mean(1)


def _relu(x: Tensor, past: Sequence[Tensor | None], sessions: int) -> Tensor:
    return F.relu(x)


def _is_plain(conv: CausalConv1d) -> bool:
    return conv.groups == conv.stride[0] == 1 and not conv.lookahead


def _is_relu(layer: nn.Module) -> bool:
    return isinstance(layer, Wrap) and type(layer.module) is nn.ReLU


def _rows_before(tensor: Tensor, sessions: int) -> Tensor | None:
    """The state of a session as rows of all; None where it is zero, and nothing is learned from it."""
    if not (tensor.requires_grad or tensor.any()):
        return None
    times_last = tensor.squeeze(0).movedim(0, -1)  # (time, channels) or (bins, time, channels)
    frames = times_last if times_last.ndim == 2 else times_last.transpose(0, 1)
    return frames.unsqueeze(1).expand(-1, sessions, *frames.shape[1:]).flatten(0, 1)
