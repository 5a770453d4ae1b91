"""A batch as one signal: the samples of all sessions in turn, through the same modules with wider dilations.

Sessions interleaved sample by sample are one signal, whose convolution with dilation ``N d`` is the interleaving of
theirs with dilation ``d``: what the algorithme a trous does to the phases of one signal, done to N signals. On a CPU
this is how a small model trains fastest in bfloat16: each convolution is one matrix product, a tap is a slice, and
normalisation passes over long rows (docs/results/training_speed.md).
"""

import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from wavedil.layers.base import Delay, Pointwise, State, StreamingModule, Window
from wavedil.layers.broadcast import BroadcastResidualBlock
from wavedil.layers.chain import Chain
from wavedil.layers.conv import CausalConv1d, CausalConv2d
from wavedil.layers.gated import _GatedBlock
from wavedil.layers.parallel import Parallel
from wavedil.layers.stack import _Stack
from wavedil.receptive.arithmetic import dilated_span

Module = TypeVar("Module", bound=nn.Module)
# What computes a module's outputs for sessions ``(sessions, ..., time)`` that all begin in the state of a single one.
BatchRunner = Callable[[StreamingModule, Tensor, State], Tensor]

_MOST_ROWS = 64  # of a band matrix; with more its zeros cost more than they save


def interleave(x: Tensor) -> Tensor:
    """``(sessions, ..., time)`` to ``(1, ..., time * sessions)``, the sessions in turn."""
    return x.movedim(0, -1).flatten(-2).unsqueeze(0)


def separate(x: Tensor, sessions: int) -> Tensor:
    """The inverse of :func:`interleave`, as a view."""
    return x.squeeze(0).unflatten(-1, (-1, sessions)).movedim(-1, 0)


def interleaved(module: Module, sessions: int) -> Module:
    """A module that does to interleaved sessions what the given one does to each, with the same weights and statistics.

    It takes states whose tensors are interleaved as well. Nothing is copied but the structure.

    Args:
        module: convolutions of stride 1 in time without lookahead, and the package's layers that hold nothing else that
            reads other times.
        sessions: that are interleaved.

    Raises:
        TypeError: if the module holds a layer that cannot be interleaved, or is not known to: one with a stride or
            lookahead, pooling, conditions, dropout of whole channels, a streaming module of somebody else.
    """
    if isinstance(module, CausalConv1d | CausalConv2d) and module.stride[-1] == 1 and not module.preroll:
        return _Convolution(module, sessions)  # pyright: ignore[reportReturnType]
    if isinstance(module, nn.Conv1d | nn.Conv2d) and not isinstance(module, StreamingModule) and _has_one_tap(module):
        return _Pointwise(module)  # pyright: ignore[reportReturnType]
    if not _is_known(module):
        raise TypeError(f"cannot be interleaved: {module}")
    if not module._modules:
        return module
    twin = copy.copy(module)
    twin._modules = {name: child and interleaved(child, sessions) for name, child in module._modules.items()}
    return twin


def run_each(module: StreamingModule, x: Tensor, state: State) -> Tensor:
    """A :data:`BatchRunner`: the sessions side by side, as torch has batches."""
    return module.step(x, tuple(tensor.expand(len(x), *tensor.shape[1:]) for tensor in state))[0]


def run_interleaved(module: StreamingModule, x: Tensor, state: State) -> Tensor:
    """A :data:`BatchRunner`: the sessions as one interleaved signal, of a module that :func:`can_interleave`."""
    sessions = len(x)
    before = tuple(interleave(tensor.expand(sessions, *tensor.shape[1:])) for tensor in state)
    return separate(interleaved(module, sessions).step(interleave(x), before)[0], sessions)


def can_interleave(module: nn.Module) -> bool:
    """Whether :func:`interleaved` takes a module."""
    try:
        interleaved(module, 1)
    except TypeError:
        return False
    return True


def _is_known(module: nn.Module) -> bool:
    """Whether a module reads no time by itself, or only through the modules that it holds."""
    if isinstance(module, _GatedBlock) and (module.global_projection or module.local_projection):
        return False  # whose conditions would have to be interleaved as well
    if isinstance(module, StreamingModule):
        idle = isinstance(module, Delay) and module.samples == 0
        return idle or isinstance(module, Pointwise | Chain | Parallel | _Stack | _GatedBlock | BroadcastResidualBlock)
    if isinstance(module, nn.Dropout1d | nn.Dropout2d):  # of a channel in all of a session
        return not module.p
    return not isinstance(module, nn.Conv1d | nn.Conv2d)


def _has_one_tap(conv: nn.Conv1d | nn.Conv2d) -> bool:
    return {*conv.kernel_size, *conv.stride} == {1} and conv.padding in ((0,), (0, 0))


class _Convolution(Window):
    """A convolution of interleaved sessions, by matrix products in bfloat16."""

    def __init__(self, conv: CausalConv1d | CausalConv2d, sessions: int) -> None:
        dilation = conv.dilation[-1] * sessions
        super().__init__(dilated_span(conv.kernel_size[-1], dilation), 1, lookahead=0)
        self.conv = conv
        self.rates = (1, 1, *conv.dilation)[-2], dilation
        self.padding = getattr(conv, "frequency_padding", (0, 0))

    def output_shape(self, shape: Any) -> tuple[int, ...]:
        return self.conv.output_shape(shape)

    def apply_window(self, x: Tensor) -> Tensor:
        conv = self.conv
        if x.ndim == 4:
            return convolve(x, conv.weight, conv.bias, conv.stride[0], self.rates, conv.groups, self.padding)
        y = convolve(x.unsqueeze(2), conv.weight.unsqueeze(2), conv.bias, 1, self.rates, conv.groups)
        return y.squeeze(2)


class _Pointwise(nn.Module):
    """A convolution of one tap as a matrix product."""

    def __init__(self, conv: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        weight = self.conv.weight.flatten(2).unsqueeze(2)
        y = convolve(flat.unsqueeze(2), weight, self.conv.bias, 1, (1, 1), self.conv.groups)
        return y.reshape(1, -1, *x.shape[2:])


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    dilation: tuple[int, int],
    groups: int,
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """``torch.nn.functional.conv2d`` of one signal with stride 1 in time, by the way that is fastest on a CPU.

    Args:
        x: ``(1, channels, frequency, time)``.
        weight: as in torch.
        bias: as in torch.
        stride: in frequency.
        dilation: on both axes.
        groups: as in torch.
        padding: zeros below and above the frequencies.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    depthwise = x.shape[1] == groups == weight.shape[0] and weight[0].numel() > 1
    if depthwise and weight.shape[2] > 1 and x.shape[2] * weight.shape[3] <= _MOST_ROWS:
        y = _by_band_matrix(x, weight, stride, dilation, padding)
        return y if bias is None else y + bias[:, None, None]
    if any(padding):  # none would copy the signal too
        x = F.pad(x, (0, 0, *padding))
    if depthwise:
        y = cast(Tensor, _Depthwise.apply(x, weight, stride, dilation))
        return y if bias is None else y + bias[:, None, None]
    if groups == 1 and x.dtype == torch.bfloat16:
        return cast(Tensor, _Product.apply(x, weight, bias, stride, dilation))
    return F.conv2d(x, weight, bias, (stride, 1), 0, dilation, groups)


class _Product(torch.autograd.Function):
    """A convolution as one matrix product with the windows of all taps side by side.

    The gradient of the input is gathered in place; autograd's own would fill a signal with zeros for each window.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, dilation: tuple[int, int]
    ) -> Tensor:
        windows = _windows(x, weight, stride, dilation)
        shape = x[windows[0][1]].shape
        columns = torch.cat([x[window] for _, window in windows], dim=1) if len(windows) > 1 else x[windows[0][1]]
        columns = columns.reshape(-1, shape[2] * shape[3])
        matrix = weight.permute(0, 2, 3, 1).flatten(1)
        ctx.save_for_backward(columns, matrix)
        ctx.shapes, ctx.windows = (x.shape, shape, weight.shape), windows
        y = matrix @ columns if bias is None else torch.addmm(bias[:, None], matrix, columns)
        return y.view(1, -1, *shape[2:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        columns, matrix = ctx.saved_tensors
        of_signal, of_window, (_, channels, *taps) = ctx.shapes
        grad = grads[0].flatten(2).squeeze(0)
        by_input = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            parts = (matrix.T @ grad).view(-1, *of_window[1:]).unsqueeze(1)
            if of_window == of_signal:  # of one tap
                (by_input,) = parts
            else:
                by_input = grad.new_zeros(of_signal)
                for part, (_, window) in zip(parts, ctx.windows, strict=True):
                    by_input[window].add_(part)
        if ctx.needs_input_grad[1]:
            by_weight = (grad @ columns.T).view(-1, *taps, channels).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[2]:
            by_bias = grad.sum(1)
        return by_input, by_weight, by_bias, None, None


def _by_band_matrix(
    x: Tensor, weight: Tensor, stride: int, dilation: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """A convolution of each channel by itself: each frame times the band matrix that holds the taps over frequency.

    Many more multiplications, by zeros, than a shifted sum for each tap, but the signal is read from memory once, and
    likewise by each gradient. Taps over time are further rows of the matrix, added up along a diagonal.
    """
    channels, _, height, taps = weight.shape
    # A copy, since what was first cached in inference mode cannot be saved for a gradient.
    places = _places(x.shape[2], height, stride, dilation[0], padding).to(x, copy=True)
    matrix = weight[:, 0].mT.reshape(-1, height) @ places.flatten(1)
    products = torch.bmm(matrix.view(channels, -1, x.shape[2]), x.squeeze(0))
    if taps == 1:
        return products.unsqueeze(0)
    bins = places.shape[1]
    by_channel, by_tap, by_bin, _ = products.view(channels, taps, bins, -1).stride()
    shape = (channels, taps, bins, x.shape[3] - dilation[1] * (taps - 1))
    return products.as_strided(shape, (by_channel, by_tap + dilation[1], by_bin, 1)).sum(1).unsqueeze(0)


@lru_cache
def _places(bins: int, height: int, stride: int, dilation: int, padding: tuple[int, int]) -> Tensor:
    """Where in a band matrix each tap stands: ``(taps, bins out, bins in)`` of 0 and 1."""
    read = torch.arange(bins + sum(padding))
    first = read[: len(read) - dilation * (height - 1) : stride]
    tap = first + dilation * torch.arange(height)[:, None]
    return (tap[:, :, None] == read[padding[0] : len(read) - padding[1]]).float()


class _Depthwise(torch.autograd.Function):
    """A convolution of each channel by itself, whose gradient is computed by a shifted product for each tap.

    oneDNN, which torch calls on a CPU, takes many times as long backward as forward where the kernel is dilated or
    strided.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.windows = _windows(x, weight, stride, dilation)
        taps = weight[:, 0, :, :, None, None]
        ((i, j), window), *others = ctx.windows
        y = x[window] * taps[:, i, j]
        for (i, j), window in others:
            y.addcmul_(x[window], taps[:, i, j])
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        (grad,) = grads
        by_input = by_weight = None
        if ctx.needs_input_grad[0]:
            by_input = torch.zeros_like(x)
            for (i, j), window in ctx.windows:
                by_input[window].addcmul_(grad, weight[:, 0, i, j, None, None])
        if ctx.needs_input_grad[1]:
            sums = [(x[window] * grad).sum((0, 2, 3)) for _, window in ctx.windows]
            by_weight = torch.stack(sums, dim=1).view_as(weight)
        return by_input, by_weight, None, None


def _windows(
    x: Tensor, weight: Tensor, stride: int, dilation: tuple[int, int]
) -> list[tuple[tuple[int, int], tuple[slice, ...]]]:
    """Each tap (i, j), and the inputs that it multiplies, one for each output."""
    taps = [(i, j) for i in range(weight.shape[2]) for j in range(weight.shape[3])]
    bins = x.shape[2] - dilation[0] * (weight.shape[2] - 1)
    times = x.shape[3] - dilation[1] * (weight.shape[3] - 1)
    everything = slice(None)
    return [
        (
            (i, j),
            (
                everything,
                everything,
                slice(i * dilation[0], i * dilation[0] + bins, stride),
                slice(j * dilation[1], j * dilation[1] + times),
            ),
        )
        for i, j in taps
    ]
