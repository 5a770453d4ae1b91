"""Operators that slide a window: convolutions, transposed convolutions, pooling."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wavedil.receptive.trace.onnx.registry import Operation, operator

_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_MAXIMA = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_MEANS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
Widths = list[tuple[int, int]]


@operator("Conv")
def convolution(call: Operation) -> Tensor:
    """A convolution, padded with zeros on either side."""
    x, weight = call.tensor(0), call.tensor(1)
    count = x.ndim - 2
    strides, dilations = _sizes(call, "strides", count), _sizes(call, "dilations", count)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[2:], strict=True)]
    widths = _widths(call, x, spans, strides)
    x, padding = _evenly(x, widths, 0.0)
    return _CONVOLUTIONS[count - 1](x, weight, call.optional(2), strides, padding, dilations, call.get("group", 1))


@operator("ConvTranspose")
def transposed(call: Operation) -> Tensor:
    """A transposed convolution, of which both ends are cut off."""
    x, weight = call.tensor(0), call.tensor(1)
    count = x.ndim - 2
    strides, dilations = _sizes(call, "strides", count), _sizes(call, "dilations", count)
    further = call.get("output_padding") or [0] * count
    kernel = weight.shape[2:]
    full = [
        s * (n - 1) + o + d * (k - 1) + 1
        for s, n, o, d, k in zip(strides, x.shape[2:], further, dilations, kernel, strict=True)
    ]
    cuts = _cuts(call, x, full, strides)
    function = _TRANSPOSED[count - 1]
    group, bias = call.get("group", 1), call.optional(2)
    if all(left == right >= 0 for left, right in cuts):
        return function(x, weight, bias, strides, [left for left, _ in cuts], further, group, dilations)
    y = function(x, weight, bias, strides, 0, further, group, dilations)
    return _grown(y, [(-left, -right) for left, right in cuts], 0.0)


def _cuts(call: Operation, x: Tensor, full: Sequence[int], strides: Sequence[int]) -> Widths:
    """Elements to cut off a transposed convolution on either side of each axis."""
    mode = call.get("auto_pad", "NOTSET")
    sizes = call.get("output_shape")
    if mode.startswith("SAME") and sizes is None:
        sizes = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if sizes is None:
        return _pairs([0] * 2 * len(full) if mode == "VALID" else call.get("pads", [0] * 2 * len(full)))
    totals = [whole - size for whole, size in zip(full, sizes[-len(full) :], strict=True)]
    if mode == "SAME_UPPER":
        return [(total // 2, total - total // 2) for total in totals]
    return [(total - total // 2, total // 2) for total in totals]


@operator("MaxPool")
def max_pool(call: Operation) -> Tensor:
    """The largest of each window."""
    if any(call.node.outputs[1:]):
        raise call.unknown("its places as outputs are not known")
    x, kernel = call.tensor(0), call.get("kernel_shape")
    count = len(kernel)
    strides, dilations = _sizes(call, "strides", count), _sizes(call, "dilations", count)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    widths = _widths(call, x, spans, strides)
    x, padding = _evenly(x, widths, -torch.inf, most=[k // 2 for k in kernel])
    return _MAXIMA[count - 1](x, kernel, strides, padding, dilations, bool(call.get("ceil_mode")))


@operator("AveragePool", "LpPool")
def mean_pool(call: Operation) -> Tensor:
    """The mean of each window, or the p-norm."""
    x, kernel = call.tensor(0), call.get("kernel_shape")
    count = len(kernel)
    strides = _sizes(call, "strides", count)
    if set(call.get("dilations", [1])) != {1}:
        raise call.unknown("dilated windows are not known")
    ceil_mode = bool(call.get("ceil_mode"))
    widths = _widths(call, x, kernel, strides)
    function = _MEANS[count - 1]
    p = call.get("p", 2) if call.node.operator == "LpPool" else None
    counted = p is not None or bool(call.get("count_include_pad"))
    x = x if p is None else x.abs() ** p
    even, padding = _evenly(x, widths, 0.0, most=[k // 2 for k in kernel])
    y = function(even, kernel, strides, padding, ceil_mode, counted or even is not x)
    if even is not x and not counted:
        y = y / function(_evenly(torch.ones_like(x), widths, 0.0)[0], kernel, strides, 0, ceil_mode)
    return y if p is None else (y * math.prod(kernel)) ** (1 / p)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Operation) -> Tensor:
    """One element for each channel."""
    x = call.tensor(0)
    axes = list(range(2, x.ndim))
    if call.node.operator == "GlobalMaxPool":
        return x.amax(axes, keepdim=True)
    if call.node.operator == "GlobalLpPool":
        return torch.linalg.vector_norm(x, call.get("p", 2), axes, keepdim=True)
    return x.mean(axes, keepdim=True)


@operator("LRN")
def local_response(call: Operation) -> Tensor:
    """Each element divided by what neighbouring channels add up to."""
    alpha, beta, bias = call.get("alpha", 1e-4), call.get("beta", 0.75), call.get("bias", 1.0)
    return F.local_response_norm(call.tensor(0), call.get("size"), alpha, beta, bias)


def _sizes(call: Operation, name: str, count: int) -> list[int]:
    return list(call.get(name) or [1] * count)


def _pairs(widths: Sequence[int]) -> Widths:
    """All beginnings, then all ends, axis by axis."""
    count = len(widths) // 2
    return list(zip(widths[:count], widths[count:], strict=True))


def _widths(call: Operation, x: Tensor, spans: Sequence[int], strides: Sequence[int]) -> Widths:
    """Elements around each axis; ``auto_pad`` gives as many outputs as a stride of 1 would give inputs."""
    mode = call.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        widths = _pairs(call.get("pads") or [0] * 2 * len(spans))
        if call.get("ceil_mode") and any(left != right for left, right in widths):
            sizes = zip(x.shape[2:], spans, strides, widths, strict=True)
            return [(left, _until_last(size, span, stride, left, right)) for size, span, stride, (left, right) in sizes]
        return widths
    widths = []
    for size, span, stride in zip(x.shape[2:], spans, strides, strict=True):
        total = max((-(-size // stride) - 1) * stride + span - size, 0) if mode != "VALID" else 0
        few, many = total // 2, total - total // 2
        widths.append((few, many) if mode == "SAME_UPPER" else (many, few))
    return widths


def _until_last(size: int, span: int, stride: int, left: int, right: int) -> int:
    """Elements behind the end up to that of the last window, which hangs over it and begins within it."""
    last = -(-(size + left + right - span) // stride) * stride
    return (last if last < size + left else last - stride) + span - size - left


def _evenly(x: Tensor, widths: Widths, value: float, most: Sequence[int] | None = None) -> tuple[Tensor, list[int]]:
    """What PyTorch pads alike on both sides, as far as it does; else a padded tensor, and no padding."""
    even = all(left == right >= 0 for left, right in widths)
    if even and (most is None or all(left <= limit for (left, _), limit in zip(widths, most, strict=True))):
        return x, [left for left, _ in widths]
    return _grown(x, widths, value), [0] * len(widths)


def _grown(x: Tensor, widths: Widths, value: float) -> Tensor:
    return F.pad(x, [width for pair in reversed(widths) for width in pair], value=value)
