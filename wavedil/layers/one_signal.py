"""The convolution of one long signal, by matrix products and shifted sums: for interleaved batches."""

from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_MOST_ROWS = 64  # of a band matrix; with more its zeros cost more than they save


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    dilation: tuple[int, int],
    groups: int,
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """``torch.nn.functional.conv2d`` of one signal with stride 1 in time, by the way that is fastest.

    On a CPU each operator passes over memory by itself, so these are few, with gradients that add in place;
    torch.compile makes few of many by itself, so it is given plain sums.

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
    if torch.compiler.is_compiling() and (depthwise or groups == 1):
        return _by_sums(F.pad(x, (0, 0, *padding)), weight, bias, stride, dilation)
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


def _by_sums(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, dilation: tuple[int, int]) -> Tensor:
    """A sum over the taps, or one product where channels are mixed."""
    windows = _windows(x, weight, stride, dilation)
    if weight.shape[1] == 1 and x.shape[1] > 1:
        y = sum(x[window] * weight[:, 0, i, j, None, None] for (i, j), window in windows)
        return cast(Tensor, y if bias is None else y + bias[:, None, None])
    columns = torch.cat([x[window] for _, window in windows], dim=1)
    matrix = weight.permute(0, 2, 3, 1).flatten(1)
    y = matrix @ columns.flatten(2).squeeze(0)
    return (y if bias is None else y + bias[:, None]).view(1, -1, *columns.shape[2:])


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
